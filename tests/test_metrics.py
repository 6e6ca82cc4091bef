import math

import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from cyclegan_gc import metrics

SPACING_MM = (1.0, 1.5, 3.0)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def case(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic CT, true CT with air, soft tissue and bone (and some metal), and a mask that meets the border."""
    x, y, z = np.ogrid[-1:1:30j, -1:1:26j, -1:1:20j]
    radius = np.sqrt(x**2 + y**2 + 0.5 * z**2)
    ct = np.select([radius < 0.15, radius < 0.6, radius < 0.75, radius < 0.95], [-900.0, 40.0, 900.0, 0.0], -1000.0)
    ct = (ct + rng.normal(0, 20, ct.shape)).astype(np.float32)
    ct[12, 12, 10] = 9000
    return (ct + rng.normal(10, 80, ct.shape)).astype(np.float32), ct, radius < 0.95


def test_equal_images_are_perfect(case):
    _, ct, mask = case
    found = metrics.case_metrics(ct, ct, mask, SPACING_MM)
    perfect = {"mae": 0, "me": 0, "psnr": math.inf, "ssim": pytest.approx(1), "bone_dice": 1, "bone_hd95": 0}
    assert found == perfect | {"mae_air": 0, "mae_soft": 0, "mae_bone": 0}


def test_what_lies_outside_the_mask_does_not_matter(case, rng):
    sct, ct, mask = case
    before = metrics.case_metrics(sct, ct, mask, SPACING_MM)
    sct, ct = (np.where(mask, image, rng.uniform(-2000, 4000, mask.shape)) for image in (sct, ct))
    assert metrics.case_metrics(sct, ct, mask, SPACING_MM) == pytest.approx(before)


def test_an_added_offset_is_the_bias_and_the_error(case):
    _, ct, mask = case
    assert metrics.me(ct - 50, ct, mask) == pytest.approx(-50)
    assert metrics.mae(ct - 50, ct, mask) == pytest.approx(50)


def test_stored_integers_do_not_overflow():
    ct, sct = np.full((8, 8, 8), -30000, np.int16), np.full((8, 8, 8), 30000, np.int16)
    assert metrics.mae(sct, ct, np.ones(ct.shape, bool)) == 60000


def test_tissue_errors_average_to_the_whole(case):
    sct, ct, mask = case
    tissues = metrics.mae_by_tissue(sct, ct, mask)
    inside = ct[mask]
    counts = {"air": (inside < -250).sum(), "bone": (inside > 250).sum()}
    counts["soft"] = inside.size - sum(counts.values())
    total = sum((tissues[name] or 0) * count for name, count in counts.items())
    assert total / inside.size == pytest.approx(metrics.mae(sct, ct, mask))


def test_a_tissue_that_is_not_there_has_no_error():
    ct = np.zeros((8, 8, 8))
    assert metrics.mae_by_tissue(ct + 5, ct, np.ones(ct.shape, bool)) == {"air": None, "soft": 5, "bone": None}


def test_psnr_agrees_with_scikit_image_on_the_clipped_voxels(case):
    sct, ct, mask = case
    expected = peak_signal_noise_ratio(*(np.clip(i, -1024, 3000)[mask] for i in (ct, sct)), data_range=4024)
    assert metrics.psnr(sct, ct, mask) == pytest.approx(expected)


def test_psnr_does_not_see_differences_beyond_the_range(case):
    _, ct, mask = case
    padded = np.where(ct > 2999, 30000, ct)
    assert metrics.psnr(padded, ct, mask) == math.inf


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


@pytest.mark.parametrize("seed", range(4))
def test_hd95_agrees_with_brute_force_and_monai(seed):
    rng = np.random.default_rng(seed)
    a, b = (np.zeros((14, 12, 10), bool) for _ in range(2))
    a[2:9, 3:9, :6], b[3:14, 2:8, 2:7] = rng.random((7, 6, 6)) < 0.9, rng.random((11, 6, 5)) < 0.8
    found = metrics.hd95(a, b, SPACING_MM)

    surface_a, surface_b = (np.argwhere(m & np.logical_not(binary_erosion(m))) * SPACING_MM for m in (a, b))
    distances = cdist(surface_a, surface_b)
    directed = [np.percentile(distances.min(axis=axis), 95) for axis in (0, 1)]
    assert found == pytest.approx(max(directed))
    batch_a, batch_b = (torch.from_numpy(m)[None, None] for m in (a, b))
    monai = compute_hausdorff_distance(batch_a, batch_b, percentile=95, spacing=SPACING_MM, include_background=True)
    assert found == pytest.approx(monai.item(), rel=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_a_shifted_slab_of_bone_is_as_far_off_as_its_shift(axis):
    ct = np.zeros((24, 24, 24))
    ct.swapaxes(0, axis)[6:8] = 1000
    shifted = np.roll(ct, 3, axis=axis)
    inside = np.ones(ct.shape, bool)
    assert metrics.bone_hd95(shifted, ct, inside, SPACING_MM) == pytest.approx(3 * SPACING_MM[axis])


def test_dice_is_symmetric_and_counts_the_overlap():
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    a[:2], b[1:4] = True, True
    assert metrics.dice(a, b) == metrics.dice(b, a) == 2 * 16 / (32 + 48)


def test_missing_bone_is_no_overlap_and_no_distance(case):
    _, ct, mask = case
    flat = np.zeros_like(ct)
    assert metrics.bone_dice(flat, ct, mask) == 0
    assert metrics.bone_dice(flat, flat, mask) is None
    assert metrics.bone_hd95(flat, ct, mask, SPACING_MM) is None


def test_bone_outside_the_mask_does_not_count(case):
    _, ct, mask = case
    assert metrics.bone_dice(np.where(mask, ct, 2000), ct, mask) == 1


@pytest.mark.parametrize("metric", [metrics.mae, metrics.me, metrics.psnr, metrics.ssim, metrics.bone_dice])
def test_an_unusable_mask_is_refused(metric):
    ct = np.zeros((8, 8, 8))
    with pytest.raises(ValueError, match="no voxel"):
        metric(ct, ct, np.zeros(ct.shape, bool))
    with pytest.raises(ValueError, match="one shape"):
        metric(ct, ct[1:], np.ones(ct.shape, bool))
    with pytest.raises(ValueError, match="boolean"):
        metric(ct, ct, np.ones(ct.shape))
