"""Structural similarity at one scale (SynthRAD2023) and at five (SynthRAD2025), inside a mask."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from cyclegan_gc.metrics.voxelwise import RANGES_HU, HURange, Mask, check
from cyclegan_gc.voxels import bounding_box

WINDOW = 7
MARGIN = WINDOW // 2
SLAB = 24
"""Slices filtered at once: memory of small arrays is reused, that of whole volumes is allocated each time."""
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales, finest first (Wang et al. 2003)."""
LEAST_SIZE = 97
"""Images are padded to this size along each axis, so that the coarsest scale still holds a whole window."""


def ssim(sct: NDArray, ct: NDArray, mask: Mask) -> float | None:
    """Mean structural similarity (Wang et al. 2004) over the mask; 1 where the images are equal.

    As in SynthRAD2023: both images are clipped to [-1024, 3000] HU, set to -1024 outside the mask and shifted to start
    at 0. Uniform window of 7 x 7 x 7 voxels, sample covariance, K1 = 0.01, K2 = 0.03, data range 4024; the outermost 3
    voxels of the array are dropped. None if no voxel of the mask is left.
    """
    check(sct, ct, mask)
    limits = RANGES_HU[2023]
    similar = _similarity(_from_zero(sct, mask, limits), _from_zero(ct, mask, limits), mask, limits.width)
    return float(similar.mean()) if similar.size else None


def ms_ssim(sct: NDArray, ct: NDArray, mask: Mask) -> float | None:
    """Multi-scale structural similarity (Wang et al. 2003) over the mask, in [0, 1]; 1 where the images are equal.

    As in SynthRAD2025: the images are prepared as for :func:`ssim`, with the range [-1024, 3071] HU, and padded to
    at least 97 voxels along each axis by repeating their edge (the mask too). At each of five scales the map
    of luminance x contrast x structure, negative values set to 0, is raised to the weight of the scale and averaged
    over the mask except the outermost 3 voxels; the five averages are multiplied. Between scales images are
    averaged over 2 x 2 x 2 voxels (the voxel before and the voxel itself, at every second place, with 0 before the
    first), and the mask keeps every second voxel. Wang et al. weigh the luminance at the coarsest scale only and raise
    the averages rather than the maps; this function follows the challenge instead.

    None where at some scale no voxel of the mask is left.
    """
    check(sct, ct, mask)
    limits = RANGES_HU[2025]
    x, y, inside = (_padded(image) for image in (_from_zero(sct, mask, limits), _from_zero(ct, mask, limits), mask))
    product = 1.0
    for scale, weight in enumerate(SCALE_WEIGHTS):
        if scale:
            x, y, inside = _halved(x), _halved(y), inside[::2, ::2, ::2]
        similar = _similarity(x, y, inside, limits.width)
        if not similar.size:
            return None
        product *= float((np.maximum(similar, 0) ** weight).mean())
    return min(product, 1.0)


def _from_zero(image: NDArray, mask: Mask, limits: HURange) -> NDArray[np.float64]:
    """HU clipped and shifted to start at 0; 0 outside the mask."""
    # float64, because the variances are small differences of large squares.
    shifted = image.astype(np.float64)
    np.clip(shifted, *limits, out=shifted)
    shifted -= limits.low
    shifted *= mask
    return shifted


def _similarity(x: NDArray, y: NDArray, mask: Mask, data_range: float) -> NDArray[np.float64]:
    """SSIM at the mask's voxels whose window lies within the array, as a list; empty where there are none."""
    inner = np.zeros_like(mask)
    centre = (slice(MARGIN, -MARGIN),) * mask.ndim
    inner[centre] = mask[centre]
    if not inner.any():
        return np.empty(0)
    # The windows of the voxels in the mask reach 3 voxels beyond its bounding box; the rest is not needed.
    box = bounding_box(inner, margin=MARGIN)
    x, y, inner = x[box], y[box], inner[box]
    parts = []
    for start in range(0, inner.shape[-1] - 2 * MARGIN, SLAB):
        windows = np.s_[..., start : start + SLAB + 2 * MARGIN]
        found = _ssim_map(x[windows], y[windows], data_range)
        parts.append(found[..., MARGIN:-MARGIN][inner[windows][..., MARGIN:-MARGIN]])
    return np.concatenate(parts)


def _ssim_map(x: NDArray, y: NDArray, data_range: float) -> NDArray:
    # A box window is separable: 3 running sums per image instead of a 343-tap convolution (5 s for 53 s).
    def local_mean(image: NDArray) -> NDArray:
        return uniform_filter(image, WINDOW)

    voxels = WINDOW**x.ndim
    to_sample = voxels / (voxels - 1)
    mean_x, mean_y = local_mean(x), local_mean(y)
    variances = to_sample * (local_mean(x * x + y * y) - mean_x**2 - mean_y**2)
    covariance = to_sample * (local_mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    # Contrast x structure with C3 = C2 / 2 is this one fraction.
    return luminance * (2 * covariance + c2) / (variances + c2)


def _padded(array: NDArray) -> NDArray:
    """At least 97 voxels along each axis, the edge repeated on both sides."""
    missing = [max(0, LEAST_SIZE - size) for size in array.shape]
    return np.pad(array, [(n // 2, n - n // 2) for n in missing], mode="edge") if any(missing) else array


def _halved(image: NDArray) -> NDArray:
    """The mean of the voxel before and the voxel itself along every axis, at every second voxel; 0 before the first."""
    for axis in range(image.ndim):
        along = np.moveaxis(image, axis, 0)
        halved = along[::2] / 2
        halved[1:] += along[1::2][: len(halved) - 1] / 2
        image = np.moveaxis(halved, 0, axis)
    return image
