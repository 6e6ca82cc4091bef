import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import convolve
from skimage.metrics import structural_similarity

from cyclegan_gc import metrics


@pytest.mark.parametrize("crop", [(slice(None),) * 3, (slice(4, 20), slice(8, 26), slice(6, 14))])
def test_ssim_agrees_with_the_masked_mean_of_scikit_image(case, crop):
    sct, ct, mask = (image[crop] for image in case)
    x, y = (np.where(mask, np.clip(i, -1024, 3000), -1024).astype(float) + 1024 for i in (sct, ct))
    full = structural_similarity(x, y, win_size=7, data_range=4024, use_sample_covariance=True, full=True)[1]
    inner = (slice(3, -3),) * 3
    assert metrics.ssim(sct, ct, mask) == pytest.approx(np.asarray(full)[inner][mask[inner]].mean(), abs=1e-9)


def test_ssim_needs_a_voxel_with_a_whole_window(case):
    sct, ct, mask = case
    assert metrics.ssim(sct[..., :6], ct[..., :6], mask[..., :6]) is None
    assert metrics.ssim(sct[..., 6:13], ct[..., 6:13], mask[..., 6:13]) is not None


def ms_ssim_by_definition(sct: np.ndarray, ct: np.ndarray, mask: np.ndarray) -> float:
    """Luminance, contrast and structure computed separately, window by window, for each voxel of the mask."""
    x, y = (np.where(mask, np.clip(i, -1024, 3071), -1024).astype(float) + 1024 for i in (sct, ct))
    short = [max(0, 97 - n) for n in mask.shape]
    x, y, mask = (np.pad(i, [(n // 2, n - n // 2) for n in short], mode="edge") for i in (x, y, mask))
    c1, c2 = (0.01 * 4095) ** 2, (0.03 * 4095) ** 2
    product = 1.0
    for weight in (0.0448, 0.2856, 0.3001, 0.2363, 0.1333):
        inner = mask[3:-3, 3:-3, 3:-3]
        a, b = (sliding_window_view(i, (7, 7, 7))[inner].reshape(-1, 343) for i in (x, y))
        mean_a, mean_b, sd_a, sd_b = a.mean(1), b.mean(1), a.std(1, ddof=1), b.std(1, ddof=1)
        covariance = ((a - mean_a[:, None]) * (b - mean_b[:, None])).sum(1) / 342
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        contrast = (2 * sd_a * sd_b + c2) / (sd_a**2 + sd_b**2 + c2)
        structure = (covariance + c2 / 2) / (sd_a * sd_b + c2 / 2)
        product *= np.mean(luminance**weight * contrast**weight * np.maximum(structure, 0) ** weight)
        x, y = (convolve(i, np.full((2, 2, 2), 1 / 8), mode="same", method="direct")[::2, ::2, ::2] for i in (x, y))
        mask = mask[::2, ::2, ::2]
    return product


@pytest.mark.parametrize("shape", [(30, 26, 20), (105, 21, 11)])
@pytest.mark.parametrize("noise_hu", [80, 800])
def test_ms_ssim_agrees_with_its_definition(shape, noise_hu, rng):
    x, y, z = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    radius = np.sqrt(x**2 + y**2 + 0.5 * z**2)
    ct = np.select([radius < 0.5, radius < 0.8], [40.0, 1200.0], -1000.0) + rng.normal(0, 20, shape)
    sct = ct + rng.normal(0, noise_hu, shape)
    mask = radius < 0.75 + 0.2 * z  # meets one border, which padding then repeats
    assert metrics.ms_ssim(sct, ct, mask) == pytest.approx(ms_ssim_by_definition(sct, ct, mask), abs=1e-9)


def test_ms_ssim_falls_with_noise_and_sees_an_offset(case, rng):
    _, ct, mask = case
    ct = np.clip(ct, -1000, 1000)
    noise = rng.normal(0, 100, ct.shape)
    found = [metrics.ms_ssim(ct + change, ct, mask) or 0 for change in (0, 0.5 * noise, noise, 4 * noise)]
    assert found[0] == pytest.approx(1) and found == sorted(found, reverse=True)
    assert 0.9 < (metrics.ms_ssim(ct + 300, ct, mask) or 0) < 1


def test_an_inverted_image_has_next_to_no_ms_ssim(rng):
    ct = rng.normal(0, 400, (20, 20, 20))
    assert metrics.ms_ssim(-ct, ct, np.ones(ct.shape, bool)) == pytest.approx(0, abs=0.05)


def test_ms_ssim_has_no_value_where_a_scale_loses_the_mask(case):
    sct, ct, mask = case
    corner = np.zeros_like(mask)
    corner[1, 1, 1] = True
    assert metrics.ms_ssim(sct, ct, corner) is None
