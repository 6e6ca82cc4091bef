"""Agreement of a CT with an MR of the same person; no true CT is needed."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.model.losses import gradient_correlation
from cyclegan_gc.voxels import bounding_box, values_inside

GC_WINDOW_HU = (-1000.0, 2000.0)
MAP_WINDOW = 9
FLAT = 2e-3
"""Standard deviation of the slopes, in images of [-1, 1], below which a window counts as flat."""


def mr_gradient_correlation(ct_hu: NDArray, mr: NDArray, mask: NDArray[np.bool_], affine: NDArray) -> float | None:
    """Absolute gradient correlation of a CT with an MR on the same grid, in [-1, 1], averaged over axial slices.

    The GC of a true CT is the value to aim at; a higher one is not better. The CT is windowed to [-1000, 2000] HU, the
    MR to its percentiles 0.5 to 99.5. Only derivatives whose neighbours lie inside the mask count, and only slices with
    at least two of them along each axis: fewer have no correlation.

    Args:
        ct_hu: ``(X, Y, Z)``.
        mr: same shape, any unit.
        mask: same shape, not empty.
        affine: ``(4, 4)`` voxel index to RAS mm, to find the axial slices.

    Returns:
        The mean over slices; None if no slice counts.
    """
    low, high = np.percentile(values_inside(mr, mask), (0.5, 99.5))
    # A derivative counts only where its neighbours are inside too, so the box of the mask is enough.
    box = bounding_box(mask, margin=2)
    ct_hu, mr, mask = ct_hu[box], mr[box], mask[box]
    images = _normalise(ct_hu, *GC_WINDOW_HU), _normalise(mr, low, high), mask
    # (X, Y, Z) to slices (Z, 1, Y, X)
    ct, source, inside = (to_ras(image, affine)[0].transpose(2, 1, 0)[:, None] for image in images)
    used = np.min([_valid_derivatives(inside, axis) for axis in (2, 3)], axis=0) >= 2
    if not used.any():
        return None
    ct, source, inside = (torch.from_numpy(np.ascontiguousarray(image[used])) for image in (ct, source, inside))
    return float(gradient_correlation(ct, source, mode="absolute", operator="central", mask=inside).mean())


def gradient_correlation_map(ct_hu: NDArray, mr: NDArray, mr_limits: tuple[float, float]) -> NDArray[np.float64]:
    """Local agreement of two planes: the absolute gradient correlation in windows of 9 x 9 pixels, in [-1, 1].

    It is 0 where either plane is flat.

    Args:
        ct_hu: ``(H, W)``, both at least 2.
        mr: same shape.
        mr_limits: lower and upper end of the MR's range.
    """
    images = _normalise(ct_hu, *GC_WINDOW_HU), _normalise(mr, *mr_limits)
    by_axis = []
    for axis in range(2):
        a, b = (np.abs(np.gradient(image.astype(np.float64), axis=axis)) for image in images)
        mean_a, mean_b = uniform_filter(a, MAP_WINDOW), uniform_filter(b, MAP_WINDOW)
        covariance = uniform_filter(a * b, MAP_WINDOW) - mean_a * mean_b
        variances = (uniform_filter(x * x, MAP_WINDOW) - mean**2 for x, mean in ((a, mean_a), (b, mean_b)))
        spread_a, spread_b = (np.sqrt(np.maximum(variance, 0) + FLAT**2) for variance in variances)
        by_axis.append(covariance / (spread_a * spread_b))
    return np.mean(by_axis, axis=0)


def _valid_derivatives(inside: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Central differences with all three pixels inside, counted in each slice of ``(Z, 1, Y, X)``."""
    moved = np.moveaxis(inside, axis, -1)
    return np.count_nonzero(moved[..., :-2] & moved[..., 1:-1] & moved[..., 2:], axis=(1, 2, 3))


def _normalise(image: NDArray, low: float, high: float) -> NDArray[np.float32]:
    """``[low, high]`` to [-1, 1], clipped."""
    scaled = (np.clip(image, low, high) - low) / max(high - low, np.finfo(np.float32).tiny)
    return (2 * scaled - 1).astype(np.float32)
