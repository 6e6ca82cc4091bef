"""Body masks: they leave out air, noise, couch and head holder and keep the cavities inside.

All functions take ``(X, Y, Z)`` arrays in any axis order; a turned volume gives the turned mask (up to a few voxels of
the rim where voxels are fine). Voxels under 1.4 mm are averaged into coarser ones, on which the body is found; its
outline is then interpolated on the fine grid.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from cyclegan_gc.voxels import bounding_box

CT_THRESHOLD_HU = -400.0
"""Midway between air and fat, so that skin voxels with partial volume fall evenly on both sides."""
MR_THRESHOLD_FRACTION = 0.4
"""Share of Otsu's threshold; Otsu's own may separate dark from bright tissue instead of air from tissue."""
CLOSING_MM = 4.0
"""Radius for closing gaps in the outline: cortical bone under thin skin is as dark as air in MR."""
OPENING_MM = 2.0
"""Radius for cutting bridges to a couch or a head holder that touches the skin."""
COARSE_MM = 2.8
"""Largest size of the coarser voxels."""
MOST_REACH = 8
"""Most voxels by which a mask grows in one direction, whatever the spacing of a header."""
SAMPLED = 128
"""Most voxels along each axis from which the range of grey values is taken."""
ROUNDING, ABOVE_DARKEST = 1e-6, 0.1
"""Shares of the range of grey values: a constant background varies by less than the first, and lies above the darkest
tissue by more than the second. In ordinary volumes it lies at most 0.03 above the darkest value."""
NEIGHBOURS = ndimage.generate_binary_structure(3, 1) & (np.indices((3, 3, 3)) != 1).any(axis=0)

BoolArray = NDArray[np.bool_]
Spacing = tuple[float, float, float]


def ct_body_mask(array_hu: np.ndarray, spacing_mm: Spacing) -> BoolArray:
    """Body mask of a CT in HU, including cavities; all false if nothing is denser than air."""
    return _solid_body(array_hu > CT_THRESHOLD_HU, spacing_mm)


def mr_body_mask(array: np.ndarray, spacing_mm: Spacing) -> BoolArray:
    """Body mask of an MR in any unit, with dark bone and cavities; all false if it is constant.

    Air is darkest; :func:`with_dark_background` makes it so.
    """
    factors = [min(n, size) for n, size in zip(_factors(spacing_mm, array.shape), array.shape, strict=True)]
    sample = array[tuple(slice(factor // 2, None, factor) for factor in factors)]
    low, high = np.percentile(sample, (1, 99))
    if not low < high:
        return np.zeros(array.shape, dtype=bool)
    threshold = low + MR_THRESHOLD_FRACTION * (_otsu(np.clip(sample, low, high)) - low)
    return _solid_body(array > threshold, spacing_mm)


def with_dark_background(array: np.ndarray) -> np.ndarray:
    """An MR (X, Y, Z) whose constant background is as dark as its darkest tissue; where that is so, the array itself.

    A z-scored MR, for instance, has a background of 0 between dark and bright tissue. The background is the value that
    most voxels on the outer edges of the volume share; a lone voxel of that value is tissue.
    """
    edges = np.concatenate([np.moveaxis(array, axis, 0)[:, (0, 0, -1, -1), (0, -1, 0, -1)] for axis in range(3)])
    background = np.median(edges)
    some = array[tuple(slice(None, None, -(-size // SAMPLED)) for size in array.shape)]
    others = some[some != background]
    low, high = np.percentile(others, (1, 99)) if others.size else (background, background)
    alike = ROUNDING * (high - low)
    if background - low <= ABOVE_DARKEST * (high - low) or np.mean(np.abs(edges - background) <= alike) < 0.5:
        return array
    shared = np.abs(array - background) <= alike
    shared &= np.asarray(ndimage.binary_dilation(shared, NEIGHBOURS), dtype=bool)
    return np.where(shared, low, array).astype(array.dtype)


def depth_below_skin(mask: BoolArray, spacing_mm: Spacing, cut: Sequence[tuple[bool, bool]]) -> NDArray[np.float64]:
    """Distance of each voxel to the outside as a share of the largest one, 0 outside the body.

    Args:
        mask: the body.
        spacing_mm: voxel size along its axes.
        cut: for each axis whether the body is cut off at the array's first and last border, which then is no skin.
    """
    wider = np.pad(mask, 1, mode="edge")
    for axis, borders in enumerate(cut):
        outer = np.moveaxis(wider, axis, 0)
        for border, inside in zip((0, -1), borders, strict=True):
            outer[border] &= inside
    if wider.all():  # cut off on all sides: no skin is left to measure from
        wider = np.pad(mask, 1)
    depth_mm = np.asarray(ndimage.distance_transform_edt(wider, spacing_mm))[1:-1, 1:-1, 1:-1]
    return depth_mm / max(depth_mm.max(), 1e-6)


def _solid_body(tissue: BoolArray, spacing_mm: Spacing) -> BoolArray:
    """The body within a tissue mask, in the same memory layout."""
    order = np.argsort(np.abs(tissue.strides), kind="stable")[::-1]
    a, b, c = (spacing_mm[axis] for axis in order)
    body = _find_ordered(tissue.transpose(order), (a, b, c))
    return body.transpose(np.argsort(order))


def _find_ordered(tissue: BoolArray, spacing_mm: Spacing) -> BoolArray:
    factors = _factors(spacing_mm, tissue.shape)
    if max(factors) == 1:
        return _find_body(tissue, spacing_mm, OPENING_MM)
    share = _block_means(tissue, factors)
    coarse_mm = (spacing_mm[0] * factors[0], spacing_mm[1] * factors[1], spacing_mm[2] * factors[2])
    # At least one coarse voxel. The thickness of thick slices does not count: it would cut off the scalp in each slice.
    not_thick = [mm for mm, factor in zip(coarse_mm, factors, strict=True) if factor > 1 or mm <= COARSE_MM]
    opening_mm = max(OPENING_MM, *not_thick)
    body = _find_body(share >= 0.5, coarse_mm, opening_mm)
    return _on_fine_grid(body, share, factors, tissue.shape)


def _factors(spacing_mm: Spacing, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Voxels averaged along each axis, whatever the spacing of a header at most twice the axis."""
    x, y, z = (max(1, math.floor(min(COARSE_MM / mm, 2 * n))) for mm, n in zip(spacing_mm, shape, strict=True))
    return x, y, z


def _block_means(mask: BoolArray, factors: tuple[int, int, int]) -> NDArray[np.float32]:
    """Share of true voxels in each block; incomplete blocks are filled with the border values."""
    wanting = [-size % factor for size, factor in zip(mask.shape, factors, strict=True)]
    padded = np.pad(mask.view(np.uint8), [(0, n) for n in wanting], mode="edge")
    total = padded
    for axis, factor in enumerate(factors):
        parts = np.moveaxis(total, axis, 0)
        first = parts[::factor].astype(np.float32)
        total = np.moveaxis(sum((parts[n::factor] for n in range(1, factor)), first), 0, axis)
    return np.asarray(total / math.prod(factors), np.float32)


def _on_fine_grid(
    body: BoolArray, share: NDArray[np.float32], factors: tuple[int, int, int], shape: tuple[int, ...]
) -> BoolArray:
    """The body on the fine grid, its outline interpolated from the share of tissue in the coarse voxels of the rim."""
    box = bounding_box(body, margin=2)
    body, share = body[box], share[box]
    inner = np.asarray(ndimage.binary_erosion(body, np.ones((3, 3, 3)), border_value=1), dtype=bool)
    rim = np.asarray(ndimage.binary_dilation(body, np.ones((3, 3, 3))), dtype=bool)
    filled = np.where(inner | (body & (share < 0.5)), np.float32(1), np.where(body | (rim & (share < 0.5)), share, 0))
    scale = [float(factor) for factor in factors]
    fine = functional.interpolate(torch.from_numpy(filled)[None, None], scale_factor=scale, mode="trilinear")[0, 0]
    drawn = np.zeros(shape, dtype=bool)
    here = drawn[tuple(slice(side.start * n, side.stop * n) for side, n in zip(box, factors, strict=True))]
    here[:] = fine.numpy()[tuple(slice(size) for size in here.shape)] > 0.5
    return drawn


def _find_body(tissue: BoolArray, spacing_mm: Spacing, opening_mm: float) -> BoolArray:
    """Largest piece after cutting thin bridges, closed, with everything that it encloses in any plane."""
    core = _largest_piece(_open(tissue, opening_mm, spacing_mm))
    # The cutting also removed thin parts of the body (ears, nose); tissue within a voxel of the core is added again.
    body = tissue & np.asarray(ndimage.binary_dilation(core, np.ones((3, 3, 3))), dtype=bool)
    return _fill(_close(body, spacing_mm))


def _largest_piece(mask: BoolArray) -> BoolArray:
    pieces, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    if count <= 1:
        return mask
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def _open(mask: BoolArray, radius_mm: float, spacing_mm: Spacing) -> BoolArray:
    return _grow(_shrink(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) & mask


def _close(mask: BoolArray, spacing_mm: Spacing) -> BoolArray:
    # The border values are repeated outwards, else the closing would fill the gap between body and border.
    reach = [2 * n + 1 for n in _reach(CLOSING_MM, spacing_mm)]
    wider = np.pad(mask, [(n, n) for n in reach], mode="edge")
    closed = _shrink(_grow(wider, CLOSING_MM, spacing_mm), CLOSING_MM, spacing_mm)
    return closed[tuple(slice(n, -n) for n in reach)] | mask


def _grow(mask: BoolArray, radius_mm: float, spacing_mm: Spacing) -> BoolArray:
    offsets = np.mgrid[tuple(slice(-n, n + 1) for n in _reach(radius_mm, spacing_mm))]
    lengths = sum((offset * mm) ** 2 for offset, mm in zip(offsets, spacing_mm, strict=True))
    return np.asarray(ndimage.binary_dilation(mask, np.asarray(lengths) <= radius_mm**2), dtype=bool)


def _reach(radius_mm: float, spacing_mm: Spacing) -> list[int]:
    return [math.floor(min(radius_mm / mm, MOST_REACH)) for mm in spacing_mm]


def _shrink(mask: BoolArray, radius_mm: float, spacing_mm: Spacing) -> BoolArray:
    # Beyond the border counts as body, so a body that reaches the border does not shrink there.
    return ~_grow(~mask, radius_mm, spacing_mm)


def _fill(mask: BoolArray) -> BoolArray:
    """Fill gaps that are enclosed in a plane of any axis: a sinus that opens to the nose is closed in some plane."""
    filled = mask.copy()
    box = bounding_box(mask)
    for axis in range(3):
        filled[box] |= _enclosed(mask[box], axis)
    return filled


def _enclosed(mask: BoolArray, axis: int) -> BoolArray:
    """Gaps that do not reach the border within the planes perpendicular to an axis."""
    in_plane = ndimage.generate_binary_structure(3, 1)
    in_plane[(slice(None),) * axis + ([0, 2],)] = False
    gaps, count = ndimage.label(~mask, in_plane)  # pyright: ignore[reportGeneralTypeIssues]
    gaps = np.asarray(gaps, np.int32)
    closed = np.ones(count + 1, dtype=bool)
    closed[0] = False
    for other in {0, 1, 2} - {axis}:
        closed[np.moveaxis(gaps, other, 0)[[0, -1]]] = False
    return closed[gaps]


def _otsu(array: np.ndarray) -> float:
    """Threshold with the largest variance between the two classes (Otsu 1979)."""
    counts, edges = np.histogram(array, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / np.maximum(below, 1)
    mean_above = np.cumsum((counts * centres)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(edges[1:-1][between.argmax()])
