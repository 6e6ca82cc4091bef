import numpy as np
import pytest

from cyclegan_gc.evaluate.baselines import Histogram, best_constant_hu, count_hu, histogram_match


def histogram(values: np.ndarray, low: float, high: float) -> Histogram:
    counts, edges = np.histogram(values, 200, (low, high))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def test_the_best_constant_is_the_median_of_a_case():
    ct = np.random.default_rng(0).normal(100, 300, 5000)
    assert best_constant_hu([count_hu(ct, np.ones(5000, bool))]) == pytest.approx(np.median(ct), abs=1)


def test_the_best_constant_weighs_every_case_alike():
    big, small = np.full(1000, 100.0), np.full(10, 0.0)
    shares = [count_hu(ct, np.ones(ct.size, bool)) for ct in (big, small, small)]
    assert best_constant_hu(shares) == 0


def test_histogram_matching_recovers_a_monotone_map():
    mr = np.random.default_rng(0).uniform(-1, 1, 200_000)
    true_map = 1000 * mr**3 + 100 * mr
    found = histogram_match(mr, histogram(mr, -1, 1), histogram(true_map, -1100, 1100))
    assert np.abs(found - true_map).mean() < 10


def test_histogram_matching_rises_and_stays_within_what_was_counted():
    rng = np.random.default_rng(1)
    mr = histogram(rng.normal(0, 0.2, 1000), -1, 1)
    ct = histogram(np.append(rng.normal(0, 20, 500), rng.normal(800, 20, 500)), -1024, 3000)
    found = histogram_match(np.linspace(-3, 3, 999), mr, ct)
    assert (np.diff(found) >= 0).all()
    assert found[0] > -120 and found[-1] < 920


def test_a_histogram_without_a_voxel_is_refused():
    empty: Histogram = {"edges": [0.0, 1.0], "counts": [0]}
    with pytest.raises(ValueError, match="histogram"):
        histogram_match(np.zeros(3), empty, empty)
