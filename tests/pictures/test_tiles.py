import numpy as np
import torch

from cyclegan_gc.metrics.voxelwise import BONE_ABOVE_HU
from cyclegan_gc.pictures.planes import View
from cyclegan_gc.pictures.tiles import (
    BONE,
    CONTOUR_LEGEND,
    CONTOURS_HU,
    SOFT_TISSUE,
    Scale,
    Tile,
    mr_scale,
    skin_and_bone,
)

SQUARE = View((1.0, 1.0), "RL")
CYAN, ORANGE = (0, 255, 255), (255, 165, 0)


def where(picture, colour):
    return (picture == torch.tensor(colour)[:, None, None]).all(0).numpy()


def test_a_scale_runs_from_black_to_white_and_clips_and_nan_is_black():
    values = torch.tensor([[-2000.0, -500.0, 400.0, 1300.0, 3000.0, torch.nan]])
    painted = BONE.paint(values)
    assert painted.shape == (3, 1, 6) and painted.dtype == torch.uint8
    assert painted[0].tolist() == [[0, 0, 128, 255, 255, 0]]
    assert SOFT_TISSUE.paint(torch.tensor([[-161.0, 40.0, 241.0]]))[1].tolist() == [[0, 128, 255]]
    assert f"CT {BONE}" == "CT [-500, 1300] HU"


def test_a_coloured_scale_has_its_ends_at_its_limits_and_nan_is_black():
    painted = Scale(-500, 500, colours="bwr").paint(torch.tensor([[-500.0, 500.0, torch.nan]]))
    assert painted[:, 0].T.tolist() == [[0, 0, 255], [255, 0, 0], [0, 0, 0]]


def test_a_tile_has_square_pixels_and_lies_in_the_middle():
    picture = Tile("", np.full((10, 10), 2000.0), BONE, View((2.0, 1.0), "RL")).draw(100)
    bright = where(picture, (255, 255, 255))
    assert picture.shape == (3, 100, 100)
    assert bright.any(1).all() and np.flatnonzero(bright.any(0)).tolist() == list(range(25, 75))


def test_contours_run_along_skin_and_bone_and_nowhere_else():
    ct = np.full((32, 32), -1000.0)
    ct[4:28, 4:28], ct[12:20, 12:20] = 0, 1000
    picture = Tile("", np.zeros((32, 32)), Scale(0, 1), SQUARE, skin_and_bone(ct)).draw(32)
    expected = np.zeros((32, 32), bool)
    for colour, (start, stop) in ((CYAN, (4, 28)), (ORANGE, (12, 20))):
        expected[:] = False
        expected[start:stop, start:stop] = True
        expected[start + 1 : stop - 1, start + 1 : stop - 1] = False
        assert (where(picture, colour) == expected).all()


def test_the_legend_names_the_contours_and_their_levels():
    assert CONTOUR_LEGEND == "contours of the synthetic CT: skin -400 HU (cyan), bone 250 HU (orange)"
    assert CONTOURS_HU["bone"][0] == BONE_ABOVE_HU


def test_an_mr_is_shown_between_its_percentiles_in_the_body():
    mr = np.concatenate([np.arange(1001.0), np.full(1000, 1e6)]).reshape(-1, 1, 1)
    scale = mr_scale(mr, mr < 1e5)
    assert (scale.low, scale.high) == (5, 995)
    assert mr_scale(mr, np.zeros(mr.shape, bool)).high == 1e6
