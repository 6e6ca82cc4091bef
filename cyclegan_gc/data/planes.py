"""A training sample as a plane through a prepared volume: an affine map from its pixels to voxels.

Coordinates of a plane are (slice, row, column), those of a volume (depth, height, width): upwards, to the back and to
the left of the patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from monai.transforms.utils import create_rotate
from numpy.typing import NDArray

from cyclegan_gc.config import DataConfig, SliceAxis
from cyclegan_gc.data.cache import PreparedVolume, Sizes
from cyclegan_gc.prepare.grid import DIRECTIONS, LEAST_SIZE, MULTIPLE, around


@dataclass(frozen=True)
class Plane:
    """A sample's place in a volume."""

    volume: PreparedVolume
    affine: NDArray[np.float64]
    """(3, 4): (slice, row, column) of a pixel, counted from the sample's first row and column, to a voxel."""
    slices: tuple[int, ...]
    """Places of the slice and its neighbours relative to the slice itself."""
    size: tuple[int, int]
    """Height and width in pixels."""


class Stack(NamedTuple):
    """The slices of a volume in one of the three planes."""

    volume: PreparedVolume
    axis: SliceAxis

    @property
    def name(self) -> str:
        """Name of the case for messages on this machine."""
        return self.volume.name

    @property
    def count(self) -> int:
        """Number of slices."""
        return self.volume.count(self.axis)

    @property
    def spacing_mm(self) -> Sizes:
        """Distance of neighbouring slices, and height and width of a pixel."""
        distance, _, _ = _in_plane(self.volume.voxel_mm, self.axis)  # no slice is made between those of the volume
        _, height, width = _in_plane(self.volume.pixel_mm, self.axis)
        return distance, height, width


class Change(NamedTuple):
    """Random change of a plane; the default changes nothing."""

    tilt: tuple[float, float] = (0.0, 0.0)
    """Angles about the rows' and the columns' direction in radians."""
    rotation: float = 0.0
    """Angle in the plane in radians."""
    scale: tuple[float, float] = (0.0, 0.0)
    """Change of height and width."""
    mirrored: bool = False
    """Whether left and right are swapped."""


def upright(stack: Stack, number: int, size: tuple[int, int] | None = None, context: int = 0) -> Plane:
    """One slice of a stack and its neighbours, centred and without any change.

    Args:
        stack: volume and plane.
        number: of the slice.
        size: height and width, cut or padded with air; None takes the whole slice, padded to multiples of 4.
        context: neighbours on each side; beyond the ends of the stack the last slice repeats.
    """
    own = _size_of(stack)
    height, width = size or [-(-max(side, LEAST_SIZE) // MULTIPLE) * MULTIPLE for side in own]
    first = [int((n - wanted) / 2) for n, wanted in zip(own, (height, width), strict=True)]
    return _plane(stack, number, first, (height, width), context, Change())


def random_plane(stack: Stack, number: int, config: DataConfig, random: np.random.Generator) -> Plane:
    """Slice ``number`` of a stack, tilted, rotated, scaled, mirrored and cut at random.

    A sagittal plane is never mirrored, which would swap front and back.
    """
    rotation, tilt = np.deg2rad((config.rotate_degrees, config.tilt_degrees * _share_of_tilt(stack)))
    mirrored = bool(random.random() < 0.5) and config.flip and stack.axis != "sagittal"
    angles = random.uniform(-1, 1, 3) * (tilt, tilt, rotation)
    scale = random.uniform(-config.scale, config.scale, 2)
    room = [n - wanted for n, wanted in zip(_size_of(stack), config.crop, strict=True)]
    first = [int(random.integers(spare + 1)) if spare > 0 else int(spare / 2) for spare in room]
    change = Change((angles[0], angles[1]), angles[2], (scale[0], scale[1]), mirrored)
    return _plane(stack, number, first, config.crop, config.context_slices, change)


def _plane(
    stack: Stack, number: int, first: Sequence[int], size: tuple[int, int], context: int, change: Change
) -> Plane:
    """The plane that begins at pixel ``first`` (row, column) of a slice.

    It is rotated and scaled about the slice's middle, then tilted about its own, which so stays in the slice.
    """
    volume, axis = stack
    mirror = -1 if change.mirrored else 1
    step_mm = np.array(stack.spacing_mm) * (1, 1 + change.scale[0], mirror * (1 + change.scale[1]))
    flat, tilted = (
        DIRECTIONS[axis]
        @ create_rotate(3, (change.rotation, *tilt))[:3, :3]
        @ np.diag(step_mm)
        / np.array(volume.voxel_mm)[:, None]
        for tilt in ((0.0, 0.0), change.tilt)
    )

    along = DIRECTIONS[axis][:, 0]
    centre = (np.array(volume.shape) - 1) / 2
    place = volume.spans[axis][0] + number - centre @ np.abs(along)
    centre += along * place
    middle = np.array([0, *((n - 1) / 2 - start for n, start in zip(_size_of(stack), first, strict=True))])
    own_middle = np.array([0, *((side - 1) / 2 for side in size)])
    affine = np.column_stack([tilted, centre + flat @ (own_middle - middle) - tilted @ own_middle])
    slices = tuple(other - number for other in around(number, stack.count, context))
    return Plane(volume, affine, slices, size)


def _share_of_tilt(stack: Stack) -> float:
    """1 where slices are no thicker than a pixel, falling to 0 at twice that: nothing is invented between slices."""
    distance, height, width = stack.spacing_mm
    return float(np.clip(2 - distance / ((height + width) / 2), 0, 1))


def _size_of(stack: Stack) -> tuple[int, int]:
    """Height and width of a whole slice in pixels."""
    volume = stack.volume
    sides = zip(volume.shape, volume.voxel_mm, volume.pixel_mm, strict=True)
    pixels = [max(1, round(count * voxel / pixel)) for count, voxel, pixel in sides]
    _, height, width = _in_plane(pixels, stack.axis)
    return int(height), int(width)


def _in_plane(values: Sequence[float], axis: SliceAxis) -> Sizes:
    """Values along (depth, height, width) as those along (slice, row, column)."""
    slices, rows, columns = (values[along] for along in np.abs(DIRECTIONS[axis]).argmax(axis=0))
    return slices, rows, columns
