"""From the metrics of every case to one table: the synthetic CT and the trivial baselines side by side."""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from cyclegan_gc.evaluate.statistics import Statistics, compare, describe

Row = dict[str, float | str | None]

SCT = "sct"
METHOD_LABELS = {SCT: "synthetic CT", "constant": "constant", "histogram_match": "histogram match"}


class Metric(NamedTuple):
    """How a metric is named and printed, and which way it improves ("zero": the nearer to 0 the better)."""

    label: str
    decimals: int
    better: Literal["lower", "higher", "zero", ""]


METRICS = {
    "mae": Metric("MAE [HU]", 1, "lower"),
    "me": Metric("ME (bias) [HU]", 1, "zero"),
    "psnr": Metric("PSNR [dB]", 2, "higher"),
    "ssim": Metric("SSIM", 3, "higher"),
    "mae_air": Metric("MAE air [HU]", 1, "lower"),
    "mae_soft": Metric("MAE soft tissue [HU]", 1, "lower"),
    "mae_bone": Metric("MAE bone [HU]", 1, "lower"),
    "bone_dice": Metric("Dice bone", 3, "higher"),
    "bone_hd95": Metric("HD95 bone [mm]", 2, "lower"),
    "gc": Metric("GC with the MR", 3, ""),
    "gc_reference": Metric("GC of the true CT", 3, ""),
}


@dataclass(frozen=True)
class Evaluation:
    """Synthetic CTs held against true ones."""

    rows: list[Row]
    """One per case and method: ``case``, ``method``, ``resampled`` (what was brought onto the synthetic CT's grid, or
    None) and every metric of `METRICS` that could be had; HU, dB, mm or none as its label says."""
    summary: dict[str, dict[str, Statistics]]
    """Metric -> method -> what `summarise` says."""
    failures: list[str] = field(default_factory=list)
    """``case: reason`` of every case that could not be evaluated."""
    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the numbers."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG of the worst cases, in that order."""

    @property
    def methods(self) -> list[str]:
        """The synthetic CT and the baselines that were evaluated."""
        return [method for method in METHOD_LABELS if any(row["method"] == method for row in self.rows)]


def summarise(rows: list[Row]) -> dict[str, dict[str, Statistics]]:
    """Metric -> method -> ``mean``, ``sd`` and ``n`` over the cases that have a finite value, with a 95 % interval.

    A baseline also has the paired comparison with the synthetic CT over the cases that have both. What each holds:
    :func:`describe` and :func:`compare`.
    """
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    summary: dict[str, dict[str, Statistics]] = {}
    for name, metric in METRICS.items():
        values = {method: _values(rows, method, name) for method in methods}
        described: dict[str, Statistics] = {method: describe(list(v.values())) for method, v in values.items() if v}
        for method in described:
            if method != SCT and metric.better:
                described[method] |= _compared(values.get(SCT, {}), values[method], metric)
        if described:
            summary[name] = described
    return summary


def comparisons(evaluation: Evaluation) -> list[str]:
    """One sentence per baseline and leading metric: in how many cases the synthetic CT is the better one."""
    lines = []
    for name in ("mae", "bone_dice"):
        for method, statistics in evaluation.summary.get(name, {}).items():
            if method == SCT or "pairs" not in statistics:
                continue
            p, effect = statistics["p"], statistics["effect"]
            test = "" if p is None else f" (Wilcoxon p = {p:.3g}, rank-biserial effect {effect:+.2f})"
            count = f"{statistics['better']} of {statistics['pairs']}"
            lines.append(f"{METRICS[name].label}: better than the {METHOD_LABELS[method]} in {count} cases{test}")
    return lines


def summary_cells(evaluation: Evaluation) -> list[list[str]]:
    """The summary as text, header first: metric, which way is better, then mean ± SD of each method."""
    cells = [["mean ± SD over cases", "better", *(METHOD_LABELS[method] for method in evaluation.methods)]]
    cases = sum(row["method"] == SCT for row in evaluation.rows)
    for name, by_method in evaluation.summary.items():
        values = [_cell(METRICS[name], by_method.get(method), cases) for method in evaluation.methods]
        cells.append([METRICS[name].label, METRICS[name].better, *values])
    return cells


def summary_table(evaluation: Evaluation) -> str:
    """The summary as aligned plain text, with the comparisons and notes below."""
    cells = summary_cells(evaluation)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], "", *comparisons(evaluation), *evaluation.notes])


def format_value(name: str, value: float | str | None) -> str:
    """A metric's value as it is printed; a dash for what a case cannot give."""
    return f"{value:.{METRICS[name].decimals}f}" if isinstance(value, (int, float)) else value or "–"


def _cell(metric: Metric, statistics: Statistics | None, cases: int) -> str:
    if statistics is None:
        return "–"
    mean, sd = (None if statistics[key] is None else f"{statistics[key]:.{metric.decimals}f}" for key in ("mean", "sd"))
    some = "" if statistics["n"] == cases else f" (n {statistics['n']})"
    return (f"{mean} ± {sd}" if sd else f"{mean}") + some


def _values(rows: list[Row], method: str, name: str) -> dict[str, float]:
    """Case -> finite value of one metric."""
    named = {str(row["case"]): row.get(name) for row in rows if row["method"] == method}
    return {case: value for case, value in named.items() if isinstance(value, (int, float)) and math.isfinite(value)}


def _compared(sct: dict[str, float], baseline: dict[str, float], metric: Metric) -> Statistics:
    pairs = np.array([(sct[case], baseline[case]) for case in sct if case in baseline]).reshape(-1, 2)
    if metric.better == "zero":
        pairs = np.abs(pairs)
    return compare(pairs[:, 0], pairs[:, 1], higher_is_better=metric.better == "higher")
