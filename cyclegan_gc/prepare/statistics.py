"""Figures of a prepared case, kept with a training and compared with a case to be converted."""

from typing import Any

import numpy as np

from cyclegan_gc.prepare.grid import network_grid
from cyclegan_gc.prepare.preprocess import Prepared, turn_back
from cyclegan_gc.voxels import values_inside

SAMPLE = 300_000
"""Voxels, at most, that quantiles are taken of."""


def case_statistics(case: Prepared, array: np.ndarray) -> dict[str, Any]:
    """What is remembered of a training case, and compared with a case to be converted.

    Args:
        case: the prepared volume.
        array: its own values, (X, Y, Z) on the source's axes.

    Returns:
        ``spacing_mm`` and ``shape`` along H, W and D, ``body_mm`` the body's extent along them, and the quantiles 1,
        25, 50, 75 and 99 % of the foreground (a sample where it is large) in the volume's own unit.
    """
    foreground = values_inside(array, turn_back(case.mask, case), at_most=SAMPLE)
    box = network_grid(case, "axial", None).box
    return {
        "spacing_mm": case.spacing_mm,
        "shape": tuple(case.mask.shape[1:]),
        "body_mm": tuple((side.stop - side.start) * mm for side, mm in zip(box, case.spacing_mm, strict=True)),
        "quantiles": np.quantile(foreground, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist(),
    }
