"""From a volume's own grid to the network's and back: cut to the body, resampled in the plane, padded with air.

In a conversion nothing is resampled across slices: a slice of the result is a slice of the source. Training reads its
planes from volumes whose fine axes are all resampled (:func:`coarsen`). Volumes are in the canonical frame of
:mod:`cyclegan_gc.prepare.transforms`, (C, H, W, D) to the back, to the left and upwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cyclegan_gc.config import SliceAxis
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.model.cyclegan import AIR
from cyclegan_gc.prepare.body import Spacing
from cyclegan_gc.prepare.preprocess import Prepared
from cyclegan_gc.voxels import bounding_box

MULTIPLE = 4
"""The generators need heights and widths that are multiples of this."""
LEAST_SIZE = 16
"""Smallest height and width of a padded slice."""
MOST_PIXELS, MOST_VOXELS = 2**20, 2**28
"""Most pixels of a slice, and voxels of a volume, that are made by resampling; more is the work of a wrong header."""
SPACING_TOLERANCE = 0.1
"""Pixels that differ from the wanted size by at most this fraction are not resampled, which would only blur."""


@dataclass(frozen=True)
class NetworkGrid:
    """The body's box in a volume turned to a plane, (H, W, D), and the size of its slices for the network."""

    axis: SliceAxis
    pixel_mm: tuple[float, float]
    """The volume's own pixel size along H and W."""
    shape: tuple[int, int, int]
    """(H, W, D) of the whole volume."""
    box: tuple[slice, slice, slice]
    size: tuple[int, int]
    """(h, w) of the box's slices at the network's pixel size."""
    padded: tuple[int, int]
    """(h, w) after padding, multiples of 4."""

    @property
    def own_size(self) -> tuple[int, int]:
        """(h, w) of the box's slices at the volume's own pixel size."""
        rows, columns, _ = self.box
        return rows.stop - rows.start, columns.stop - columns.start

    @property
    def resampled(self) -> bool:
        """Whether pixels are resampled for the network."""
        return self.size != self.own_size

    @property
    def network_pixel_mm(self) -> tuple[float, float]:
        """Pixel size in the network along H and W."""
        height, width = (mm * own / seen for mm, own, seen in zip(self.pixel_mm, self.own_size, self.size, strict=True))
        return height, width


DIRECTIONS: dict[SliceAxis, NDArray[np.int64]] = {
    "axial": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "coronal": np.array([[0, -1, 0], [-1, 0, 0], [0, 0, 1]]),
    "sagittal": np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]]),
}
"""A plane's slices, rows and columns (the columns of each matrix) in a volume of (depth, height, width): upwards, to
the back and to the left. They are the turns of :func:`to_plane`."""


def network_grid(
    case: Prepared, axis: SliceAxis, spacing_mm: float | None, minimum: tuple[int, int] = (LEAST_SIZE, LEAST_SIZE)
) -> NetworkGrid:
    """The network's grid for a case, with at least one body voxel, in one plane.

    Args:
        spacing_mm: pixel size of the training; None keeps the case's own.
        minimum: smallest padded (h, w). Instance norm averages over air and body, so slices are padded as in training.

    Raises:
        VolumeError: if pixels are so large that resampling them would exhaust the memory (without a file name).
    """
    mask = to_plane(case.mask, axis)[0]
    own_mm = pixel_mm(case.spacing_mm, axis)
    box = bounding_box(mask.numpy())
    lengths = [side.stop - side.start for side in box[:2]]
    size = [_resized(n, own, spacing_mm) for n, own in zip(lengths, own_mm, strict=True)]
    padded = [-(-max(n, least) // MULTIPLE) * MULTIPLE for n, least in zip(size, minimum, strict=True)]
    made, depth = prod(size), box[2].stop - box[2].start
    if made > prod(lengths) and (made > MOST_PIXELS or made * depth > MOST_VOXELS):
        raise VolumeError(
            f"pixels of {own_mm[0]:.3g} x {own_mm[1]:.3g} mm would become {depth} slices of {size[0]} x {size[1]} for "
            "the network; correct the voxel size or the unit in the header"
        )
    return NetworkGrid(axis, own_mm, tuple(mask.shape), box, tuple(size), tuple(padded))  # pyright: ignore[reportArgumentType]


def to_network(image: Tensor, grid: NetworkGrid) -> Tensor:
    """Float image (C, H, W, D) in [-1, 1] to slices (D', C, h, w), padded with air."""
    return functional.pad(_resize(_boxed(image, grid), grid.size), _padding(grid), value=AIR)


def mask_to_network(mask: Tensor, grid: NetworkGrid) -> Tensor:
    """Bool mask (1, H, W, D) to (D', 1, h, w): a pixel is body where at least half of it is."""
    slices = _boxed(mask, grid)
    if grid.resampled:
        slices = _resize(slices.float() * 2 - 1, grid.size) >= 0
    return functional.pad(slices, _padding(grid), value=False)


def to_source(slices: Tensor, masks: Tensor, grid: NetworkGrid) -> Tensor:
    """Slices (D', 1, h, w) back to a volume (1, H, W, D), air outside the box.

    Where pixels are resampled, the body's rim is first repeated outwards so that no air is mixed into the body.
    """
    if grid.resampled:
        slices = _repeat_rim(slices, masks)
    left, right, top, bottom = _padding(grid)
    height, width = slices.shape[-2:]
    inner = slices[..., top : height - bottom, left : width - right]
    rows, columns, depth = grid.box
    full = torch.full((grid.shape[2], *grid.shape[:2]), AIR, dtype=slices.dtype)
    full[depth, rows, columns] = _resize(inner, grid.own_size)[:, 0]
    return from_plane(full.permute(1, 2, 0)[None], grid.axis)


def coarsen(
    image: Tensor, mask: Tensor, spacing_mm: Spacing, wanted_mm: float | None
) -> tuple[Tensor, Tensor, Spacing]:
    """Image (C, H, W, D) and mask (1, H, W, D) with each axis finer than the network's pixels resampled to them.

    Coarser axes stay: a scan of thick slices gets none between them. Returns image, mask and the new spacing.
    """
    own = image.shape[1:]
    size = [min(n, _resized(n, mm, wanted_mm)) for n, mm in zip(own, spacing_mm, strict=True)]
    if tuple(size) != own:
        image, mask = _resize_all(image, size), _resize_all(mask.float() * 2 - 1, size) >= 0
    height, width, depth = (mm * n / new for mm, n, new in zip(spacing_mm, own, size, strict=True))
    return image, mask, (height, width, depth)


def to_plane(volume: Tensor, axis: SliceAxis) -> Tensor:
    """Turn (C, H, W, D), axial slices, so that H and W span an upright slice of another plane.

    Coronal rows run down, columns to the left and slices to the front; sagittal ones down, to the back, to the left.
    """
    if axis == "coronal":
        return volume.permute(0, 3, 2, 1).flip(1, 3)
    return volume.permute(0, 3, 1, 2).flip(1) if axis == "sagittal" else volume


def from_plane(volume: Tensor, axis: SliceAxis) -> Tensor:
    """Undo :func:`to_plane`."""
    if axis == "coronal":
        return volume.flip(1, 3).permute(0, 3, 2, 1)
    return volume.flip(1).permute(0, 2, 3, 1) if axis == "sagittal" else volume


def pixel_mm(spacing_mm: tuple[float, float, float], axis: SliceAxis) -> tuple[float, float]:
    """Height and width of a plane's pixel in a volume with voxels of (H, W, D) mm."""
    height, width, depth = spacing_mm
    return {"axial": (height, width), "coronal": (depth, width), "sagittal": (depth, height)}[axis]


def seen_mm(own_mm: float, wanted_mm: float | None) -> float:
    """The pixel size for the network: the wanted one, or the volume's own if it is close to that."""
    return own_mm if wanted_mm is None or abs(own_mm / wanted_mm - 1) <= SPACING_TOLERANCE else wanted_mm


def around(index: int, count: int, context: int) -> list[int]:
    """Indices of a slice and its ``context`` neighbours on each side, among ``count`` slices; the ends repeat."""
    return [min(max(other, 0), count - 1) for other in range(index - context, index + context + 1)]


def _boxed(volume: Tensor, grid: NetworkGrid) -> Tensor:
    """The body's slices (D', C, h, w) at the volume's own pixel size."""
    return to_plane(volume, grid.axis)[(slice(None), *grid.box)].permute(3, 0, 1, 2).contiguous()


def _resized(length: int, own_mm: float, wanted_mm: float | None) -> int:
    return max(1, round(length * own_mm / seen_mm(own_mm, wanted_mm)))


def _resize(slices: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(slices.shape[-2:]) == size:
        return slices
    return functional.interpolate(slices, size, mode="bilinear", antialias=True)


def _resize_all(volume: Tensor, size: Sequence[int]) -> Tensor:
    """(C, H, W, D) resized along its three axes; torch smooths before it resamples in two dimensions only."""
    height, width, depth = size
    slices = _resize(volume.permute(3, 0, 1, 2), (height, width))
    rows = slices.permute(1, 2, 3, 0).flatten(1, 2)[None]
    return _resize(rows, (height * width, depth))[0].unflatten(1, (height, width))


def _repeat_rim(slices: Tensor, masks: Tensor) -> Tensor:
    """Fill a rim of two pixels around the body with the mean of the neighbours inside the body."""
    known = masks.to(slices.dtype)
    for _ in range(2):
        near = functional.avg_pool2d(known, 3, 1, 1)
        mean = functional.avg_pool2d(slices * known, 3, 1, 1) / near.clamp_min(1e-6)
        slices = torch.where((near > 0) & (known == 0), mean, slices)
        known = (near > 0).to(slices.dtype)
    return slices


def _padding(grid: NetworkGrid) -> tuple[int, int, int, int]:
    height, width = (padded - size for padded, size in zip(grid.padded, grid.size, strict=True))
    return width // 2, width - width // 2, height // 2, height - height // 2
