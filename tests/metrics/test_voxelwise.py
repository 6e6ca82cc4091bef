import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from cyclegan_gc import metrics


def test_errors_agree_with_numpy_weighted_by_the_mask(case):
    sct, ct, mask = case
    errors = sct.astype(np.float64) - ct
    mean = np.average(errors, weights=mask)
    assert metrics.mae(sct, ct, mask) == pytest.approx(np.average(np.abs(errors), weights=mask))
    assert metrics.me(sct, ct, mask) == pytest.approx(mean)
    assert metrics.error_sd(sct, ct, mask) == pytest.approx(np.average((errors - mean) ** 2, weights=mask) ** 0.5)


def test_air_lies_below_250_hu_under_zero_and_bone_above_250():
    ct = np.array([-1000, -251, -250, 0, 250, 251, 3000, 500]).reshape(2, 2, 2)
    errors, mask = np.array([1, -3, 4, -8, 12, 20, -40, 999]).reshape(2, 2, 2), ct != 500
    assert metrics.mae_by_tissue(ct + errors, ct, mask) == {"air": 2, "soft": 8, "bone": 30}
    assert metrics.mae(ct + errors, ct, mask) == pytest.approx(88 / 7)


def test_an_added_offset_is_the_bias_and_the_error(case):
    _, ct, mask = case
    assert metrics.me(ct - 50, ct, mask) == pytest.approx(-50)
    assert metrics.mae(ct - 50, ct, mask) == pytest.approx(50)


def test_bias_and_spread_make_the_mean_square(case):
    sct, ct, mask = case
    square = np.square(sct[mask].astype(float) - ct[mask]).mean()
    assert metrics.me(sct, ct, mask) ** 2 + metrics.error_sd(sct, ct, mask) ** 2 == pytest.approx(square)


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


@pytest.mark.parametrize(("challenge", "highest"), [(2023, 3000), (2025, 3071)])
def test_psnr_agrees_with_scikit_image_on_the_clipped_voxels(case, challenge, highest):
    sct, ct, mask = case
    clipped = (np.clip(i, -1024, highest)[mask].astype(float) for i in (ct, sct))
    expected = peak_signal_noise_ratio(*clipped, data_range=highest + 1024)
    assert metrics.psnr(sct, ct, mask, challenge) == pytest.approx(expected)


def test_psnr_does_not_see_differences_beyond_the_range(case):
    _, ct, mask = case
    padded = np.where(ct > 2999, 30000, ct)
    assert metrics.psnr(padded, ct, mask) == math.inf


def test_steps_from_slice_to_slice_stand_against_those_within_slices():
    rows, _, slices = np.meshgrid(np.arange(12.0), np.arange(12.0), np.arange(10.0), indexing="ij")
    inside = np.ones(rows.shape, bool)
    # 3 a row and 0 a column are 1.5 within slices; 6 from slice to slice are four times that.
    assert metrics.slice_discontinuity(3 * rows + 6 * slices, inside) == pytest.approx(4)
    assert metrics.slice_discontinuity(3 * rows, inside) == 0
    half = inside & (slices < 5)
    assert metrics.slice_discontinuity(np.where(slices < 5, 3 * rows, 1000 * slices), half) == 0
