"""Compares the arms of a study with its first one: the same subjects, several seeds, training sets of several sizes.

The intervals are over subjects: each subject counts once, with the mean of its seeds. The gain of each seed and an
interval over the seeds stand beside them.
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
"""Metrics of an evaluation that the tables of a study show."""


@dataclass(frozen=True)
class Result:
    """One held-out subject of one run."""

    arm: str
    volumes: int
    """Number of training volumes of each modality; of the larger set where they differ."""
    seed: int
    subject: str
    values: Mapping[str, float | None]
    """Metric -> value; None where the subject has none."""


@dataclass(frozen=True)
class Comparison:
    """One arm compared with the reference, over the seeds and subjects that both have."""

    over_subjects: Statistics
    """:func:`compare` and :func:`relative_gain` over the subjects, each with the mean of its seeds."""
    seeds: dict[int, float]
    """Seed -> mean gain over the subjects; positive where the arm is better."""
    over_seeds: Statistics
    """:func:`describe` of the seeds' gains, for the same subjects."""


@dataclass(frozen=True)
class Line:
    """One arm at one size of the training set, in one metric."""

    arm: str
    volumes: int
    metric: str
    described: Statistics
    """:func:`describe` over the subjects, each with the mean of its seeds."""
    seeds: dict[int, float]
    """Seed -> mean over the subjects, for seeds that have a value."""
    against: Comparison | None
    """None for the reference itself, for a metric without a better direction and where the reference is missing."""


def tabulate(results: Sequence[Result], reference: str, metrics: Mapping[str, Metric] = FIGURES) -> list[Line]:
    """One line per size, arm and metric, in the order of the arms.

    Two arms are compared over the seeds that both have; an arm without the reference at its size is described alone.

    Args:
        results: the results of every run and subject.
        reference: the arm that the others are compared with.
        metrics: metric -> its label and better direction.
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
    """A method's gain over others in per cent of their mean, over the same cases in the same order.

    Returns:
        ``percent``, the mean gain divided by the others' mean, with its 95 % interval ``percent_ci95_low`` to
        ``percent_ci95_high`` (Fieller 1954). The interval excludes 0 where Student's interval of the gain does. Values
        are None where the others' mean is 0 or does not differ from 0 significantly, or there is one case only.
    """
    a, b = (np.asarray(each, dtype=np.float64) for each in (values, others))
    sign = 1.0 if higher_is_better else -1.0
    ratio = float(a.mean() / b.mean()) if b.mean() else None
    percent = None if ratio is None else 100 * sign * (ratio - 1)
    ends = None if ratio is None else _fieller(a, b)
    low, high = (None, None) if ends is None else sorted(100 * sign * (end - 1) for end in ends)
    return {"percent": percent, "percent_ci95_low": low, "percent_ci95_high": high}


def _fieller(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """Limits of the ratios r of the means for which the mean of ``a - r b`` may be 0 (paired, 95 %)."""
    n = len(a)
    if n < 2:
        return None
    covariance = np.cov(a, b) * float(stats.t.ppf(0.975, n - 1)) ** 2 / n
    # (mean a - r mean b)^2 = t^2 var(a - r b) / n, a quadratic equation in r.
    square = b.mean() ** 2 - covariance[1, 1]
    middle = a.mean() * b.mean() - covariance[0, 1]
    root = middle**2 - square * (a.mean() ** 2 - covariance[0, 0])
    if square <= 0:
        return None
    spread = math.sqrt(max(0.0, root))
    return float((middle - spread) / square), float((middle + spread) / square)


def _by_seed(results: Iterable[Result], arm: str, volumes: int, metric: str) -> dict[int, dict[str, float]]:
    """Seed -> subject -> finite value. A seed without values stays, because a missing value is no gain."""
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
    """Subject -> mean over the seeds, for subjects that have a value with every seed."""
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
