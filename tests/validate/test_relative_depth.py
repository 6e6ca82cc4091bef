import numpy as np

from cyclegan_gc.validate.score import relative_depth


def test_depth_grows_inwards_to_1_in_each_slice_and_the_border_of_the_picture_is_outside():
    rows, columns = np.mgrid[:41, :41] - 20
    small, large = rows**2 + columns**2 <= 8**2, np.ones((41, 41), bool)
    depth = relative_depth(np.stack([small, large])[:, None])
    assert depth.shape == (2, 1, 41, 41) and depth.dtype == np.float32
    assert depth[0, 0, 20, 20] == 1 and depth[1, 0, 20, 20] == 1
    assert not depth[0, 0][~small].any() and (depth[0, 0][small] > 0).all()
    np.testing.assert_allclose(depth[1, 0, 20, :21], np.arange(1, 22) / 21, rtol=1e-6)


def test_nothing_has_no_depth():
    assert not relative_depth(np.zeros((1, 8, 8), bool)).any()
