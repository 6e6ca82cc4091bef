import numpy as np

from cyclegan_gc.pictures.sheets import (
    BONE_HU,
    EDGE_COLOUR,
    SOFT_TISSUE_HU,
    colour_bar,
    coloured,
    enlarged,
    png_of,
    read_png,
    sheet,
    windowed,
    with_edges,
)


def test_a_window_runs_from_black_to_white_and_clips():
    assert windowed(np.array([-2000.0, -500.0, 400.0, 1300.0, 3000.0]), BONE_HU).tolist() == [0, 0, 128, 255, 255]
    assert windowed(np.array([-161.0, 40.0, 241.0]), SOFT_TISSUE_HU).tolist() == [0, 128, 255]


def test_edges_lie_where_the_picture_steps_and_nowhere_else():
    picture = np.zeros((32, 32), np.uint8)
    picture[:, 16:] = 200
    drawn = with_edges(np.full((32, 32, 3), 90, np.uint8), picture)
    marked = (drawn == EDGE_COLOUR).all(axis=2)
    assert marked[:, 15:17].any(axis=1).all() and not marked[:, :14].any() and not marked[:, 18:].any()
    assert (with_edges(picture, np.zeros_like(picture))[..., 0] == picture).all()


def test_the_colour_bar_has_the_colours_of_the_picture_largest_on_top():
    bar, colours = colour_bar(224, (0.0, 500.0), "HU"), coloured(np.array([[0.0, 500.0]]), (0.0, 500.0))
    assert (bar[12, 6] == colours[0, 1]).all() and (bar[211, 6] == colours[0, 0]).all()


def test_a_sheet_holds_every_picture_whole_below_its_words():
    pictures = [[np.full((40, width, 3), value, np.uint8) for width, value in ((30, 50), (60, 100))] for _ in range(2)]
    whole = sheet(["MR", "sCT"], pictures, ["case-1", "case-2"], ["RR", "AA"])
    assert whole.dtype == np.uint8 and whole.shape[2] == 3
    for value, width in ((50, 30), (100, 60)):
        assert (whole == value).all(axis=2).sum() > 2 * 40 * width * 0.8  # a letter stands on each
    assert (read_png(png_of(whole)) == whole).all()


def test_a_picture_grows_to_the_size_asked_for():
    assert enlarged(np.zeros((8, 6), np.uint8), (32, 24)).shape == (32, 24, 3)
