import itertools

import numpy as np
import pytest

from cyclegan_gc.voxels import block_sizes, bounding_box, depth_in_body, values_inside


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_values_inside_are_those_of_plain_indexing_whatever_the_layout(order):
    random = np.random.default_rng(0)
    array = random.normal(size=(5, 6, 7)).transpose(order)[::-1]
    mask = random.random(array.shape) > 0.5
    np.testing.assert_array_equal(np.sort(values_inside(array, mask)), np.sort(array[mask]))
    assert values_inside(array, mask, at_most=10**6).size == mask.sum()
    assert 10 <= values_inside(array, mask, at_most=10).size <= 20


def test_the_bounding_box_fits_the_mask():
    mask = np.zeros((5, 6, 7), bool)
    assert bounding_box(mask) == (slice(0, 5), slice(0, 6), slice(0, 7))
    mask[1:3, 4, 0] = mask[2, 2, 3] = True
    assert bounding_box(mask) == (slice(1, 3), slice(2, 5), slice(0, 4))
    assert bounding_box(mask, margin=2) == (slice(0, 5), slice(0, 6), slice(0, 6))


def test_the_body_goes_on_below_the_volume_and_has_skin_at_the_other_sides():
    depth_mm = depth_in_body(np.ones((9, 9, 9), bool), (1, 1, 2))
    assert depth_mm[4, 4].tolist() == [5, 5, 5, 5, 5, 5, 5, 4, 2]
    assert depth_mm[0, 4, 0] == depth_mm[4, 8, 0] == 1


def test_blocks_have_the_wanted_length_where_enough_of_them_fit():
    assert block_sizes((1.0, 0.4, 5.0), (99, 99, 99), 3.0) == [3, 8, 1]
    assert block_sizes((1.0, 0.4, 1.0), (99, 40, 7), 3.0, fewest=8) == [3, 5, 1]
