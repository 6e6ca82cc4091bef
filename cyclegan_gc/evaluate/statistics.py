"""Statistics of an evaluation: means over cases, paired tests between methods, and agreement over voxels."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cyclegan_gc.evaluate.measures import Row

Statistics = dict[str, float | int | None]
Counts = NDArray[np.int64]

MEAN_EDGES_HU = np.arange(-1024, 3073, 32)
DIFFERENCE_EDGES_HU = np.arange(-2000, 2001, 25)
WITHIN = 1.96
"""Standard deviations around the mean that hold 95 % of normal differences."""


class Agreement(NamedTuple):
    """Limits of agreement after Bland and Altman (1986) over the voxels of one or more cases, in HU."""

    bias: float
    low: float
    """Lower limit of agreement, ``bias - 1.96 SD`` of the differences."""
    high: float
    voxels: int


def describe(values: ArrayLike) -> Statistics:
    """``mean``, ``sd`` and ``n`` over cases, with Student's 95 % interval of the mean.

    The interval is ``ci95_low`` to ``ci95_high``. With one case the interval and the SD are None; with none, everything
    but ``n`` is.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    mean = float(values.mean()) if n else None
    if mean is None or n < 2:
        return {"mean": mean, "sd": None, "n": n, "ci95_low": None, "ci95_high": None}
    sd = float(values.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n)
    return {"mean": mean, "sd": sd, "n": n, "ci95_low": mean - half, "ci95_high": mean + half}


def compare(values: ArrayLike, others: ArrayLike, *, higher_is_better: bool) -> Statistics:
    """Paired comparison of two methods over the same cases, given in the same order.

    Returns:
        ``pairs``, the number of them in which the first method is ``better``, the mean ``gain`` (positive where the
        first is better) with its 95 % interval ``gain_ci95_low`` to ``gain_ci95_high`` (Student), ``p`` of Wilcoxon's
        signed-rank test, two-sided, and the matched-pairs rank-biserial correlation ``effect`` in [-1, 1], positive
        where the first is better. A value that needs more cases is None.
    """
    gain = np.subtract(values, others) if higher_is_better else np.subtract(others, values)
    compared: Statistics = {"pairs": len(gain), "better": int((gain > 0).sum()), "p": None, "effect": None}
    described = describe(gain)
    compared |= {"gain": described["mean"]}
    compared |= {f"gain_{name}": described[name] for name in ("ci95_low", "ci95_high")}
    if len(gain) < 2 or not gain.any():
        return compared
    moved = gain[gain != 0]
    ranks = stats.rankdata(np.abs(moved))
    p = float(stats.wilcoxon(moved).pvalue)  # pyright: ignore[reportAttributeAccessIssue]
    return compared | {"p": p, "effect": float((np.sign(moved) * ranks).sum() / ranks.sum())}


def count_agreement(sct: NDArray, ct: NDArray, mask: NDArray[np.bool_]) -> Counts:
    """Voxels of the mask by their mean and their difference ``sct - ct``, ``(len(means) - 1, len(differences) - 1)``.

    Counts of several cases can be added. Voxels beyond the edges count in the outermost bins.
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
