"""What every picture needs: planes that stand upright as radiologists read them, grey windows, labelled sheets, PNG."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, map_coordinates

Pixels = NDArray[np.uint8]

BONE_HU = (-500.0, 1300.0)
SOFT_TISSUE_HU = (-160.0, 240.0)
GAP = 4
LINE = 21
"""Height of a line of words, in pixels."""
EDGE_SMOOTHING = 1.0
EDGE_SHARE = 0.25
"""Of the steepest edges inside a body (their 99th percentile) what still counts as one."""
EDGE_COLOUR, TEXT_COLOUR = (255, 140, 0), (255, 200, 90)


def upright(plane: NDArray) -> NDArray:
    """A plane with axes to the right and to the front (or up) as rows and columns of a picture.

    The first row is the front (or top), the first column the patient's right.
    """
    return plane.T[::-1, ::-1]


def png(figure: Figure) -> bytes:
    """The figure as PNG; needs no screen and may run in any thread."""
    buffer = BytesIO()
    # Level 1 takes a third of the time of level 6 for a fifth more bytes.
    FigureCanvasAgg(figure).print_png(buffer, pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def drawn(figure: Figure) -> Pixels:
    """The figure as pixels (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def windowed(image: NDArray, window: tuple[float, float]) -> Pixels:
    """Values from the lower end of ``window`` (black) to the upper one (white), clipped."""
    low, high = window
    return (np.clip((image - low) / (high - low), 0, 1) * 255).round().astype(np.uint8)


def enlarged(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A grey or coloured picture smoothly brought to (H, W), as colours (H, W, 3)."""
    picture = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def with_edges(background: Pixels, of: Pixels) -> Pixels:
    """The steepest lines of a grey picture drawn in colour on another of the same size (Canny 1986, one threshold)."""
    smooth = gaussian_filter(of.astype(np.float32), EDGE_SMOOTHING)
    down, across = np.gradient(smooth)
    slope = np.hypot(down, across)
    rows, columns = np.mgrid[: slope.shape[0], : slope.shape[1]]
    steps = np.stack([down, across]) / np.maximum(slope, 1e-6)
    # A line is where no neighbour along the slope is steeper.
    sides = [map_coordinates(slope, (rows + way * steps[0], columns + way * steps[1]), order=1) for way in (1, -1)]
    steepest = np.percentile(slope[slope > 1], 99) if (slope > 1).any() else np.inf
    lines = (slope >= np.maximum(*sides)) & (slope > EDGE_SHARE * steepest)
    result = background.copy() if background.ndim == 3 else np.repeat(background[..., None], 3, axis=2)
    result[lines] = EDGE_COLOUR
    return result


def coloured(values: NDArray, window: tuple[float, float], colours: str = "inferno") -> Pixels:
    """Values in colours (H, W, 3), the ends of ``window`` first and last."""
    return colormaps[colours](windowed(values, window), bytes=True)[..., :3]


def colour_bar(height: int, window: tuple[float, float], unit: str, colours: str = "inferno") -> Pixels:
    """A strip of the colours of :func:`coloured` with five numbers beside it, (height, 84, 3)."""
    margin, width = 12, 14
    bar = np.zeros((height, 84, 3), np.uint8)
    ramp = np.linspace(window[1], window[0], height - 2 * margin)[:, None].repeat(width, axis=1)
    bar[margin:-margin, 4 : 4 + width] = coloured(ramp, window, colours)
    texts = []
    for share in np.linspace(0, 1, 5):
        value = window[1] - share * (window[1] - window[0])
        texts.append(((width + 8, margin + share * (height - 2 * margin) - 7), f"{value:.0f} {unit}"))
    return written(bar, texts)


def sheet(
    titles: Sequence[str], rows: Sequence[Sequence[Pixels]], names: Sequence[str], marks: Sequence[str]
) -> Pixels:
    """Rows of pictures under their titles, each row under its name, (H, W, 3).

    Args:
        titles: of the columns.
        rows: pictures (h, w, 3), as many in each row.
        names: of the rows.
        marks: for each row what lies at the left of each of its pictures, a letter a picture.
    """
    widths = [max(picture.shape[1] for picture in column) + GAP for column in zip(*rows, strict=True)]
    heights = [max(picture.shape[0] for picture in row) + LINE for row in rows]
    whole = np.zeros((LINE + sum(heights), sum(widths), 3), np.uint8)
    lefts, tops = np.cumsum([0, *widths[:-1]]), LINE + np.cumsum([0, *heights[:-1]])
    texts = [((left + 4, 3), title) for left, title in zip(lefts, titles, strict=True)]
    for row, top, name, letters in zip(rows, tops, names, marks, strict=True):
        texts.append(((4, top + 3), name))
        for picture, left, mark in zip(row, lefts, letters, strict=True):
            height, width = picture.shape[:2]
            whole[top + LINE : top + LINE + height, left : left + width] = picture
            texts.append(((left + 3, top + LINE + height / 2 - 8), mark))
    return written(whole, texts)


def written(pixels: Pixels, texts: Sequence[tuple[tuple[float, float], str]]) -> Pixels:
    """Words at (x, y) on a coloured picture."""
    picture = Image.fromarray(pixels)
    drawing, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    for place, text in texts:
        drawing.text(place, text, fill=TEXT_COLOUR, font=font, stroke_width=1, stroke_fill=(0, 0, 0))
    return np.asarray(picture)


def png_of(pixels: Pixels) -> bytes:
    """A picture as PNG."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def read_png(source: Path | bytes) -> Pixels:
    """A PNG file, or its bytes, as colours (H, W, 3)."""
    with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as picture:
        return np.asarray(picture.convert("RGB"))
