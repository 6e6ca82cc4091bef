import math

import numpy as np
import pytest

from cyclegan_gc import metrics

SPACING_MM = (1.0, 1.5, 3.0)


def test_equal_images_are_perfect(case):
    _, ct, mask = case
    found = metrics.case_metrics(ct, ct, mask, SPACING_MM)
    perfect = {"mae": 0, "me": 0, "error_sd": 0, "psnr": math.inf, "psnr_2025": math.inf, "ssim": pytest.approx(1)}
    perfect |= {"ms_ssim": pytest.approx(1), "bone_dice": 1, "bone_hd95": 0, "bone_assd": 0}
    assert found == perfect | {"mae_air": 0, "mae_soft": 0, "mae_bone": 0}


def test_what_lies_outside_the_mask_does_not_matter(case, rng):
    sct, ct, mask = case
    before = metrics.case_metrics(sct, ct, mask, SPACING_MM)
    sct, ct = (np.where(mask, image, rng.uniform(-2000, 4000, mask.shape)) for image in (sct, ct))
    assert metrics.case_metrics(sct, ct, mask, SPACING_MM) == pytest.approx(before)


@pytest.mark.parametrize(
    "metric", [metrics.mae, metrics.me, metrics.psnr, metrics.ssim, metrics.ms_ssim, metrics.bone_dice]
)
def test_an_unusable_mask_is_refused(metric):
    ct = np.zeros((8, 8, 8))
    with pytest.raises(ValueError, match="no voxel"):
        metric(ct, ct, np.zeros(ct.shape, bool))
    with pytest.raises(ValueError, match="one shape"):
        metric(ct, ct[1:], np.ones(ct.shape, bool))
    with pytest.raises(ValueError, match="boolean"):
        metric(ct, ct, np.ones(ct.shape))
