"""Sheets: rows of tiles with titles, scales, side letters and a legend around them; and PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.utils import make_grid

from cyclegan_gc.errors import plain
from cyclegan_gc.pictures.tiles import Tile

Pixels = NDArray[np.uint8]
"""(H, W, 3)"""

TILE = 240
"""Height and width of a tile in pixels."""
LINE = 20
"""Height of a line of text in pixels."""
SIDE = 20
"""Width of the margin for a side letter."""
RAMP = (9, 44)
"""Height and width of a colour bar."""
TEXT_COLOUR = (255, 200, 90)
FONT = ImageFont.load_default(13)


@dataclass(frozen=True)
class Row:
    """Tiles beside each other; the first row's titles stand above their columns."""

    name: str
    tiles: Sequence[Tile]


def sheet(rows: Sequence[Row], legend: Sequence[str] = (), size: int = TILE) -> Pixels:
    """Rows of tiles, each row under its name, with a legend below; nothing is written over a tile."""
    cells = [functional.pad(tile.draw(size), [SIDE, LINE, SIDE, 0]) for row in rows for tile in row.tiles]
    height, width = cells[0].shape[1:]
    titles = rows[0].tiles
    first = LINE if any(tile.title for tile in titles) else 0
    grid = as_pixels(make_grid(cells, nrow=len(titles), padding=0))
    picture = Image.fromarray(np.pad(grid, ((first, 0), (0, 0), (0, 0))))
    for column, tile in enumerate(titles):
        _write_title(picture, column * width + SIDE, tile, size)
    for number, row in enumerate(rows):
        top = first + number * height
        _write(picture, SIDE, top, row.name, len(titles) * width - SIDE)
        for column, tile in enumerate(row.tiles):
            left, middle = column * width, top + (LINE + size) // 2
            _write(picture, left + SIDE - 12, middle, tile.view.sides[0], SIDE)
            _write(picture, left + SIDE + size + 4, middle, tile.view.sides[1], SIDE)
    return with_lines(np.asarray(picture), legend)


def with_lines(pixels: Pixels, lines: Sequence[str]) -> Pixels:
    """A picture with lines of text below it."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(np.pad(pixels, ((0, LINE * len(lines)), (0, 0), (0, 0))))
    for number, line in enumerate(lines):
        _write(picture, SIDE, height + number * LINE, line, width - SIDE)
    return np.array(picture)


def as_pixels(image: Tensor) -> Pixels:
    """(3, H, W) as (H, W, 3)."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def drawn(figure: Figure) -> Pixels:
    """A figure of matplotlib as pixels; needs no screen and may run in any thread."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def png_of(pixels: Pixels) -> bytes:
    """A picture as PNG."""
    buffer = BytesIO()
    # Level 1 takes a third of the time of level 6 for a fifth more bytes.
    Image.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def read_png(source: Path | bytes) -> Pixels:
    """A PNG file, or its bytes, as pixels."""
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as picture:
        return np.asarray(picture.convert("RGB"))


def _write_title(picture: Image.Image, left: int, tile: Tile, room: int) -> None:
    """The title of a column; after it the colour bar between its numbers, where the tile is in colours."""
    scale, (height, width) = tile.scale, RAMP
    if scale.colours == "gray":
        _write(picture, left, 0, tile.title, room)
        return
    high = f"{scale.high:g} {scale.unit}"
    left += _write(picture, left, 0, f"{tile.title}  {scale.low:g}", room - width - int(FONT.getlength(high)) - 8) + 4
    ramp = scale.paint(torch.linspace(scale.low, scale.high, width).expand(height, width))
    picture.paste(Image.fromarray(as_pixels(ramp)), (left, (LINE - height) // 2 + 1))
    _write(picture, left + width + 4, 0, high, room)


def _write(picture: Image.Image, left: int, top: int, text: str, room: int) -> int:
    """One line of text, its middle left out where it is too long; returns its width."""
    text = plain(text)
    kept, short = len(text), text
    while FONT.getlength(short) > room and kept > 4:
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
    ImageDraw.Draw(picture).text((left, top + 2), short, fill=TEXT_COLOUR, font=FONT)
    return int(FONT.getlength(short))
