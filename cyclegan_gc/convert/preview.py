"""The pictures of one conversion: a PNG of three planes, and a page to scroll through all slices."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.metrics.consistency import gradient_correlation_map
from cyclegan_gc.pictures.pages import bullets, element
from cyclegan_gc.pictures.planes import middle_planes
from cyclegan_gc.pictures.sheets import Row, png_of, sheet
from cyclegan_gc.pictures.tiles import BONE, CONTOUR_LEGEND, Scale, Tile, mr_scale, mr_title, skin_and_bone
from cyclegan_gc.pictures.viewer import Layer, viewer_page

AGREEMENT = Scale(-1, 1, "", "coolwarm_r")
UNCERTAINTY = Scale(0, 300, colours="magma")
LEGEND = (CONTOUR_LEGEND, "edges agree: gradient correlation of MR and synthetic CT around each pixel, in the body")


def preview_png(
    mr: NDArray, hu: NDArray[np.int16], mask: NDArray[np.bool_], affine: NDArray, uncertainty: NDArray | None = None
) -> bytes:
    """PNG of an axial, a coronal and a sagittal slice through the middle of the body.

    Columns are the MR, the synthetic CT, the MR with the CT's skin and bone drawn on it, the gradient correlation of
    the two around each pixel and, where given, the uncertainty.

    Args:
        mr: ``(X, Y, Z)`` in any unit.
        hu: same shape.
        mask: same shape, the body.
        affine: ``(4, 4)`` voxel index to RAS mm; only its axes and spacing are used.
        uncertainty: same shape, in HU.
    """
    grey, rows = mr_scale(mr, mask), []
    for plane in middle_planes(mask, affine):
        source, ct = plane.cut(mr), plane.cut(hu)
        tiles = [
            Tile(mr_title(), source, grey, plane),
            Tile(f"synthetic CT {BONE}", ct, BONE, plane),
            Tile("MR with contours", source, grey, plane, skin_and_bone(ct)),
            Tile("edges agree", _agreement(ct, source, plane.cut(mask), grey), AGREEMENT, plane),
        ]
        if uncertainty is not None:
            tiles.append(Tile("uncertainty", plane.cut(uncertainty), UNCERTAINTY, plane))
        rows.append(Row(plane.title, tiles))
    return png_of(sheet(rows, LEGEND))


def preview_page(
    case: str,
    verdict: Sequence[str],
    mr: NDArray,
    hu: NDArray[np.int16],
    mask: NDArray[np.bool_],
    affine: NDArray,
    uncertainty: NDArray | None = None,
) -> str:
    """HTML page with all slices of the MR, the synthetic CT and, where given, the uncertainty.

    The volumes are those of :func:`preview_png`; ``verdict`` holds the verdict and its reasons, or nothing.
    """
    layers = [Layer("MR", mr, mr_scale(mr, mask)), Layer("synthetic CT", hu)]
    if uncertainty is not None:
        layers.append(Layer("uncertainty", uncertainty, Scale(UNCERTAINTY.low, UNCERTAINTY.high, colours="hot")))
    state = [element("p", verdict[0], verdict[0]), bullets(verdict[1:])] if verdict else []
    return viewer_page(
        f"Synthetic CT of {case}", [element("p", DISCLAIMER, "disclaimer"), *state], layers, mask, affine
    )


def _agreement(ct: NDArray, source: NDArray, body: NDArray[np.bool_], grey: Scale) -> NDArray:
    """Gradient correlation in the body; NaN outside it, and everywhere in a plane that is one pixel wide."""
    if min(ct.shape) < 2:
        return np.full(ct.shape, np.nan)
    return np.where(body, gradient_correlation_map(ct, source, (grey.low, grey.high)), np.nan)
