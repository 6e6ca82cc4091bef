"""The report of an evaluation: one HTML file with its pictures inside, that opens from disk and needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.evaluate.measures import COMPARED, LABEL_METRICS, METHOD_LABELS, METRICS, SCT, format_value, label_of
from cyclegan_gc.evaluate.plots import plots_of
from cyclegan_gc.evaluate.summary import (
    Evaluation,
    comparison_cells,
    comparisons,
    interval,
    leading_metrics,
    summary_cells,
    worst_first,
)
from cyclegan_gc.pictures.pages import bullets, page, section, table


def write_report(path: Path, *, title: str, evaluation: Evaluation) -> None:
    """Write the report as one self-contained HTML file: no scripts, nothing fetched, every text escaped.

    Args:
        path: of the HTML file; what stands there is replaced only once the new file is whole.
        title: heading of the page.
        evaluation: tables, comparisons, failures, notes and the cases' pictures in the order to be shown.
    """
    parts = [
        f'<p class="disclaimer">{DISCLAIMER}</p>',
        section("Cases that failed", bullets(evaluation.failures)),
        section("Summary", _table(summary_cells(evaluation, intervals=True)) + bullets(comparisons(evaluation))),
        section("Against the compared CT", _table(comparison_cells(evaluation))),
        section("Notes", bullets(evaluation.notes)),
        section("Plots", _figures(plots_of(evaluation))),
        section("Labels, lowest Dice first", _label_table(evaluation)),
        section("Cases, worst MAE first", _case_table(evaluation)),
        section("Pictures", _figures(evaluation.pictures)),
    ]
    write_text(path, page(title, parts))


def _table(cells: list[list[str]]) -> str:
    return table(cells[0], [("", row) for row in cells[1:]]) if len(cells) > 1 else ""


def _label_table(evaluation: Evaluation) -> str:
    """Mean of every label with its 95 % interval, for each method that has label maps."""
    dice, distance = LABEL_METRICS
    labels = [label_of(name) for name in evaluation.summary if name.startswith(dice)]
    summaries = {
        label: [evaluation.summary.get(f"{start}{label}", {}) for start in (dice, distance)] for label in labels
    }
    methods = [method for method in evaluation.methods if any(method in known for known, _ in summaries.values())]
    labels.sort(key=lambda label: float(summaries[label][0].get(SCT, {}).get("mean") or 0))
    columns = [(METHOD_LABELS[method], metric.label) for method in methods for metric in LABEL_METRICS.values()]
    cells = [["label", "cases", *(f"{metric}, {method}" for method, metric in columns)]]
    for label in labels:
        cases = max(int(found["n"] or 0) for found in summaries[label][0].values())
        values = [
            interval(metric, summary[method], "mean", "ci95_") if method in summary else "–"
            for method in methods
            for metric, summary in zip(LABEL_METRICS.values(), summaries[label], strict=True)
        ]
        cells.append([str(label), str(cases), *values])
    return _table(cells)


def _case_table(evaluation: Evaluation) -> str:
    shown = leading_metrics(evaluation)
    header = ["case", "image", *(METRICS[name].label for name in shown), "resampled"]
    by_case = {(row["case"], row["method"]): row for row in evaluation.rows}
    rows = []
    for case in worst_first(evaluation.rows):
        for method in (method for method in evaluation.methods if (case, method) in by_case):
            row = by_case[case, method]
            values = [format_value(METRICS[name], row.get(name)) for name in shown]
            label = [case if method == SCT else "", METHOD_LABELS[method]]
            css = "" if method in (SCT, COMPARED) else "baseline"
            rows.append((css, [*label, *values, str(row["resampled"] or "")]))
    return table(header, rows) if rows else ""


def _figures(pictures: Mapping[str, bytes]) -> str:
    return "".join(_figure(title, png) for title, png in pictures.items())


def _figure(title: str, png: bytes) -> str:
    source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
    return f'<figure><figcaption>{escape(title)}</figcaption><img alt="{escape(title)}" src="{source}"></figure>\n'
