import numpy as np
import pytest

from cyclegan_gc.evaluate.agreement import DIFFERENCE_EDGES_HU, MEAN_EDGES_HU, count_agreement, pooled
from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.metrics import error_sd, me


def images(seed: int, bias: float, voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ct = rng.uniform(-800, 1500, (voxels, 3, 2))
    return ct + rng.normal(bias, 50, ct.shape), ct, rng.random(ct.shape) < 0.6


def test_counts_are_those_of_numpy_and_add_up_to_the_mask():
    sct, ct, mask = images(0, 30, 500)
    found = count_agreement(sct, ct, mask)
    means, differences = ((sct + ct) / 2)[mask], (sct - ct)[mask]
    expected, *_ = np.histogram2d(means, differences, (MEAN_EDGES_HU, DIFFERENCE_EDGES_HU))
    np.testing.assert_array_equal(found, expected)
    assert found.sum() == mask.sum()


def test_voxels_beyond_the_edges_are_counted_at_the_edge():
    ct = np.array([[[0.0, 30000.0]]])
    counts = count_agreement(ct + np.array([9000.0, 0.0]), ct, np.ones(ct.shape, bool))
    assert counts[:, -1].sum() == 1 and counts[-1].sum() == 2


def test_the_limits_over_all_cases_are_those_of_all_voxels_together():
    cases = [images(0, 30, 500), images(1, -20, 80)]
    rows: list[Row] = [
        {"voxels": int(mask.sum()), "me": me(sct, ct, mask), "error_sd": error_sd(sct, ct, mask)}
        for sct, ct, mask in cases
    ]
    together = np.concatenate([(sct - ct)[mask] for sct, ct, mask in cases])
    found = pooled(rows)
    assert found is not None and found.voxels == together.size
    half = 1.96 * together.std()
    assert found[:3] == pytest.approx((together.mean(), together.mean() - half, together.mean() + half))
    assert pooled([]) is None
