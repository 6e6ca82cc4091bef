from typing import Any

import numpy as np
import pytest
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.spatial.array import Orientation
from scipy.spatial.transform import Rotation

from cyclegan_gc.formats.geometry import LPS_TO_RAS, resample, resample_axially, same_grid, to_ras


def test_axes_are_turned_to_right_front_and_up():
    array = np.arange(24).reshape(2, 3, 4)
    turned, spacing_mm = to_ras(array, np.array([[0, -3, 0, 0], [0, 0, 4, 0], [-2, 0, 0, 0], [0, 0, 0, 1.0]]))
    assert spacing_mm == (3, 4, 2)
    np.testing.assert_array_equal(turned, np.flip(array, (0, 1)).transpose(1, 2, 0))


@pytest.mark.parametrize("degrees", [20, 44, 50, 65, 130])
def test_an_oblique_volume_is_turned_as_monai_turns_it(degrees):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    turn = Rotation.from_rotvec(degrees * np.array([2, 1, 0]) / 5**0.5, degrees=True).as_matrix()
    affine[:3, :3] = turn @ affine[:3, :3]
    array = np.arange(24).reshape(2, 3, 4)
    image = MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine))
    expected: Any = Orientation(axcodes="RAS", labels=None)(image)
    turned, spacing_mm = to_ras(array, affine)
    np.testing.assert_array_equal(turned, expected.numpy()[0])
    assert spacing_mm == pytest.approx(np.linalg.norm(expected.affine[:3, :3].numpy(), axis=0))


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


def test_an_axial_volume_is_not_interpolated_and_keeps_its_grid():
    volume = np.random.default_rng(1).integers(-1000, 3000, (20, 24, 6)).astype(np.int16)
    affine = LPS_TO_RAS @ np.array([[0.9765625, 0, 0, -31.7], [0, 0.9765625, 0, 12.3], [0, 0, 3, 5.9], [0, 0, 0, 1]])
    flip = np.diag([-1.0, -1.0, -1.0, 1.0])
    flip[:3, 3] = (19, 23, 5)
    for array, given in ((volume, affine), (np.flip(volume), affine @ flip)):
        found, grid = resample_axially(array, given, outside=-1000)
        assert found.dtype == np.int16 and np.array_equal(found, volume)
        np.testing.assert_allclose(grid, affine, atol=1e-9)


def test_an_axial_grid_holds_every_corner_and_passes_over_no_voxel():
    turn = np.array([[0, 0.1, 5], [0.8, 0.2, 0], [-0.2, 0.8, 0.5]])  # about sagittal, slices 5 mm apart
    affine = np.eye(4)
    affine[:3, :3] = turn
    found, grid = resample_axially(np.ones((30, 40, 7), np.int16), affine, outside=-1000)
    step = np.abs(np.diag(grid)[:3])
    assert step[0] == step[1] and (np.abs(np.linalg.inv(turn) @ np.diag(step)) <= 1 + 1e-9).all()
    ends = np.array([[-0.5, 29.5], [-0.5, 39.5], [-0.5, 6.5]])
    corners = turn @ np.array(np.meshgrid(*ends)).reshape(3, -1)
    there = np.linalg.inv(grid)[:3, :3] @ (corners - grid[:3, 3:])
    assert (there > -0.5 - 1e-6).all() and (there.max(axis=1) < np.array(found.shape)).all()
