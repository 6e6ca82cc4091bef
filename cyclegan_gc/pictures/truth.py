"""The pictures that show synthetic CTs beside the true CT, with their errors."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.pictures.planes import middle_planes
from cyclegan_gc.pictures.sheets import Row, png_of, sheet
from cyclegan_gc.pictures.tiles import BONE, Scale, Tile, mr_scale, mr_title

ERROR = Scale(-500, 500, colours="bwr")
ERROR_LEGEND = "errors: blue where a CT is too low, red where it is too high, black outside the body"


def case_panel(
    mr: NDArray | None,
    sct: NDArray,
    ct: NDArray,
    mask: NDArray[np.bool_],
    affine: NDArray,
    compared: Mapping[str, NDArray] | None = None,
) -> bytes:
    """PNG of one case; ``compared`` holds other methods' synthetic CTs by name. See :func:`rows_with_truth`."""
    others = {name.removesuffix(" CT"): image for name, image in (compared or {}).items()}
    synthetic = {"synthetic": sct, **others}
    return png_of(sheet(rows_with_truth("", mr, synthetic, ct, mask, affine), [ERROR_LEGEND]))


def rows_with_truth(
    name: str,
    mr: NDArray | None,
    synthetic: Mapping[str, NDArray],
    ct: NDArray,
    mask: NDArray[np.bool_],
    affine: NDArray,
) -> list[Row]:
    """The middle axial and coronal plane: MR, synthetic CTs, true CT, and errors inside the mask.

    Args:
        name: before the planes' names.
        mr: ``(X, Y, Z)`` in any unit, or None.
        synthetic: CTs by the names of their methods, same shape, in HU.
        ct: same shape, in HU.
        mask: same shape; the planes go through its middle.
        affine: ``(4, 4)`` voxel index to RAS mm.
    """
    grey, rows = None if mr is None else mr_scale(mr, mask), []
    for plane in middle_planes(mask, affine, ("axial", "coronal")):
        source = [] if mr is None or grey is None else [Tile(mr_title(), plane.cut(mr), grey, plane)]
        true, body = plane.cut(ct).astype(np.float32), plane.cut(mask)
        hu = {method: plane.cut(image) for method, image in synthetic.items()}
        images = {**{f"{method} CT": image for method, image in hu.items()}, "true CT": true}
        errors = {f"{method} - true": np.where(body, image - true, np.nan) for method, image in hu.items()}
        cts = [Tile(f"{title} {BONE}", image, BONE, plane) for title, image in images.items()]
        tiles = [*source, *cts, *(Tile(title, error, ERROR, plane) for title, error in errors.items())]
        rows.append(Row(f"{name}{plane.title}", tiles))
    return rows
