"""Summarise the metrics of all cases: statistics of each method, and the findings in words."""

import math
from dataclasses import dataclass, field

import numpy as np

from cyclegan_gc.evaluate.measures import METRICS, SCT, Metric, Row, all_metrics, format_value, in_words, place_of
from cyclegan_gc.evaluate.statistics import Agreement, Counts, Statistics, compare, describe, pooled

P_DIGITS = 3


@dataclass(frozen=True)
class Evaluation:
    """Synthetic CTs measured against true ones."""

    rows: list[Row]
    """One per case and method: ``case``, ``method``, ``resampled`` (the volumes that were brought onto the synthetic
    CT's grid, or None), ``voxels`` measured, and every metric of `all_metrics` that is known; the label of a metric
    says its unit."""
    summary: dict[str, dict[str, Statistics]]
    """Metric -> method -> statistics; see `summarise`."""
    failures: list[str] = field(default_factory=list)
    """``case: reason`` of every case that could not be evaluated."""
    notes: list[str] = field(default_factory=list)
    """Facts that a reader needs to interpret the numbers."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """Case -> PNG, worst case first."""
    views: dict[str, str] = field(default_factory=dict)
    """Case -> name of its page of slices, relative to the report."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """Method -> voxels of all cases by mean and difference, from `count_agreement`; without the baselines."""
    models: list[str] = field(default_factory=list)
    """The models that made the synthetic CTs, such as "RUN/last.pt, step 3000"."""

    @property
    def methods(self) -> list[str]:
        """The synthetic CT, the compared methods and the baselines that were evaluated."""
        return sorted(dict.fromkeys(str(row["method"]) for row in self.rows), key=place_of)

    @property
    def agreements(self) -> dict[str, Agreement]:
        """Method -> bias and limits of agreement over the voxels of all cases; without the baselines."""
        by_method = {method: pooled(self.rows_of(method)) for method in self.counts}
        return {method: found for method, found in by_method.items() if found}

    def rows_of(self, method: str) -> list[Row]:
        """The rows of one method, in the order of the cases."""
        return [row for row in self.rows if row["method"] == method]

    @property
    def rows_worst_first(self) -> list[Row]:
        """All rows, by the MAE of the case's synthetic CT, highest first."""
        order = worst_first(self.rows)
        return sorted(self.rows, key=lambda row: order.index(str(row["case"])))


def summarise(rows: list[Row]) -> dict[str, dict[str, Statistics]]:
    """Metric -> method -> statistics over the cases that have a finite value; see :func:`describe`.

    Every other method also has the paired comparison of the synthetic CT with it over the cases that have both; see
    :func:`compare`. Metrics that improve towards 0 are compared by their size.
    """
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    summary: dict[str, dict[str, Statistics]] = {}
    for name, metric in all_metrics(rows).items():
        values = {method: _values(rows, method, name) for method in methods}
        described: dict[str, Statistics] = {method: describe(list(v.values())) for method, v in values.items() if v}
        for method in described:
            if method != SCT and metric.better:
                described[method] |= _compared(values.get(SCT, {}), values[method], metric)
        if described:
            summary[name] = described
    return summary


def worst_first(rows: list[Row]) -> list[str]:
    """The cases by the MAE of their synthetic CT, highest first."""
    errors = {str(row["case"]): row["mae"] for row in rows if row["method"] == SCT}
    return sorted(errors, key=lambda case: -float(errors[case] or 0.0))


def leading_metrics(evaluation: Evaluation) -> list[str]:
    """All measured metrics without those of single labels."""
    return [name for name in evaluation.summary if name in METRICS]


def headline(evaluation: Evaluation) -> str:
    """The result in one sentence: MAE with its interval, compared with the best constant, and Dice of bone."""
    mae, bone = (evaluation.summary.get(name, {}) for name in ("mae", "bone_dice"))
    if SCT not in mae:
        return "No case could be evaluated."
    mean, low, high, n = (mae[SCT][key] for key in ("mean", "ci95_low", "ci95_high", "n"))
    sentence = f"MAE {mean:.0f} HU"
    sentence += (
        f" over {n} case{'s' * (n != 1)}" if low is None else f" (95 % CI {low:.0f} to {high:.0f}) over {n} cases"
    )
    if mean is not None and (constant := mae.get("constant", {}).get("mean")):
        percent = round(100 * (mean / constant - 1))
        place = f"{abs(percent)} % {'above' if percent > 0 else 'below'}" if percent else "equal to"
        sentence += f", {place} the best constant"
    return sentence + (f"; bone Dice {bone[SCT]['mean']:.2f}." if SCT in bone else ".")


def findings(evaluation: Evaluation) -> dict[str, list[str]]:
    """In which metrics the synthetic CT is better or worse than each other method, or neither in the digits shown.

    Returns:
        Title, such as "Worse than the constant" -> one line a metric: both means, the cases in which the synthetic CT
        is better, and p.
    """
    found: dict[str, list[str]] = {}
    for other in (method for method in evaluation.methods if method != SCT):
        sides: dict[str, list[str]] = {"Better than": [], "Worse than": [], "No different from": []}
        for name in leading_metrics(evaluation):
            metric, by_method = METRICS[name], evaluation.summary[name]
            if SCT in by_method and (gain := by_method.get(other, {}).get("gain")) is not None:
                gain = round(gain, metric.decimals)
                side = "Better than" if gain > 0 else "Worse than" if gain < 0 else "No different from"
                sides[side].append(_compared_in_words(metric, by_method[SCT], by_method[other]))
        found |= {f"{side} {in_words(other)}": lines for side, lines in sides.items() if lines}
    return found


def interval(metric: Metric, statistics: Statistics, value: str, bounds: str) -> str:
    """A mean with its 95 % interval in brackets; the mean alone for a single case."""
    low, high = statistics[f"{bounds}low"], statistics[f"{bounds}high"]
    number = format_value(metric, statistics[value])
    return number if low is None else f"{number} ({format_value(metric, low)} to {format_value(metric, high)})"


def mean_of(metric: Metric, statistics: Statistics, cases: float | None) -> str:
    """A mean, with the number of cases where it differs from ``cases``."""
    mean = format_value(metric, statistics["mean"])
    return mean if statistics["n"] == cases else f"{mean} (n {statistics['n']})"


def _compared_in_words(metric: Metric, sct: Statistics, other: Statistics) -> str:
    name, _, unit = metric.label.rstrip("]").partition(" [")
    means = " against ".join(mean_of(metric, each, other["pairs"]) for each in (sct, other))
    side = "closer to 0" if metric.better == "zero" else "better"
    count = "" if other["pairs"] == 1 else f", {side} in {other['better']} of {other['pairs']} cases"
    p = "" if other["p"] is None else f", p = {other['p']:.{P_DIGITS}g}"
    return f"{name} {means}{unit and f' {unit}'}{count}{p}"


def _values(rows: list[Row], method: str, name: str) -> dict[str, float]:
    """Case -> finite value of one metric."""
    named = {str(row["case"]): row.get(name) for row in rows if row["method"] == method}
    return {case: value for case, value in named.items() if isinstance(value, (int, float)) and math.isfinite(value)}


def _compared(sct: dict[str, float], other: dict[str, float], metric: Metric) -> Statistics:
    pairs = np.array([(sct[case], other[case]) for case in sct if case in other]).reshape(-1, 2)
    if metric.better == "zero":
        pairs = np.abs(pairs)
    return compare(pairs[:, 0], pairs[:, 1], higher_is_better=metric.better == "higher")
