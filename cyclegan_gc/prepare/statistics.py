"""Statistics of a prepared case: training cases are compared with the case to be converted."""

from typing import Any

import numpy as np

from cyclegan_gc.prepare.grid import network_grid
from cyclegan_gc.prepare.preprocess import Prepared, turn_back
from cyclegan_gc.voxels import SAMPLE, values_inside


def case_statistics(case: Prepared, array: np.ndarray) -> dict[str, Any]:
    """Statistics that a checkpoint keeps of each training case, and that conversion computes of its case.

    Args:
        case: the prepared volume.
        array: the volume's own values, (X, Y, Z) on the source's axes.

    Returns:
        ``spacing_mm``, ``shape`` and the body's extent ``body_mm`` along H, W and D, and the ``quantiles`` 1, 25, 50,
        75 and 99 % of the foreground (of a sample where it is large) in the volume's own unit.
    """
    foreground = values_inside(array, turn_back(case.mask, case), at_most=SAMPLE)
    box = network_grid(case, "axial", None).box
    return {
        "spacing_mm": case.spacing_mm,
        "shape": tuple(case.mask.shape[1:]),
        "body_mm": tuple((side.stop - side.start) * mm for side, mm in zip(box, case.spacing_mm, strict=True)),
        "quantiles": np.quantile(foreground, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist(),
    }
