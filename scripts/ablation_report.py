"""Writes a study: every subject of every run as CSV, the table as Markdown and JSON, and a plot."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from comparison import FIGURES, Comparison, Line, Result, tabulate
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.evaluate.measures import METHOD_LABELS, SCT, Metric
from cyclegan_gc.evaluate.statistics import Statistics
from cyclegan_gc.evaluate.tables import csv_cell
from cyclegan_gc.pictures.sheets import drawn, png_of

COLUMNS = 3
COMPARISON_HEADER = [
    "volumes",
    "arm",
    "metric",
    "gain [95 %]",
    "in % [95 %]",
    "better in",
    "effect",
    "p",
    "seeds' gains [95 %]",
]
EXPLANATION = """Mean ± SD over subjects, each with the mean of its seeds. A gain is positive where the arm is better
than `{reference}` over the same subjects and seeds. Its 95 % interval is over the subjects (Student; Fieller for per
cent). p is from Wilcoxon's signed-rank test, not corrected for the number of comparisons. The effect is the
rank-biserial correlation. The last column holds the gain of each seed and the interval over the seeds.
"""
BASELINES = tuple(label for method, label in METHOD_LABELS.items() if method != SCT)
"""Arms that were not trained: they are in the tables, not in the plot, which they would flatten."""


def write_ablation(
    folder: Path,
    study: str,
    results: Sequence[Result],
    reference: str,
    *,
    metrics: Mapping[str, Metric] = FIGURES,
    notes: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> list[Line]:
    """Write ``runs.csv``, ``table.md``, ``table.json`` and ``plot.png``; the same results give the same text.

    Args:
        folder: made where missing.
        study: the title.
        results: the results of every run and subject, in the order of the table.
        reference: the arm that the others are compared with.
        metrics: metric -> label and better direction; the columns.
        notes: sentences below the table.
        facts: further entries of the JSON file.

    Returns:
        The table's lines.

    Raises:
        OSError: if the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = tabulate(results, reference, metrics)
    table = {"study": study, "reference": reference, "notes": list(notes), **(facts or {})}
    write_text(folder / "runs.csv", results_csv(study, results, metrics))
    write_text(folder / "table.md", markdown(study, lines, reference, metrics, notes))
    write_text(folder / "table.json", json.dumps({**table, "lines": [asdict(line) for line in lines]}, indent=2) + "\n")
    with atomic_write(folder / "plot.png") as file:
        file.write(plot([line for line in lines if line.arm not in BASELINES], metrics))
    return lines


def results_csv(study: str, results: Sequence[Result], metrics: Mapping[str, Metric] = FIGURES) -> str:
    """One row per run and subject; empty where there is no value."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["study", "arm", "volumes", "seed", "subject", *metrics])
    for result in results:
        values = [result.values.get(name) for name in metrics]
        row = [study, result.arm, result.volumes, result.seed, result.subject, *values]
        writer.writerow(map(csv_cell, row))
    return text.getvalue()


def markdown(
    study: str, lines: Sequence[Line], reference: str, metrics: Mapping[str, Metric], notes: Sequence[str]
) -> str:
    """A table of the means of every arm, and one of the comparisons with the reference."""
    header = ["volumes", "arm", "seeds", "subjects", *(metric.label for metric in metrics.values())]
    rows = []
    for volumes, arm in dict.fromkeys((line.volumes, line.arm) for line in lines):
        own = {line.metric: line for line in lines if (line.volumes, line.arm) == (volumes, arm)}
        first = next(iter(own.values()))
        subjects = first.described["n"]
        cells = [_mean_sd(own[name], metric, subjects) if name in own else "–" for name, metric in metrics.items()]
        rows.append([str(volumes), arm, str(len(first.seeds)), str(subjects), *cells])
    compared = [_comparison(line, line.against, metrics[line.metric]) for line in lines if line.against]
    parts = [f"# {study}", markdown_table(header, rows)]
    if compared:
        parts += [EXPLANATION.format(reference=reference).rstrip(), markdown_table(COMPARISON_HEADER, compared)]
    return "\n\n".join([*parts, *notes]) + "\n"


def _comparison(line: Line, against: Comparison, metric: Metric) -> list[str]:
    paired, decimals = against.over_subjects, metric.decimals
    seeds = ", ".join(f"{gain:+.{decimals}f}" for _, gain in sorted(against.seeds.items()))
    over_seeds = _interval(against.over_seeds, "ci95", decimals)
    return [
        str(line.volumes),
        line.arm,
        metric.label,
        f"{_signed(paired['gain'], decimals)}{_interval(paired, 'gain_ci95', decimals)}",
        f"{_signed(paired['percent'], 1)}{_interval(paired, 'percent_ci95', 1)}",
        f"{paired['better']} of {paired['pairs']}",
        _signed(paired["effect"], 2),
        "–" if paired["p"] is None else f"{paired['p']:.2g}",
        f"{seeds}{over_seeds}",
    ]


def _signed(value: float | None, decimals: int) -> str:
    return "–" if value is None else f"{value:+.{decimals}f}"


def _interval(statistics: Statistics, name: str, decimals: int) -> str:
    low, high = statistics[f"{name}_low"], statistics[f"{name}_high"]
    return "" if low is None or high is None else f" [{low:+.{decimals}f}, {high:+.{decimals}f}]"


def _mean_sd(line: Line, metric: Metric, subjects: float | None) -> str:
    """Mean and SD, with the number of subjects where it differs from that of the row."""
    values, count = (line.described[name] for name in ("mean", "sd")), line.described["n"]
    text = " ± ".join(f"{value:.{metric.decimals}f}" for value in values if value is not None)
    return f"{text or '–'}{'' if count == subjects else f' (n {count})'}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def plot(lines: Sequence[Line], metrics: Mapping[str, Metric]) -> bytes:
    """PNG with a panel for each metric: a line for each arm over the number of training volumes, a point for each seed.

    With one number of volumes the arms stand side by side instead.
    """
    count = -(-len(metrics) // COLUMNS)
    figure = Figure(figsize=(4.2 * min(len(metrics), COLUMNS), 3.4 * count), layout="constrained")
    panels = figure.subplots(count, min(len(metrics), COLUMNS), squeeze=False).ravel()
    sizes = sorted({line.volumes for line in lines})
    for axes, (name, metric) in zip(panels, metrics.items(), strict=False):
        own = [line for line in lines if line.metric == name]
        _against_volumes(axes, own, sizes) if len(sizes) > 1 else _side_by_side(axes, own)
        axes.set_title(f"{metric.label}{f', {metric.better} is better' if metric.better else ''}", fontsize=9)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    if len(sizes) > 1 and lines:
        panels[0].legend(fontsize=7)
    return png_of(drawn(figure))


def _against_volumes(axes: Axes, lines: Sequence[Line], sizes: Sequence[int]) -> None:
    for number, arm in enumerate(dict.fromkeys(line.arm for line in lines)):
        own, colour = [line for line in lines if line.arm == arm], f"C{number % 10}"
        # Shifted a little, so that the seeds of two arms do not overlap.
        places = [line.volumes * 1.02**number for line in own]
        axes.plot(places, [_mean_of_seeds(line) for line in own], color=colour, label=arm)
        for place, line in zip(places, own, strict=True):
            axes.plot([place] * len(line.seeds), list(line.seeds.values()), ".", color=colour)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(sizes), [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training volumes of each modality", fontsize=8)


def _side_by_side(axes: Axes, lines: Sequence[Line]) -> None:
    for place, line in enumerate(lines):
        values = list(line.seeds.values())
        axes.plot([place] * len(values), values, ".", color=f"C{place % 10}")
        axes.plot(place, _mean_of_seeds(line), "_", color=f"C{place % 10}", markersize=22)
    axes.set_xlim(-0.6, len(lines) - 0.4)
    axes.set_xticks(range(len(lines)), [line.arm for line in lines], rotation=30, ha="right", fontsize=7)


def _mean_of_seeds(line: Line) -> float:
    return float(np.mean(list(line.seeds.values()))) if line.seeds else float("nan")
