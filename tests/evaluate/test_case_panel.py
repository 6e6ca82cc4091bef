import numpy as np
import pytest
from numpy.typing import NDArray

from cyclegan_gc.evaluate.case_panel import case_panel
from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.pictures.sheets import Pixels, read_png, upright

FLIPPED = np.array([[0, -3, 0, 90], [0, 0, 4, -50], [-3, 0, 0, 60], [0, 0, 0, 1.0]])
BLACK, RED, BLUE = (0, 0, 0), (255, 0, 0), (0, 0, 255)


def where(picture: Pixels, colour: tuple[int, int, int]) -> tuple[NDArray, NDArray]:
    """Rows and columns with more of a colour than words have."""
    found = (picture == colour).all(axis=2)
    return np.flatnonzero(found.sum(axis=1) > 50), np.flatnonzero(found.sum(axis=0) > 50)


def test_pictures_have_the_front_on_top_and_the_right_at_the_left():
    # File axes run down, left and front (see FLIPPED).
    volume = np.zeros((6, 5, 4))
    volume[:, 0, -1] = 1
    axial = upright(to_ras(volume, FLIPPED)[0][:, :, 2])
    assert axial.shape == (4, 5) and axial[0, 0] == 1 and axial.sum() == 1


@pytest.mark.parametrize("with_mr", [True, False])
def test_a_panel_shows_the_images_beside_each_other_and_errors_inside_the_mask_by_their_sign(with_mr):
    """Everything is bright at the patient's right and dark at the left, the synthetic CT more so."""
    ct, mask = np.full((20, 24, 28), -1000.0), np.ones((20, 24, 28), bool)
    ct[10:], mask[:, 16:] = 1500, False
    panel = read_png(case_panel(ct if with_mr else None, ct + 700 * np.sign(ct), ct, mask, np.diag([2.0, 2, 2, 1])))
    (rows, dark), (error_rows, high), (_, low) = (where(panel, colour) for colour in (BLACK, RED, BLUE))
    before = np.count_nonzero(dark < high[0])  # behind stands a colour bar in a frame
    assert before == pytest.approx((2 + with_mr) * low.size, rel=0.02), "an image is missing or the wrong way round"
    assert high[-1] < low[0] and high.size == pytest.approx(low.size, rel=0.02)
    assert error_rows[0] > rows[0] + 50, "the front lies outside the mask"
