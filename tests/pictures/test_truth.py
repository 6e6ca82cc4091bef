import numpy as np
import pytest

from cyclegan_gc.pictures.sheets import LINE, SIDE, TILE, read_png
from cyclegan_gc.pictures.truth import case_panel

WIDTH, HEIGHT = TILE + 2 * SIDE, TILE + LINE
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def columns_of(picture, colour):
    """The columns of the picture with more of a colour than text and colour bars have."""
    return np.flatnonzero((picture[2 * LINE :] == colour).all(axis=2).sum(axis=0) > 50)


@pytest.mark.parametrize("with_mr", [True, False])
@pytest.mark.parametrize("with_compared", [True, False])
def test_a_panel_shows_the_images_beside_each_other_and_errors_inside_the_mask_by_their_sign(with_mr, with_compared):
    """Everything is bright at the patient's right and dark at the left, the synthetic CT more so."""
    ct, mask = np.full((24, 24, 24), -1000.0), np.ones((24, 24, 24), bool)
    ct[12:], mask[:, 16:] = 1500, False
    sct = ct + 700 * np.sign(ct)
    mr, compared = ct if with_mr else None, {"compared CT": ct} if with_compared else None
    panel = read_png(case_panel(mr, sct, ct, mask, np.diag([2.0, 2, 2, 1]), compared))
    images, errors = 2 + with_mr + with_compared, 1 + with_compared
    assert panel.shape == (LINE + 2 * HEIGHT + LINE, (images + errors) * WIDTH, 3)
    for image in range(images):
        axial = panel[2 * LINE : 2 * LINE + TILE, image * WIDTH + SIDE :][:, :TILE]
        assert (axial[:, : TILE // 3] == WHITE).all() and not axial[:, -TILE // 3 :].any(), "the wrong way round"
    error = panel[:, images * WIDTH : (images + 1) * WIDTH]
    high, low = columns_of(error, RED), columns_of(error, BLUE)
    assert high[0] == SIDE and high[-1] < low[0] and low[-1] == SIDE + TILE - 1
    front = error[2 * LINE : 2 * LINE + TILE // 3 - 10, SIDE : SIDE + TILE]
    assert not front.any(), "errors are shown outside the mask"
