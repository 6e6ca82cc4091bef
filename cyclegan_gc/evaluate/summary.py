"""From the metrics of every case to one table: the synthetic CT, a compared one and the baselines side by side."""

import math
from dataclasses import dataclass, field

import numpy as np

from cyclegan_gc.evaluate.agreement import Agreement, Counts, pooled
from cyclegan_gc.evaluate.measures import (
    COMPARED,
    METHOD_LABELS,
    METRICS,
    SCT,
    Metric,
    Row,
    all_metrics,
    is_label_metric,
)
from cyclegan_gc.evaluate.statistics import Statistics, compare, describe

LEADING = ("mae", "bone_dice")
"""What a baseline is held against in words."""
P_DIGITS = 3


@dataclass(frozen=True)
class Evaluation:
    """Synthetic CTs held against true ones."""

    rows: list[Row]
    """One per case and method: ``case``, ``method``, ``resampled`` (what was brought onto the synthetic CT's grid, or
    None), ``voxels`` measured, and every metric of `all_metrics` that could be had; HU, dB, mm or none as its label
    says."""
    summary: dict[str, dict[str, Statistics]]
    """Metric -> method -> what `summarise` says."""
    failures: list[str] = field(default_factory=list)
    """``case: reason`` of every case that could not be evaluated."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the numbers."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG of the worst cases, in that order."""
    counts: dict[str, Counts] = field(default_factory=dict)
    """Method -> voxels of all cases by mean and difference, as `count_agreement` says; without the baselines."""

    @property
    def methods(self) -> list[str]:
        """The synthetic CT, a compared one and the baselines that were evaluated."""
        return [method for method in METHOD_LABELS if any(row["method"] == method for row in self.rows)]

    @property
    def agreements(self) -> dict[str, Agreement]:
        """Method -> bias and limits of agreement over the voxels of all cases; without the baselines."""
        by_method = {method: pooled(self.rows_of(method)) for method in self.counts}
        return {method: found for method, found in by_method.items() if found}

    def rows_of(self, method: str) -> list[Row]:
        """Of one method, in the order of the cases."""
        return [row for row in self.rows if row["method"] == method]


def summarise(rows: list[Row]) -> dict[str, dict[str, Statistics]]:
    """Metric -> method -> ``mean``, ``sd`` and ``n`` over the cases that have a finite value, with a 95 % interval.

    Any other method also has the paired comparison of the synthetic CT with it over the cases that have both, by its
    size where the nearer to 0 is the better. What each holds: :func:`describe` and :func:`compare`.
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


def comparisons(evaluation: Evaluation) -> list[str]:
    """One sentence per baseline and leading metric: in how many cases the synthetic CT is the better one."""
    lines = []
    for name in LEADING:
        for method, statistics in evaluation.summary.get(name, {}).items():
            if method == COMPARED or "pairs" not in statistics:
                continue
            metric = METRICS[name]
            gain = f"gain {interval(metric, statistics, 'gain', 'gain_ci95_')}" if statistics["pairs"] else ""
            p, effect = statistics["p"], statistics["effect"]
            test = "" if p is None else f", Wilcoxon p = {p:.{P_DIGITS}g}, rank-biserial effect {effect:+.2f}"
            count = f"{statistics['better']} of {statistics['pairs']}"
            lines.append(f"{metric.label}: better than the {METHOD_LABELS[method]} in {count} cases, {gain}{test}")
    return lines


def comparison_cells(evaluation: Evaluation) -> list[list[str]]:
    """The synthetic CT against the compared one as text, header first; nothing where none was compared."""
    header = ["mean over cases", "synthetic CT", "compared CT", "gain (95 % CI)", "better in", "Wilcoxon p", "effect"]
    cells = []
    for name in leading_metrics(evaluation):
        metric, by_method = METRICS[name], evaluation.summary[name]
        statistics = by_method.get(COMPARED)
        if SCT not in by_method or statistics is None or not statistics.get("pairs"):
            continue
        means = [_mean(metric, by_method[method], statistics["pairs"]) for method in (SCT, COMPARED)]
        p, effect = statistics["p"], statistics["effect"]
        tested = ["–", "–"] if p is None else [f"{p:.{P_DIGITS}g}", f"{effect:+.2f}"]
        count = f"{statistics['better']} of {statistics['pairs']}"
        cells.append([metric.label, *means, interval(metric, statistics, "gain", "gain_ci95_"), count, *tested])
    return [header, *cells] if cells else []


def summary_cells(evaluation: Evaluation, *, intervals: bool = False) -> list[list[str]]:
    """The summary as text, header first: metric, which way is better, then mean ± SD of each method.

    Args:
        evaluation: what to sum up.
        intervals: add the 95 % interval of the mean.
    """
    cells = [["mean ± SD over cases", "better", *(METHOD_LABELS[method] for method in evaluation.methods)]]
    cases = len(evaluation.rows_of(SCT))
    for name in leading_metrics(evaluation):
        metric, by_method = METRICS[name], evaluation.summary[name]
        values = [_cell(metric, by_method.get(method), cases, intervals) for method in evaluation.methods]
        cells.append([metric.label, metric.better, *values])
    return cells


def summary_table(evaluation: Evaluation) -> str:
    """The summary as aligned plain text, with the comparisons and notes below."""
    tables = [aligned(cells) for cells in (summary_cells(evaluation), comparison_cells(evaluation)) if cells]
    return "\n".join(["\n\n".join(tables), "", *comparisons(evaluation), *evaluation.notes])


def aligned(cells: list[list[str]]) -> str:
    """Cells, header first, in columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def leading_metrics(evaluation: Evaluation) -> list[str]:
    """What was measured, but for single labels."""
    return [name for name in evaluation.summary if not is_label_metric(name)]


def interval(metric: Metric, statistics: Statistics, value: str, bounds: str) -> str:
    """A mean with its 95 % interval, where more than one case gives one."""
    low, high = statistics[f"{bounds}low"], statistics[f"{bounds}high"]
    number = f"{statistics[value]:.{metric.decimals}f}"
    return number if low is None else f"{number} ({low:.{metric.decimals}f} to {high:.{metric.decimals}f})"


def _mean(metric: Metric, statistics: Statistics, pairs: float | None) -> str:
    """With the number of cases where it is not that of the pairs."""
    mean = f"{statistics['mean']:.{metric.decimals}f}"
    return mean if statistics["n"] == pairs else f"{mean} (n {statistics['n']})"


def _cell(metric: Metric, statistics: Statistics | None, cases: int, intervals: bool) -> str:
    if statistics is None:
        return "–"
    sd = "" if statistics["sd"] is None else f" ± {statistics['sd']:.{metric.decimals}f}"
    mean = f"{statistics['mean']:.{metric.decimals}f}"
    text = mean + sd + (interval(metric, statistics, "mean", "ci95_")[len(mean) :] if intervals else "")
    return text if statistics["n"] == cases else f"{text} (n {statistics['n']})"


def _values(rows: list[Row], method: str, name: str) -> dict[str, float]:
    """Case -> finite value of one metric."""
    named = {str(row["case"]): row.get(name) for row in rows if row["method"] == method}
    return {case: value for case, value in named.items() if isinstance(value, (int, float)) and math.isfinite(value)}


def _compared(sct: dict[str, float], other: dict[str, float], metric: Metric) -> Statistics:
    pairs = np.array([(sct[case], other[case]) for case in sct if case in other]).reshape(-1, 2)
    if metric.better == "zero":
        pairs = np.abs(pairs)
    return compare(pairs[:, 0], pairs[:, 1], higher_is_better=metric.better == "higher")
