"""Voxel grids: checks of size and affine, comparison, reorientation to RAS and resampling."""

from collections.abc import Sequence
from math import prod

import numpy as np
from nibabel.orientations import aff2axcodes, apply_orientation, io_orientation
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from cyclegan_gc.errors import VolumeError

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
GRID_TOLERANCE_VOXELS = 0.01
MIN_IN_PLANE = 16
PLAUSIBLE_SPACING_MM = (0.05, 50.0)
PLAUSIBLE_SIDE_MM = (28.0, 3000.0)
"""Range of a volume's longest side; one of 28 mm is a head whose lengths are in cm."""
MOST_RESAMPLED = 2**30
"""Most voxels of a new grid."""


def checked_shape(sizes: Sequence[int], max_voxels: int) -> tuple[int, ...]:
    """The three spatial sizes of a header.

    Raises:
        VolumeError: if they are not those of one 3-D volume, too many or too few (without the file name).
    """
    text = " x ".join(map(str, sizes))
    if len(sizes) < 3 or min(sizes) < 1:
        raise VolumeError(f"a {len(sizes)}-D image ({text}); give a 3-D volume")
    if max(sizes[3:], default=1) > 1:
        raise VolumeError(
            f"{len(sizes)}-D data ({text}){_misplaced(sizes)}; choose one volume and save it as a 3-D file"
        )
    if prod(sizes) > max_voxels:
        raise VolumeError(
            f"the header declares {text} voxels, more than {max_voxels}; the header is broken or the volume too large "
            "(convert has --max_voxels)"
        )
    if sum(size < MIN_IN_PLANE for size in sizes[:3]) >= 2:
        raise VolumeError(f"too small ({text}); two axes need at least {MIN_IN_PLANE} voxels")
    return tuple(sizes[:3])


def _misplaced(sizes: Sequence[int]) -> str:
    """Words on an axis of a 3-D volume that stands in a wrong place; empty if there is none."""
    if sum(size > 1 for size in sizes) != 3:
        return ""
    return ": the channel stands first" if sizes[0] == 1 else ": the slices stand in the place of time or channels"


def check_affine(affine: NDArray) -> None:
    """Raise a :class:`VolumeError` (without the file name) if a volume cannot have this affine."""
    if not (np.abs(affine) < 1e12).all() or np.linalg.cond(affine[:3, :3]) > 1e6:
        raise VolumeError("the affine is singular or not a number; export the file again with its orientation")


def voxel_sizes(affine: NDArray) -> NDArray[np.float64]:
    """Lengths (3,) of a voxel along the three array axes, in the unit of the affine (4, 4)."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def shear(affine: NDArray) -> float:
    """Largest cosine between two axes; 0 if they are at right angles."""
    directions = affine[:3, :3] / voxel_sizes(affine)
    return float(np.abs(directions.T @ directions - np.eye(3)).max())


def grid_notes(shape: Sequence[int], affine: NDArray) -> list[str]:
    """A warning for each oddity of a grid in mm that is used as given."""
    spacing, notes = voxel_sizes(affine), []
    sides = spacing * shape
    if shear(affine) > 1e-3:
        notes.append("The affine is sheared (axes not at right angles); slices were used as stored.")
    if spacing.min() < PLAUSIBLE_SPACING_MM[0] or spacing.max() > PLAUSIBLE_SPACING_MM[1]:
        notes.append(f"Implausible voxel size {' x '.join(f'{s:g}' for s in spacing)} mm was used as given.")
    if not PLAUSIBLE_SIDE_MM[0] <= sides.max() <= PLAUSIBLE_SIDE_MM[1]:
        size = " x ".join(f"{side:.3g}" for side in sides)
        notes.append(f"The volume measures {size} mm, which is implausible; check the unit of its header.")
    return notes


def corners_of(shape: Sequence[int]) -> NDArray[np.int_]:
    """Voxel indices (3, 8) of the corners of a grid."""
    return np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)


def same_grid(shape: tuple[int, ...], affine: NDArray, other_shape: tuple[int, ...], other_affine: NDArray) -> bool:
    """Whether two grids have the same shape and corners that agree within a hundredth of a voxel."""
    if shape != other_shape:
        return False
    corners = corners_of(shape)
    mapping = voxel_mapping(affine, other_affine)
    moved = mapping[:3, :3] @ corners + mapping[:3, 3:]
    return bool(np.abs(moved - corners).max() < GRID_TOLERANCE_VOXELS)


def is_axial(shape: tuple[int, ...], affine: NDArray) -> bool:
    """Whether rows run to the right or left, columns to the front or back and slices up or down, with square pixels.

    No corner may differ by a hundredth of a voxel.
    """
    x, y, z = voxel_sizes(affine)
    straight = affine.copy()
    straight[:3, :3] = np.diag(np.sign(np.diag(affine)[:3]) * (min(x, y), min(x, y), z))
    return same_grid(shape, straight, shape, affine)


def to_ras(array: NDArray, affine: NDArray) -> tuple[NDArray, tuple[float, float, float]]:
    """The array with axes swapped and flipped to the nearest RAS order, and its spacing in mm.

    There is no interpolation: an oblique volume stays oblique. MONAI's Orientationd finds the same order.
    """
    orientation = io_orientation(affine)
    right, front, up = voxel_sizes(affine)[orientation[:, 0].argsort()].tolist()
    return apply_orientation(array, orientation), (right, front, up)


def voxel_mapping(source_affine: NDArray, target_affine: NDArray) -> NDArray:
    """Matrix (4, 4) from voxel indices of the source grid to those of the target grid."""
    # Rounded, because an index of -1e-12 counts as outside and a flipped volume would lose its first slice.
    return np.round(np.linalg.inv(target_affine) @ source_affine, 6)


def axis_directions(affine: NDArray) -> str:
    """Directions of the three array axes as letters, such as ``LPS``."""
    return "".join(aff2axcodes(affine))


def resample(
    array: NDArray, affine: NDArray, shape: tuple[int, ...], target_affine: NDArray, *, outside: float, order: int = 1
) -> NDArray:
    """Resample ``array`` ``(X, Y, Z)`` to another grid, linearly (``order=1``) or with the nearest voxel (0).

    The affines are ``(4, 4)``, voxel index to mm; ``outside`` is the value beyond the edge of the array.
    """
    mapping = voxel_mapping(target_affine, affine)
    return affine_transform(array, mapping, output_shape=shape, order=order, mode="constant", cval=outside)


def resample_axially(array: NDArray, affine: NDArray, *, outside: float) -> tuple[NDArray, NDArray[np.float64]]:
    """Resample ``(X, Y, Z)`` linearly to a new grid along the patient's axes that holds all of it; returns its affine.

    The axes run to the left, to the back and upwards. Pixels are square; pixels and slices are as far apart as they
    can be without passing over a voxel of the source.

    Raises:
        VolumeError: if the new grid has too many voxels (without the file name).
    """
    to_lps = LPS_TO_RAS @ affine
    across, down, up = 1 / np.abs(np.linalg.inv(to_lps[:3, :3])).max(axis=0)
    steps = np.array([min(across, down), min(across, down), up])
    edges = to_lps[:3, :3] @ (corners_of(array.shape) + (corners_of((2, 2, 2)) - 0.5)) + to_lps[:3, 3:]
    first, last = edges.min(axis=1), edges.max(axis=1)
    shape = tuple(int(n) for n in np.ceil((last - first) / steps - GRID_TOLERANCE_VOXELS))
    if prod(shape) > MOST_RESAMPLED:
        raise VolumeError(f"an axial grid would have {' x '.join(map(str, shape))} voxels; leave out --resample axial")
    grid = np.diag([*steps, 1.0])
    grid[:3, 3] = first + steps / 2
    # The outermost voxels are repeated once, because the source reaches half a voxel beyond their centres.
    rim = affine.copy()
    rim[:3, 3] -= affine[:3, :3].sum(axis=1)
    return resample(np.pad(array, 1, "edge"), rim, shape, LPS_TO_RAS @ grid, outside=outside), LPS_TO_RAS @ grid
