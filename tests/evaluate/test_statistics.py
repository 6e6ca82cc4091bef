import numpy as np
import pytest
from scipy import stats

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.statistics import (
    DIFFERENCE_EDGES_HU,
    MEAN_EDGES_HU,
    compare,
    count_agreement,
    describe,
    pooled,
)
from cyclegan_gc.metrics import error_sd, me


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = rng.normal(60, 10, 17)
    return values, values + rng.normal(4, 6, 17)


def test_the_interval_is_students(pairs):
    values, _ = pairs
    found = describe(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=values.mean(), scale=stats.sem(values))
    assert (found["ci95_low"], found["ci95_high"]) == pytest.approx(expected)
    assert (found["mean"], found["sd"], found["n"]) == pytest.approx((values.mean(), values.std(ddof=1), 17))


def test_one_case_has_a_mean_alone_and_none_has_nothing():
    nothing = {"sd": None, "ci95_low": None, "ci95_high": None}
    assert describe([3.0]) == {"mean": 3.0, "n": 1, **nothing}
    assert describe([]) == {"mean": None, "n": 0, **nothing}


def test_the_gain_is_positive_where_the_first_is_better_and_its_interval_is_that_of_the_paired_t_test(pairs):
    values, others = pairs
    found = compare(values, others, higher_is_better=False)
    interval = stats.ttest_rel(others, values).confidence_interval(0.95)
    assert (found["gain_ci95_low"], found["gain_ci95_high"]) == pytest.approx((interval.low, interval.high))
    turned = compare(values, others, higher_is_better=True)
    assert turned["gain"] == pytest.approx(-(found["gain"] or 0)) and found["better"] == (values < others).sum()


def test_the_test_is_wilcoxons_and_the_effect_the_difference_of_rank_sums(pairs):
    values, others = pairs
    found = compare(values, others, higher_is_better=False)
    gain = others - values
    assert found["p"] == pytest.approx(stats.wilcoxon(others, values)[1])
    ranks = [1 + sum(abs(other) < abs(one) for other in gain) for one in gain]
    signed = sum(rank if one > 0 else -rank for rank, one in zip(ranks, gain, strict=True))
    assert found["effect"] == pytest.approx(signed / sum(ranks))


def test_two_equal_methods_differ_by_nothing_and_are_not_tested():
    found = compare([1.0, 2.0], [1.0, 2.0], higher_is_better=True)
    assert (found["gain"], found["better"], found["p"], found["effect"]) == (0, 0, None, None)


def test_no_pair_and_one_pair_have_no_interval():
    assert compare([], [], higher_is_better=True)["gain"] is None
    one = compare([3.0], [1.0], higher_is_better=True)
    assert (one["pairs"], one["gain"], one["gain_ci95_low"], one["p"]) == (1, 2, None, None)


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
