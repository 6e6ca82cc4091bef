"""The contact sheet: three planes of every volume, framed in the colour of the audit's verdict."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional
from torchvision.utils import make_grid

from cyclegan_gc.audit.checks import LEVELS, Level
from cyclegan_gc.audit.findings import Audited
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.pictures.planes import View, middle_planes
from cyclegan_gc.pictures.sheets import Pixels, Row, as_pixels, png_of, sheet, with_lines
from cyclegan_gc.pictures.tiles import Contour, Scale, Tile, mr_scale, mr_title
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import Prepared, turn_back

COLOURS: dict[Level, tuple[int, int, int]] = {"pass": (44, 160, 44), "warn": (255, 127, 14), "fail": (214, 39, 40)}
CT_HU = Scale(-1000, 1000)
COLUMNS = 4
MOST_CASES = 400
FRAME = 2
SIZE = 128
"""Height and width of a tile."""

LEGEND = (
    "contour: the body (cyan); planes through its middle; R right and L left of the patient, A front and P back",
    "frames: green passes, orange has a warning, red fails",
)


def views_of(volume: Volume, case: Prepared | None, modality: Modality) -> Pixels:
    """Axial, coronal and sagittal plane through the middle of the body, or of the volume where no body is known.

    A CT that is not in HU is shown between its percentiles, as an MR is.
    """
    raw = volume.array
    body = np.zeros(raw.shape, bool) if case is None else turn_back(case.mask, case)
    in_hu = modality == "ct" and raw.min() < CT_HU.low / 5
    scale, words = (CT_HU, f"CT {CT_HU}") if in_hu else (mr_scale(raw, body), mr_title())
    tiles = []
    for plane in middle_planes(body, volume.affine):
        contours = [Contour(plane.cut(body), "cyan", 0.5)] if body.any() else []
        tiles.append(Tile("", plane.cut(raw), scale, plane, contours))
    return sheet([Row(words, tiles)], size=SIZE)


def contact_sheet(cases: Sequence[tuple[Audited, Level, Pixels | None]]) -> bytes:
    """PNG of all volumes (at most the 400 worst), MR above CT, each with its number, verdict and name.

    Each case has its planes from :func:`views_of`, or None where it could not be read.
    """
    worst = sorted(enumerate(cases, start=1), key=lambda each: LEVELS.index(each[1][1]))[:MOST_CASES]
    blocks: list[Tensor] = []
    for kind in ("mr", "ct"):
        group = [_block(n, *case) for n, case in sorted(worst, key=lambda each: each[0]) if case[0].modality == kind]
        blocks += group + [torch.zeros_like(block) for block in group[:1]] * (-len(group) % COLUMNS)
    return png_of(with_lines(as_pixels(make_grid(blocks, nrow=COLUMNS, padding=1)), LEGEND))


def _block(number: int, case: Audited, level: Level, views: Pixels | None) -> Tensor:
    """The framed planes of one volume over its name."""
    if views is None:
        black = Tile("", np.full((1, 1), np.nan), CT_HU, View((1, 1), "  "))
        views = sheet([Row("not read", [black] * 3)], size=SIZE)
    named = with_lines(views, [f"{number} {level}: {case.modality}/{case.name}"])
    return functional.pad(torch.from_numpy(named).permute(2, 0, 1), [FRAME], fill=list(COLOURS[level]))
