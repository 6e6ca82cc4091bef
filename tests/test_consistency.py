import numpy as np
import pytest

from cyclegan_gc.consistency import gradient_correlation_map

MR_LIMITS = (0.0, 900.0)


@pytest.fixture
def mr() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 900, (24, 30))


def test_the_map_is_one_where_edges_agree_whatever_their_sign_and_zero_where_a_picture_is_flat(mr):
    for hu in (mr * 3 - 1000, 1700 - mr * 3):
        assert gradient_correlation_map(hu, mr, MR_LIMITS).min() > 0.99
    assert np.abs(gradient_correlation_map(np.full(mr.shape, 40.0), mr, MR_LIMITS)).max() < 1e-6


def test_a_pixel_of_the_map_is_the_mean_correlation_of_the_window_around_it(mr):
    hu = np.random.default_rng(1).uniform(-1000, 2000, mr.shape)
    found = gradient_correlation_map(hu, mr, MR_LIMITS)
    window = (slice(8, 17), slice(10, 19))
    expected = np.mean(
        [
            np.corrcoef(*(np.abs(np.gradient(image, axis=axis))[window].ravel() for image in (hu, mr)))[0, 1]
            for axis in range(2)
        ]
    )
    assert found[12, 14] == pytest.approx(expected, abs=1e-3)


def test_only_where_they_differ_the_map_falls(mr):
    hu = mr * 3 - 1000
    hu[:, 20:] = np.random.default_rng(2).uniform(-1000, 1700, (24, 10))
    found = gradient_correlation_map(hu, mr, MR_LIMITS)
    assert found[:, :14].min() > 0.99 and np.abs(found[:, 25:]).mean() < 0.3
