"""Agreement of two CTs after Bland and Altman (1986): their difference against their mean, voxel by voxel."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.evaluate.measures import Row

Counts = NDArray[np.int64]

MEAN_EDGES_HU = np.arange(-1024, 3073, 32)
DIFFERENCE_EDGES_HU = np.arange(-2000, 2001, 25)
WITHIN = 1.96
"""Standard deviations within which 95 % of normal differences lie."""


class Agreement(NamedTuple):
    """Of all voxels of one or more cases, in HU."""

    bias: float
    low: float
    """Lower limit of agreement, ``bias - 1.96 SD`` of the differences."""
    high: float
    voxels: int


def count_agreement(sct: NDArray, ct: NDArray, mask: NDArray[np.bool_]) -> Counts:
    """Voxels of the mask by their mean and their difference ``sct - ct``, ``(len(means) - 1, len(differences) - 1)``.

    Counts of several cases add up. Voxels beyond the edges count in the outermost bins.
    """
    a, b = sct[mask].astype(np.float64), ct[mask].astype(np.float64)
    rows, columns = _bins((a + b) / 2, MEAN_EDGES_HU), _bins(a - b, DIFFERENCE_EDGES_HU)
    width = len(DIFFERENCE_EDGES_HU) - 1
    counts = np.bincount(rows * width + columns, minlength=width * (len(MEAN_EDGES_HU) - 1))
    return counts.reshape(-1, width)


def pooled(rows: list[Row]) -> Agreement | None:
    """Bias and limits of agreement over the voxels of all cases of one method; None without a case."""
    if not rows:
        return None
    voxels, bias, sd = (np.array([float(row[name] or 0) for row in rows]) for name in ("voxels", "me", "error_sd"))
    mean = float(np.average(bias, weights=voxels))
    spread = math.sqrt(np.average(sd**2 + (bias - mean) ** 2, weights=voxels))
    return Agreement(mean, mean - WITHIN * spread, mean + WITHIN * spread, int(voxels.sum()))


def _bins(values: NDArray[np.float64], edges: NDArray) -> NDArray[np.int64]:
    places = np.floor((values - edges[0]) / (edges[1] - edges[0])).astype(np.int64)
    return np.clip(places, 0, len(edges) - 2)
