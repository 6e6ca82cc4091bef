import numpy as np
import pytest

from cyclegan_gc.formats.geometry import resample, same_grid, to_ras


def test_axes_are_turned_to_right_front_and_up():
    array = np.arange(24).reshape(2, 3, 4)
    turned, spacing_mm = to_ras(array, np.array([[0, -3, 0, 0], [0, 0, 4, 0], [-2, 0, 0, 0], [0, 0, 0, 1.0]]))
    assert spacing_mm == (3, 4, 2)
    np.testing.assert_array_equal(turned, np.flip(array, (0, 1)).transpose(1, 2, 0))


def test_resampling_a_ramp_is_exact_and_air_outside():
    ramp = np.arange(10.0)[:, None, None] + np.zeros((10, 4, 4))
    shifted = np.eye(4)
    shifted[0, 3] = 2.5
    found = resample(ramp, np.eye(4), (10, 4, 4), shifted, outside=-1000.0)
    np.testing.assert_allclose(found[:, 0, 0], [2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, -1000, -1000, -1000])
    assert same_grid((10, 4, 4), np.eye(4), (10, 4, 4), np.eye(4) + 1e-6)
    assert not same_grid((10, 4, 4), np.eye(4), (10, 4, 4), shifted)


@pytest.mark.parametrize("degrees", [7, 19, 31])
def test_a_flip_of_an_oblique_volume_loses_no_border(degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.array([[0.7 * cos, -sin, 0, 31.7], [0.7 * sin, cos, 0, -12.3], [0, 0, 1.1, 5.9], [0, 0, 0, 1]])
    flip = np.diag([-1.0, -1.0, -1.0, 1.0])
    flip[:3, 3] = (11, 9, 7)
    volume = np.random.default_rng(degrees).random((12, 10, 8))
    found = resample(np.flip(volume), affine @ flip, volume.shape, affine, outside=-1000.0)
    np.testing.assert_allclose(found, volume, atol=1e-4)
