"""What every picture needs: planes that stand upright as radiologists read them, and PNG bytes."""

from io import BytesIO

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


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
