"""Arms of a study held against its first one: the same subjects, several seeds, one or more sizes of the training set.

Subjects are what the intervals are over: each counts once, with the mean of its seeds. How far the seeds agree stands
beside it, as the gain of each and an interval over them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cyclegan_gc.evaluate.measures import METRICS, Metric
from cyclegan_gc.evaluate.statistics import Statistics, compare, describe

FIGURES = {name: METRICS[name] for name in ("mae", "mae_bone", "bone_dice", "bone_hd95", "ssim", "gc")}
"""What of an evaluation an ablation tells."""


@dataclass(frozen=True)
class Result:
    """One held-out subject of one run."""

    arm: str
    volumes: int
    """Training volumes of the modality that has more; of both, where they are equal."""
    seed: int
    subject: str
    values: Mapping[str, float | None]
    """Metric -> value; None where the subject cannot give it."""


@dataclass(frozen=True)
class Comparison:
    """One arm against the reference, over the seeds and subjects that both have."""

    over_subjects: Statistics
    """:func:`compare` of the subjects' means of the seeds, and :func:`relative_gain`: these seeds, other subjects."""
    seeds: dict[int, float]
    """Seed -> mean gain over the subjects; positive where the arm is better."""
    over_seeds: Statistics
    """:func:`describe` of the seeds' gains: other seeds, these subjects."""


@dataclass(frozen=True)
class Line:
    """One arm at one size of the training set, in one metric."""

    arm: str
    volumes: int
    metric: str
    described: Statistics
    """:func:`describe` over the subjects' means of the seeds."""
    seeds: dict[int, float]
    """Seed -> mean over the subjects, of the seeds that have a value."""
    against: Comparison | None
    """None for the reference itself, for a metric that has no better side and where the reference is not there."""


def tabulate(results: Sequence[Result], reference: str, metrics: Mapping[str, Metric] = FIGURES) -> list[Line]:
    """One line per size, arm and metric, in the order in which the arms come.

    Two arms are compared over the seeds that both have; an arm without the reference at its size is described alone.

    Args:
        results: of every run and subject.
        reference: the arm that the others are held against.
        metrics: metric -> its label and better side.
    """
    arms = list(dict.fromkeys(result.arm for result in results))
    lines = []
    for volumes in sorted({result.volumes for result in results}):
        for arm in arms:
            for name, metric in metrics.items():
                own, others = (_by_seed(results, each, volumes, name) for each in (arm, reference))
                if own:
                    against = None if arm == reference else _compared(own, others, metric)
                    lines.append(Line(arm, volumes, name, *_alone(own), against))
    return lines


def relative_gain(values: ArrayLike, others: ArrayLike, *, higher_is_better: bool) -> Statistics:
    """By how much of the others' mean a method is better, over the same cases in the same order.

    Returns:
        ``percent``, the mean gain over the others' mean in per cent, with its 95 % interval ``percent_ci95_low`` to
        ``percent_ci95_high`` (Fieller 1954): it leaves out 0 where Student's interval of the gain does. None where the
        others' mean is 0, there is one case only or the others' mean itself cannot be told from 0.
    """
    a, b = (np.asarray(each, dtype=np.float64) for each in (values, others))
    sign = 1.0 if higher_is_better else -1.0
    ratio = float(a.mean() / b.mean()) if b.mean() else None
    percent = None if ratio is None else 100 * sign * (ratio - 1)
    ends = None if ratio is None else _fieller(a, b)
    low, high = (None, None) if ends is None else sorted(100 * sign * (end - 1) for end in ends)
    return {"percent": percent, "percent_ci95_low": low, "percent_ci95_high": high}


def _fieller(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """The ratios r of the means for which the mean of ``a - r b`` cannot be told from 0 (paired, 95 %)."""
    n = len(a)
    if n < 2:
        return None
    covariance = np.cov(a, b) * float(stats.t.ppf(0.975, n - 1)) ** 2 / n
    # (mean a - r mean b)^2 = t^2 var(a - r b) / n, a square equation in r.
    square = b.mean() ** 2 - covariance[1, 1]
    middle = a.mean() * b.mean() - covariance[0, 1]
    root = middle**2 - square * (a.mean() ** 2 - covariance[0, 0])
    if square <= 0:
        return None
    spread = math.sqrt(max(0.0, root))
    return float((middle - spread) / square), float((middle + spread) / square)


def _by_seed(results: Iterable[Result], arm: str, volumes: int, metric: str) -> dict[int, dict[str, float]]:
    """Seed -> subject -> finite value; a seed without any stays, for to lack a value is no gain."""
    found: dict[int, dict[str, float]] = {}
    for result in results:
        if (result.arm, result.volumes) == (arm, volumes):
            of_seed = found.setdefault(result.seed, {})
            value = result.values.get(metric)
            if value is not None and math.isfinite(value):
                of_seed[result.subject] = value
    return found


def _alone(own: dict[int, dict[str, float]]) -> tuple[Statistics, dict[int, float]]:
    means = _subject_means(own, own)
    return describe(list(means.values())), {
        seed: float(np.mean(list(values.values()))) for seed, values in own.items() if values
    }


def _subject_means(by_seed: Mapping[int, Mapping[str, float]], seeds: Iterable[int]) -> dict[str, float]:
    """Subject -> mean over the seeds, of the subjects that have a value at each: a subject's seeds must not differ."""
    each = [by_seed[seed] for seed in seeds]
    shared = [subject for subject in each[0] if all(subject in values for values in each)] if each else []
    return {subject: float(np.mean([values[subject] for values in each])) for subject in sorted(shared)}


def _compared(
    own: dict[int, dict[str, float]], others: dict[int, dict[str, float]], metric: Metric
) -> Comparison | None:
    seeds = [seed for seed in own if seed in others]
    mine, theirs = _subject_means(own, seeds), _subject_means(others, seeds)
    paired = [subject for subject in mine if subject in theirs]
    pairs = np.array([(mine[subject], theirs[subject]) for subject in paired]).reshape(-1, 2)
    if metric.better not in ("lower", "higher") or not len(pairs):
        return None
    higher = metric.better == "higher"
    compared = compare(pairs[:, 0], pairs[:, 1], higher_is_better=higher)
    compared |= relative_gain(pairs[:, 0], pairs[:, 1], higher_is_better=higher)
    gains = {seed: _mean_gain(own[seed], others[seed], paired, higher) for seed in seeds}
    return Comparison(compared, gains, describe(list(gains.values())))


def _mean_gain(own: dict[str, float], others: dict[str, float], subjects: list[str], higher_is_better: bool) -> float:
    gains = [own[subject] - others[subject] for subject in subjects]
    return float(np.mean(gains)) * (1 if higher_is_better else -1)
