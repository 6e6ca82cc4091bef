"""Write the results of an evaluation: a HTML report, tables, and figures for papers."""

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from matplotlib.figure import Figure

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
    metric_of,
)
from cyclegan_gc.evaluate.plots import TITLES, plots_of, saved
from cyclegan_gc.evaluate.summary import Evaluation, findings, headline, interval, leading_metrics
from cyclegan_gc.evaluate.tables import (
    Cells,
    best_methods,
    comparison_cells,
    csv_table,
    latex_table,
    markdown_table,
    summary_cells,
)
from cyclegan_gc.pictures.pages import bullets, element, figure, link, page, section, table

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
    # JSON has no infinity: null instead.
    plain = json.loads(json.dumps(results), parse_constant=lambda _: None)
    plots = plots_of(evaluation)
    try:
        write_text(output / "cases.csv", csv_table(evaluation.rows))
        write_text(output / "evaluation.json", json.dumps(plain, indent=2) + "\n")
        write_text(output / "table.md", markdown_table(evaluation))
        write_text(output / "table.tex", latex_table(evaluation))
        for name, plot in plots.items():
            for kind in ("svg", "pdf"):
                with atomic_write(output / f"{name}.{kind}") as file:
                    file.write(saved(plot, kind))
        write_report(output / "report.html", evaluation, plots)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); free or choose a disk") from error


def write_report(path: Path, evaluation: Evaluation, plots: Mapping[str, Figure]) -> None:
    """Write the report as one HTML file without scripts, with the plots and the pictures of the cases inside.

    It links the pages of slices, which lie beside it.
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
        section("Plots", _plots(plots)),
        section("Labels, lowest Dice first", _label_table(evaluation)),
        section("Cases, worst MAE first", _case_table(evaluation)),
        section(
            "Pictures",
            "".join(_figure(case, png, evaluation.views.get(case)) for case, png in evaluation.pictures.items()),
        ),
    ]
    write_text(path, page("Synthetic CT evaluation", parts))


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
    return "".join(element("h3", title) + bullets(metrics) for title, metrics in findings(evaluation).items())


def _plots(plots: Mapping[str, Figure]) -> str:
    files = ", ".join(f"{name}.svg, {name}.pdf" for name in plots)
    note = element("p", f"For papers, beside this page: {files}, table.tex, table.md.") if plots else ""
    return "".join(_figure(TITLES[name], saved(plot, "png")) for name, plot in plots.items()) + note


def _table(cells: Cells) -> str:
    return table(cells[0], [("", row) for row in cells[1:]]) if len(cells) > 1 else ""


def _label_table(evaluation: Evaluation) -> str:
    """Mean of every label with its 95 % interval, for each method that has label maps."""
    overlaps = {label_of(name): found for name, found in evaluation.summary.items() if name.startswith("dice_label_")}
    methods = [method for method in evaluation.methods if any(method in found for found in overlaps.values())]
    columns = [(method, start) for method in methods for start in LABEL_METRICS]
    names = (f"{LABEL_METRICS[start].label} (95 % CI), {method_label(method)}" for method, start in columns)
    cells = [["label", "cases", *names]]
    for label in sorted(overlaps, key=lambda label: float(overlaps[label].get(SCT, {}).get("mean") or 0)):
        cases = max(int(found["n"] or 0) for found in overlaps[label].values())
        values = [_label_cell(evaluation, f"{start}{label}", method) for method, start in columns]
        cells.append([str(label), str(cases), *values])
    return _table(cells)


def _label_cell(evaluation: Evaluation, name: str, method: str) -> str:
    by_method = evaluation.summary.get(name, {})
    if method not in by_method:
        return "–"
    text = interval(metric_of(name), by_method[method], "mean", "ci95_")
    return element("strong", text) if method in best_methods(evaluation, name) else text


def _case_table(evaluation: Evaluation) -> str:
    shown = leading_metrics(evaluation)
    header = ["case", "image", *(METRICS[name].label for name in shown), "resampled"]
    rows = []
    for row in evaluation.rows_worst_first:
        method = str(row["method"])
        label = [_case_name(evaluation, str(row["case"])) if method == SCT else "", method_label(method)]
        values = [format_value(METRICS[name], row.get(name)) for name in shown]
        css = "baseline" if method in BASELINES else ""
        rows.append((css, [*label, *values, str(row["resampled"] or "")]))
    return table(header, rows) if rows else ""


def _case_name(evaluation: Evaluation, case: str) -> str:
    """The name of a case, as a link to its page of slices if there is one."""
    return link(evaluation.views[case], case) if case in evaluation.views else case


def _figure(title: str, png: bytes, target: str | None = None) -> str:
    """A picture inside the page."""
    return figure(title, f"data:image/png;base64,{b64encode(png).decode('ascii')}", target)
