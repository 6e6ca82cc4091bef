import numpy as np
import pytest

from cyclegan_gc.metrics.depth_profile import depth_profile, mean_profile, profile_distance

MM = 3.0
AFFINE = np.diag([MM, MM, MM, 1])


@pytest.fixture
def head() -> tuple[np.ndarray, np.ndarray]:
    """A ball of 90 mm radius: scalp of 6 mm at 30 HU, skull of 9 mm at 900 HU, brain at 40 HU."""
    place = (np.indices((64, 64, 64)) - 31.5) * MM
    radius = np.sqrt((place**2).sum(axis=0))
    hu = np.select([radius > 90, radius > 84, radius > 75], [-1000, 30, 900], 40)
    return hu.astype(np.int16), radius <= 90


def mean_hu(profile: np.ndarray) -> np.ndarray:
    return profile @ (np.linspace(-1000, 1500, 51)[:-1] + 25)


def test_the_skull_lies_below_the_scalp_and_above_the_brain(head):
    hu, mask = head
    profile = depth_profile(hu, mask, AFFINE)
    assert np.allclose(profile.sum(axis=1), 1)
    vault = mean_hu(profile)[:6]
    assert vault[0] < 300 < vault[2] and vault[4] < 150 and vault[5] == pytest.approx(40, abs=25)


def test_axis_order_and_voxel_size_do_not_matter(head):
    hu, mask = head
    profile = depth_profile(hu, mask, AFFINE)
    turned = AFFINE[:, [2, 0, 1, 3]]
    assert np.array_equal(depth_profile(hu.transpose(2, 0, 1), mask.transpose(2, 0, 1), turned), profile)
    fine = [np.repeat(np.repeat(np.repeat(each, 2, 0), 2, 1), 2, 2) for each in (hu, mask)]
    assert profile_distance(depth_profile(fine[0], fine[1], AFFINE / 2), profile) == pytest.approx(0, abs=1e-9)


def test_the_distance_is_the_hu_that_are_added_and_grows_with_bone_in_the_wrong_place(head):
    hu, mask = head
    profile = depth_profile(hu, mask, AFFINE)
    assert profile_distance(depth_profile(hu + 100, mask, AFFINE), profile) == pytest.approx(100, abs=1)
    inner = np.where((hu == 40) & (np.indices(hu.shape)[0] > 31), 900, hu)
    assert (profile_distance(depth_profile(inner, mask, AFFINE), profile) or 0) > 50


def test_cells_without_voxels_are_left_out_of_means_and_distances(head):
    hu, mask = head
    whole = depth_profile(hu, mask, AFFINE)
    upper = np.s_[:, :, 44:]
    vault = depth_profile(hu[upper], mask[upper], AFFINE)
    assert not vault[-1].any()
    assert np.allclose(mean_profile(np.array([whole, vault]))[-1], whole[-1])
    assert profile_distance(vault, np.zeros_like(vault)) is None
