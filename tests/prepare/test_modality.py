import numpy as np
import pytest

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.phantom.subject import make_subject
from cyclegan_gc.prepare.modality import check_values

CT = make_subject(0).ct.astype(np.float32)


def in_a_circle(ct: np.ndarray, padding: float) -> np.ndarray:
    """The CT with padding beyond the scanner's circle, mixed by resampling along its rim."""
    x, y = (np.linspace(-1, 1, size)[:, None, None] for size in ct.shape[:2])
    inside = np.clip((1 - np.hypot(x, y.swapaxes(0, 1))) * 20, 0, 1)
    return inside * ct + (1 - inside) * padding


IN_HU = {
    "as it is": CT,
    "air at -1000 alone": np.where(CT < -500, -1000, CT),
    "padding": in_a_circle(CT, -3024),
    "noise below padding": np.where(CT < -900, np.random.default_rng(0).normal(-1000, 100, CT.shape), CT),
    "inside the body": np.where((CT > -300) & (CT < 1200), CT, 40 - 80 * (np.indices(CT.shape).sum(0) % 2)),
    "nothing learnt": np.where(CT < -500, -1000, 500),
}
NOT_IN_HU = {
    "intercept left out": (CT + 1024, "rescale intercept"),
    "raw in padding": (in_a_circle(np.maximum(CT + 1024, 0), -2000), "rescale intercept"),
    "raw body alone": (np.where(CT < -500, -1000, CT + 1024), "rescale intercept"),
    "8 bits": (np.clip((CT + 160) / 400 * 255, 0, 255), "8 bits"),
    "normalised": (np.clip(CT / 1500, -1, 1), "normalised"),
    "window of soft tissue": (np.clip(CT, -160, 240), "cut off at -160"),
    "air cut off": (np.maximum(CT, -500), "cut off at -500"),
}


@pytest.mark.parametrize("array", IN_HU.values(), ids=IN_HU)
def test_a_ct_in_hu_passes(array):
    check_values(array, "ct")


@pytest.mark.parametrize(("array", "cause"), NOT_IN_HU.values(), ids=NOT_IN_HU)
def test_what_is_not_in_hu_is_refused_by_its_cause(array, cause):
    with pytest.raises(VolumeError, match=f"not a CT in HU.*{cause}"):
        check_values(array, "ct")


@pytest.mark.parametrize("bits", [8, 16])
def test_an_mr_whose_unsigned_values_wrapped_to_negative_is_refused_with_the_cure(bits):
    mr = make_subject(0).mr.astype(np.float64)
    unsigned = np.rint(np.clip(mr / np.percentile(mr, 99.9), 0, 1) * (2**bits - 1)).astype(f"u{bits // 8}")
    with pytest.raises(VolumeError, match=f"brightest voxels are negative .*add {2**bits} "):
        check_values(unsigned.view(f"i{bits // 8}").astype(np.float32), "mr")
    check_values(unsigned.astype(np.float32), "mr")


@pytest.mark.parametrize("dark", [-128, -100])
def test_an_mr_whose_darkest_voxels_are_negative_passes(dark):
    mr = make_subject(0).mr.astype(np.float64)
    check_values(np.rint(np.clip(mr / np.percentile(mr, 99.9), 0, 1) * 220 + dark).astype(np.float32), "mr")
