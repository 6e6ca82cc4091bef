"""The pages of an evaluation to scroll through: MR, synthetic and true CT, and their difference, one page a case."""

from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.evaluate.loading import Case
from cyclegan_gc.pictures.pages import element
from cyclegan_gc.pictures.tiles import mr_scale
from cyclegan_gc.pictures.viewer import Layer, viewer_page

FOLDER = "views"
NAME = "case_{:03}.html"


def write_view(output: Path, number: int, case: Case) -> str:
    """Write the page of a case into the folder of an evaluation; returns its name relative to it.

    Raises:
        OSError: if the disk is full or read-only.
    """
    mr = [] if case.mr is None else [Layer("MR", case.mr, mr_scale(case.mr, case.mask))]
    layers = [*mr, Layer("synthetic CT", case.sct), Layer("true CT", case.ct)]
    disclaimer = element("p", DISCLAIMER, "disclaimer")
    text = viewer_page(f"Evaluation of {case.id}", [disclaimer], layers, case.mask, case.affine, difference=True)
    # A number, because the name of a case may hold slashes and any other letters.
    path = output / FOLDER / NAME.format(number)
    path.parent.mkdir(exist_ok=True)
    write_text(path, text)
    return path.relative_to(output).as_posix()


def remove_views(output: Path) -> None:
    """Remove the pages of an earlier evaluation."""
    for path in (output / FOLDER).glob(NAME.replace("{:03}", "*")):
        path.unlink()
