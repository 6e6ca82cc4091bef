"""The report of an evaluation: one HTML file with its pictures inside, that opens from disk and needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.evaluate.summary import (
    METHOD_LABELS,
    METRICS,
    SCT,
    Evaluation,
    Row,
    comparisons,
    format_value,
    summary_cells,
)
from cyclegan_gc.pages import bullets, page, section, table


def write_report(path: Path, *, title: str, evaluation: Evaluation, panels: Mapping[str, bytes]) -> None:
    """Write the report as one self-contained HTML file: no scripts, nothing fetched, every text escaped.

    Args:
        path: of the HTML file; what stands there is replaced only once the new file is whole.
        title: heading of the page.
        evaluation: tables, comparisons, failures and notes.
        panels: case -> PNG of its pictures, in the order to be shown.
    """
    parts = [
        f'<p class="disclaimer">{DISCLAIMER}</p>',
        section("Cases that failed", bullets(evaluation.failures)),
        section("Summary", _summary_table(evaluation) + bullets(comparisons(evaluation))),
        section("Notes", bullets(evaluation.notes)),
        section("Cases, worst MAE first", _case_table(evaluation)),
        section("Pictures", "".join(_figure(case, png) for case, png in panels.items())),
    ]
    write_text(path, page(title, parts))


def worst_first(rows: list[Row]) -> list[str]:
    """The cases by the MAE of their synthetic CT, highest first."""
    errors = {str(row["case"]): row["mae"] for row in rows if row["method"] == SCT}
    return sorted(errors, key=lambda case: -float(errors[case] or 0.0))


def _summary_table(evaluation: Evaluation) -> str:
    header, *rows = summary_cells(evaluation)
    return table(header, [("", row) for row in rows]) if rows else ""


def _case_table(evaluation: Evaluation) -> str:
    shown = [name for name in METRICS if name in evaluation.summary]
    header = ["case", "image", *(METRICS[name].label for name in shown), "resampled"]
    by_case = {(row["case"], row["method"]): row for row in evaluation.rows}
    rows = []
    for case in worst_first(evaluation.rows):
        for method in (method for method in evaluation.methods if (case, method) in by_case):
            row = by_case[case, method]
            values = [format_value(name, row.get(name)) for name in shown]
            label = [case if method == SCT else "", METHOD_LABELS[method]]
            rows.append(("" if method == SCT else "baseline", [*label, *values, str(row["resampled"] or "")]))
    return table(header, rows) if rows else ""


def _figure(case: str, png: bytes) -> str:
    source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
    return f'<figure><figcaption>{escape(case)}</figcaption><img alt="{escape(case)}" src="{source}"></figure>\n'
