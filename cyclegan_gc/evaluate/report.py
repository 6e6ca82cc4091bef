"""Write the results of an evaluation: a self-contained HTML report, tables, and figures for papers."""

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from cyclegan_gc import __version__
from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.measures import (
    BASELINES,
    GC_EXPLAINED,
    LABEL_METRICS,
    METRICS,
    SCT,
    format_value,
    in_words,
    label_of,
    method_label,
)
from cyclegan_gc.evaluate.plots import TITLES, plots_of, saved
from cyclegan_gc.evaluate.summary import Evaluation, findings, headline, interval, leading_metrics, worst_first
from cyclegan_gc.evaluate.tables import (
    Cells,
    best_methods,
    comparison_cells,
    csv_table,
    latex_table,
    markdown_table,
    summary_cells,
)
from cyclegan_gc.pictures.pages import bullets, element, figure, page, section, table

TESTS_EXPLAINED = (
    "p: Wilcoxon's signed-rank test, two-sided, not corrected for the number of metrics. Gain: mean paired difference, "
    "positive where the synthetic CT is better. Effect: rank-biserial correlation."
)


def write_results(evaluation: Evaluation, output: Path) -> None:
    """Write the report, ``cases.csv``, ``evaluation.json``, ``table.tex``, ``table.md`` and each plot as SVG and PDF.

    Raises:
        UserError: if the folder cannot be written.
    """
    results = {
        "models": evaluation.models,
        "summary": evaluation.summary,
        "agreement": {method: found._asdict() for method, found in evaluation.agreements.items()},
        "cases": evaluation.rows,
        "failures": evaluation.failures,
        "notes": evaluation.notes,
    }
    plots = plots_of(evaluation)
    try:
        write_text(output / "cases.csv", csv_table(evaluation.rows))
        write_text(output / "evaluation.json", json.dumps(_json_ready(results), indent=2, allow_nan=False) + "\n")
        write_text(output / "table.md", markdown_table(evaluation))
        write_text(output / "table.tex", latex_table(evaluation))
        for name, plot in plots.items():
            for kind in ("svg", "pdf"):
                with atomic_write(output / f"{name}.{kind}") as file:
                    file.write(saved(plot, kind))
        pictures = {name: saved(plot, "png") for name, plot in plots.items()}
        write_report(output / "report.html", title="Synthetic CT evaluation", evaluation=evaluation, plots=pictures)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); free or choose a disk") from error


def write_report(path: Path, *, title: str, evaluation: Evaluation, plots: Mapping[str, bytes] | None = None) -> None:
    """Write the report as one HTML file without scripts, its pictures inside.

    Args:
        path: the HTML file; an older one is replaced only once the new one is complete.
        title: heading of the page.
        evaluation: tables, findings, failures, notes and the pictures of the cases in the order to be shown.
        plots: name of the plot -> PNG.
    """
    others = [method for method in evaluation.methods if method != SCT]
    against = [(method, comparison_cells(evaluation, method)) for method in others]
    parts = [
        element("p", DISCLAIMER, "disclaimer"),
        element("p", headline(evaluation), "headline"),
        _facts(evaluation),
        section("Cases that failed", bullets(evaluation.failures)),
        section("Summary", _summary_table(evaluation)),
        section("The synthetic CT against the others", _findings(evaluation)),
        *(section(f"Against {in_words(method)}", _table(cells)) for method, cells in against),
        element("p", TESTS_EXPLAINED) if any(cells for _, cells in against) else "",
        section("Notes", bullets(evaluation.notes)),
        section("Plots", _plots(plots or {})),
        section("Labels, lowest Dice first", _label_table(evaluation)),
        section("Cases, worst MAE first", _case_table(evaluation)),
        section("Pictures", "".join(figure(case, _inside(png)) for case, png in evaluation.pictures.items())),
    ]
    write_text(path, page(title, parts))


def _facts(evaluation: Evaluation) -> str:
    """Date, number of cases, version and models."""
    cases, failed = len(evaluation.rows_of(SCT)), len(evaluation.failures)
    count = f"n = {cases} case{'s' * (cases != 1)}{f', {failed} failed' if failed else ''}"
    models = "; ".join(evaluation.models) or "not known (the synthetic CTs have no sidecar of cyclegan-gc)"
    return bullets([f"{date.today().isoformat()}, {count}, cyclegan-gc {__version__}", f"Model: {models}"])


def _summary_table(evaluation: Evaluation) -> str:
    def written(text: str, best: bool) -> str:
        return element("strong", text) if best else text

    cells = summary_cells(evaluation, intervals=True, written=written)
    notes = ["Bold: the best value of a row.", *([GC_EXPLAINED] if "gc" in evaluation.summary else [])]
    return _table(cells) and _table(cells) + element("p", " ".join(notes))


def _findings(evaluation: Evaluation) -> str:
    return "".join(element("h3", title) + bullets(metrics) for title, metrics in findings(evaluation))


def _plots(plots: Mapping[str, bytes]) -> str:
    files = ", ".join(f"{name}.svg, {name}.pdf" for name in plots)
    note = element("p", f"For papers, beside this page: {files}, table.tex, table.md.") if plots else ""
    return "".join(figure(TITLES[name], _inside(png)) for name, png in plots.items()) + note


def _table(cells: Cells) -> str:
    return table(cells[0], [("", row) for row in cells[1:]]) if len(cells) > 1 else ""


def _label_table(evaluation: Evaluation) -> str:
    """Mean of every label with its 95 % interval, for each method that has label maps."""
    dice, distance = LABEL_METRICS
    labels = [label_of(name) for name in evaluation.summary if name.startswith(dice)]
    names = {label: [f"{start}{label}" for start in (dice, distance)] for label in labels}
    known = {label: [evaluation.summary.get(name, {}) for name in names[label]] for label in labels}
    methods = [method for method in evaluation.methods if any(method in overlaps for overlaps, _ in known.values())]
    labels.sort(key=lambda label: float(known[label][0].get(SCT, {}).get("mean") or 0))
    columns = [(method, metric) for method in methods for metric in LABEL_METRICS.values()]
    header = ["label", "cases", *(f"{metric.label} (95 % CI), {method_label(method)}" for method, metric in columns)]
    cells = [header]
    for label in labels:
        cases = max(int(found["n"] or 0) for found in known[label][0].values())
        best = [best_methods(evaluation, name) if name in evaluation.summary else set() for name in names[label]]
        values = [
            element("strong" if method in winners else "span", interval(metric, summary[method], "mean", "ci95_"))
            if method in summary
            else "–"
            for method in methods
            for metric, summary, winners in zip(LABEL_METRICS.values(), known[label], best, strict=True)
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
            label = [case if method == SCT else "", method_label(method)]
            css = "baseline" if method in BASELINES else ""
            rows.append((css, [*label, *values, str(row["resampled"] or "")]))
    return table(header, rows) if rows else ""


def _inside(png: bytes) -> str:
    """The address of a picture that lies inside the page."""
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"


def _json_ready(value: object) -> object:
    """Plain values for JSON, which has no infinity: null instead."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
