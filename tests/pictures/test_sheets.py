import warnings

import numpy as np
import pytest

from cyclegan_gc.pictures.planes import View
from cyclegan_gc.pictures.sheets import LINE, SIDE, TEXT_COLOUR, Row, png_of, read_png, sheet, with_lines
from cyclegan_gc.pictures.tiles import BONE, Scale, Tile

SIZE = 64


def grey_tile(value: float, title: str = "sCT", scale: Scale = BONE, sides: str = "RL") -> Tile:
    return Tile(title, np.full((10, 10), value), scale, View((1, 1), sides))


def inner(picture, row: int, column: int):
    """The pixels of a tile."""
    top, left = LINE + row * (SIZE + LINE) + LINE, column * (SIZE + 2 * SIDE) + SIDE
    return picture[top : top + SIZE, left : left + SIZE]


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("columns", [1, 3])
def test_no_text_lies_over_a_tile(rows, columns):
    scales = (BONE, Scale(-500, 500, colours="bwr"), Scale(-500, 1300, "", "gray"))
    tiles = [grey_tile(2000, "a title far longer than its column", scale) for scale in scales[:columns]]
    picture = sheet([Row("a name far longer than the sheet " * 9, tiles)] * rows, ["a legend " * 40], SIZE)
    assert picture.shape == (LINE + rows * (SIZE + LINE) + LINE, columns * (SIZE + 2 * SIDE), 3)
    for row in range(rows):
        for column in range(columns):
            colour = (255, 0, 0) if column == 1 else (255, 255, 255)
            assert (inner(picture, row, column) == colour).all()


def test_a_letter_stands_at_each_side_of_a_tile():
    pictures = {sides: sheet([Row("", [grey_tile(-1000, sides=sides)])], size=SIZE) for sides in ("RL", "AP", "  ")}
    beside = {sides: picture[2 * LINE :] for sides, picture in pictures.items()}
    for margin in (slice(0, SIDE), slice(-SIDE, None)):
        right, front, nothing = (beside[sides][:, margin] for sides in ("RL", "AP", "  "))
        assert right.any() and front.any() and (right != front).any() and not nothing.any()
    assert (
        beside["RL"][:, :SIDE] == sheet([Row("", [grey_tile(-1000, sides="R ")])], size=SIZE)[2 * LINE :, :SIDE]
    ).all()


def test_a_colour_bar_stands_beside_the_title_with_the_colours_of_the_tile():
    scale = Scale(-500, 500, colours="bwr")
    title = sheet([Row("", [grey_tile(0, "", scale)])], size=240)[:LINE].reshape(-1, 3).tolist()
    assert [0, 0, 255] in title and [255, 0, 0] in title
    assert [0, 0, 255] not in sheet([Row("", [grey_tile(0)])], size=240)[:LINE].reshape(-1, 3).tolist()


def test_rows_without_titles_take_no_line_for_them():
    assert sheet([Row("case", [grey_tile(0, "")])], size=SIZE).shape[0] == SIZE + LINE


def test_long_lines_end_inside_the_picture_and_are_written_below_it():
    picture = np.zeros((30, 120, 3), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = with_lines(picture, ["case " * 50])
    assert named.shape == (30 + LINE, 120, 3) and not named[:30].any() and not named[:, -4:].any()
    assert (named == TEXT_COLOUR).all(2).any()


def test_a_picture_survives_png():
    picture = sheet([Row("case", [grey_tile(300)])], size=SIZE)
    assert picture.dtype == np.uint8 and (read_png(png_of(picture)) == picture).all()
