from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from cyclegan_gc.data.frames import to_ras
from cyclegan_gc.evaluate.panels import case_panel
from cyclegan_gc.pictures import upright

FLIPPED = np.array([[0, -3, 0, 90], [0, 0, 4, -50], [-3, 0, 0, 60], [0, 0, 0, 1.0]])


def test_pictures_have_the_front_on_top_and_the_right_at_the_left():
    # File axes run down, left and front (see FLIPPED).
    volume = np.zeros((6, 5, 4))
    volume[:, 0, -1] = 1
    axial = upright(to_ras(volume, FLIPPED)[0][:, :, 2])
    assert axial.shape == (4, 5) and axial[0, 0] == 1 and axial.sum() == 1


@pytest.mark.parametrize("with_mr", [True, False])
def test_a_panel_is_a_png_with_a_picture_for_each_image(with_mr):
    ct = np.random.default_rng(0).normal(0, 300, (20, 24, 28))
    panel = case_panel(ct if with_mr else None, ct + 100, ct, None, FLIPPED)
    height, width, _ = imread(BytesIO(panel)).shape
    assert width > (3 + with_mr) * 200 and height > 400
