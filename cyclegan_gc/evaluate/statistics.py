"""One number a case: what it is on average, and whether one method is better than another over the same cases."""

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Statistics = dict[str, float | int | None]


def describe(values: ArrayLike) -> Statistics:
    """``mean``, ``sd`` and ``n`` over cases, with Student's 95 % interval of the mean.

    The interval is ``ci95_low`` to ``ci95_high``; it and the SD are None where there is one case only, all but ``n``
    where there is none.
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
    """A method against another over the same cases, in the same order.

    Returns:
        ``pairs``, in how many of them the first is ``better``, the mean ``gain`` (positive where the first is better)
        with its 95 % interval ``gain_ci95_low`` to ``gain_ci95_high`` (Student), ``p`` of Wilcoxon's signed-rank test,
        two-sided, and the matched-pairs rank-biserial correlation ``effect`` in [-1, 1], positive where the first is
        better. What the cases cannot give is None.
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
