"""Where the body is: masks that leave out air, noise, couch and head holder but keep the cavities inside.

All functions take ``(X, Y, Z)`` arrays in any axis order and give the same mask, turned, for a turned volume.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CT_THRESHOLD_HU = -400.0
"""Midway between air and fat; skin edges blurred by partial volume fall on either side evenly."""
MR_THRESHOLD_FRACTION = 0.4
"""Part of Otsu's threshold: Otsu alone parts dark from bright tissue as readily as air from tissue."""
CLOSING_MM = 4.0
"""Gaps in the outline that are closed: cortical bone under thin skin is as dark as air in MR."""
OPENING_MM = 2.0
"""Bridges that are cut: a couch or a head holder that touches the skin."""

BoolArray = NDArray[np.bool_]


def ct_body_mask(array_hu: np.ndarray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Body of a CT, cavities included.

    Args:
        array_hu: ``(X, Y, Z)`` in HU.
        spacing_mm: voxel size along each axis.

    Returns:
        ``(X, Y, Z)`` bool; all false where nothing is denser than air.
    """
    return _solid_body(array_hu > CT_THRESHOLD_HU, spacing_mm)


def mr_body_mask(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Body of an MR, dark bone and cavities included.

    Args:
        array: ``(X, Y, Z)`` in any unit, air darkest.
        spacing_mm: voxel size along each axis.

    Returns:
        ``(X, Y, Z)`` bool; all false for a constant volume.
    """
    low, high = np.percentile(array, (1, 99))
    if not low < high:
        return np.zeros(array.shape, dtype=bool)
    threshold = low + MR_THRESHOLD_FRACTION * (_otsu(np.clip(array, low, high)) - low)
    return _solid_body(array > threshold, spacing_mm)


def _solid_body(tissue: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Largest piece after cutting thin bridges, closed, with what it encloses in any plane."""
    core = _largest_piece(_open(tissue, spacing_mm))
    # Cutting shaved thin parts of the body itself (ears, nose); what lies within a voxel of the core comes back.
    body = tissue & np.asarray(ndimage.binary_dilation(core, np.ones((3, 3, 3))), dtype=bool)
    return _fill(_close(body, spacing_mm))


def _largest_piece(mask: BoolArray) -> BoolArray:
    pieces, count = ndimage.label(mask)  # pyright: ignore[reportGeneralTypeIssues]
    if count <= 1:
        return mask
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1


def _open(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    return _grow(_shrink(mask, OPENING_MM, spacing_mm), OPENING_MM, spacing_mm) & mask


def _close(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> BoolArray:
    return _shrink(_grow(mask, CLOSING_MM, spacing_mm), CLOSING_MM, spacing_mm) | mask


def _grow(mask: BoolArray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> BoolArray:
    """Every voxel within the radius of the mask; by distances, whose cost does not grow with the radius in voxels."""
    if not mask.any():
        return mask
    return np.asarray(ndimage.distance_transform_edt(~mask, spacing_mm)) <= radius_mm


def _shrink(mask: BoolArray, radius_mm: float, spacing_mm: tuple[float, float, float]) -> BoolArray:
    # Beyond the border counts as body: a volume that ends within the body is not eaten from its faces.
    return ~_grow(~mask, radius_mm, spacing_mm)


def _fill(mask: BoolArray) -> BoolArray:
    """Fill what is enclosed in a plane of any axis: a sinus that opens to the nose is closed in some plane."""
    filled = mask.copy()
    for axis in range(3):
        for index in range(mask.shape[axis]):
            plane = (slice(None),) * axis + (index,)
            filled[plane] |= ndimage.binary_fill_holes(mask[plane])
    return filled


def _otsu(array: np.ndarray) -> float:
    """Threshold with the largest variance between the classes it parts (Otsu 1979)."""
    counts, edges = np.histogram(array, 256)
    centres = (edges[1:] + edges[:-1]) / 2
    below, above = np.cumsum(counts), np.cumsum(counts[::-1])[::-1]
    mean_below = np.cumsum(counts * centres) / np.maximum(below, 1)
    mean_above = np.cumsum((counts * centres)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(edges[1:-1][between.argmax()])
