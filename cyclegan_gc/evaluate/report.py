"""The report of an evaluation: one HTML file with its pictures inside, that opens from disk and needs nothing else."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
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

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1150px; margin: 2em auto; padding: 0 1em; }
h1 { margin-bottom: 0; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
.disclaimer { color: #a00; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .8em; text-align: right; border-bottom: 1px solid #e4e4e4; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #888; }
tr.baseline td { color: #777; border-bottom-style: dotted; }
td.own { font-weight: 600; }
img { max-width: 100%; }
figure { margin: 1.5em 0; } figcaption { font-weight: 600; }
"""


def write_report(path: Path, *, title: str, evaluation: Evaluation, panels: Mapping[str, bytes]) -> None:
    """Write the report as one self-contained HTML file: no scripts, nothing fetched, every text escaped.

    Args:
        path: of the HTML file; what stands there is replaced only once the new file is whole.
        title: heading of the page.
        evaluation: tables, comparisons, failures and notes.
        panels: case -> PNG of its pictures, in the order to be shown.
    """
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="disclaimer">{DISCLAIMER}</p>',
        _section("Cases that failed", _list(evaluation.failures)),
        _section("Summary", _summary_table(evaluation) + _list(comparisons(evaluation))),
        _section("Notes", _list(evaluation.notes)),
        _section("Cases, worst MAE first", _case_table(evaluation)),
        _section("Pictures", "".join(_figure(case, png) for case, png in panels.items())),
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    write_text(
        path,
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n",
    )


def worst_first(rows: list[Row]) -> list[str]:
    """The cases by the MAE of their synthetic CT, highest first."""
    errors = {str(row["case"]): row["mae"] for row in rows if row["method"] == SCT}
    return sorted(errors, key=lambda case: -float(errors[case] or 0.0))


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{body}" if body else ""


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A table whose rows are a CSS class and the cells' HTML-escaped text."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "\n".join(
        f'<tr class="{css}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>" for css, cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _summary_table(evaluation: Evaluation) -> str:
    header, *rows = summary_cells(evaluation)
    return _table(header, [("", row) for row in rows]) if rows else ""


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
    return _table(header, rows) if rows else ""


def _figure(case: str, png: bytes) -> str:
    source = f"data:image/png;base64,{b64encode(png).decode('ascii')}"
    return f'<figure><figcaption>{escape(case)}</figcaption><img alt="{escape(case)}" src="{source}"></figure>\n'
