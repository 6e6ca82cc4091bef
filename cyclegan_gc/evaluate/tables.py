"""Tables of an evaluation as text, Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable

from cyclegan_gc.errors import plain as plain_line
from cyclegan_gc.evaluate.measures import BASELINES, METRICS, SCT, Metric, Row, all_metrics, method_label, metric_of
from cyclegan_gc.evaluate.statistics import Statistics
from cyclegan_gc.evaluate.summary import P_DIGITS, Evaluation, findings, interval, leading_metrics, mean_of
from cyclegan_gc.text_table import aligned

Cells = list[list[str]]
Written = Callable[[str, bool], str]
"""How a cell is written, given its text and whether it holds the best value of its row."""

LATEX_CHARACTERS = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
}
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Beginnings of a formula, in full width too."""


def plain(text: str, best: bool = False) -> str:
    """The cell's text as it is."""
    return text


def summary_cells(evaluation: Evaluation, *, intervals: bool = False, written: Written = plain) -> Cells:
    """The summary, header first: metric, direction of improvement, then mean ± SD of each method.

    Args:
        evaluation: the results.
        intervals: add the 95 % confidence interval of the mean.
        written: how each cell is written.
    """
    methods, cases = evaluation.methods, len(evaluation.rows_of(SCT))
    header = ["mean ± SD (95 % CI of the mean)" if intervals else "mean ± SD over cases", "better"]
    cells = [[written(text, False) for text in (*header, *map(method_label, methods))]]
    for name in leading_metrics(evaluation):
        metric, by_method = METRICS[name], evaluation.summary[name]
        texts = {method: _cell(metric, by_method.get(method), cases, intervals) for method in methods}
        best = best_methods(evaluation, name)
        values = [written(text, method in best) for method, text in texts.items()]
        cells.append([written(metric.label, False), written(metric.better, False), *values])
    return cells


def best_methods(evaluation: Evaluation, name: str) -> set[str]:
    """The methods with the best mean of a metric in the digits shown; none where there is nothing to choose between."""
    metric, by_method = metric_of(name), evaluation.summary.get(name, {})
    sign = {"lower": 1, "higher": -1, "zero": 1, "": 0}[metric.better]
    means = {method: known["mean"] for method, known in by_method.items() if known["mean"] is not None}
    sizes = {method: abs(mean) if metric.better == "zero" else mean for method, mean in means.items()}
    ranks = {method: sign * round(size, metric.decimals) for method, size in sizes.items()}
    best = {method for method, rank in ranks.items() if rank == min(ranks.values())}
    return best if sign and len(best) < len(ranks) else set()


def comparison_cells(evaluation: Evaluation, other: str) -> Cells:
    """The paired comparison of the synthetic CT with another method, header first; empty without a pair."""
    header = ["mean over cases", method_label(SCT), method_label(other), "gain (95 % CI)", "better in"]
    cells = []
    for name in leading_metrics(evaluation):
        metric, by_method = METRICS[name], evaluation.summary[name]
        statistics = by_method.get(other)
        if SCT not in by_method or statistics is None or not statistics.get("pairs"):
            continue
        means = [mean_of(metric, by_method[method], statistics["pairs"]) for method in (SCT, other)]
        p, effect = statistics["p"], statistics["effect"]
        tested = ["–", "–"] if p is None else [f"{p:.{P_DIGITS}g}", f"{effect:+.2f}"]
        count = f"{statistics['better']} of {statistics['pairs']}"
        cells.append([metric.label, *means, interval(metric, statistics, "gain", "gain_ci95_"), count, *tested])
    return [[*header, "Wilcoxon p", "effect"], *cells] if cells else []


def summary_table(evaluation: Evaluation) -> str:
    """The summary as aligned plain text, followed by the findings and notes."""
    compared = [method for method in evaluation.methods if method not in (SCT, *BASELINES)]
    tables = [summary_cells(evaluation), *(comparison_cells(evaluation, method) for method in compared)]
    lines = ["\n\n".join(_ruled(cells) for cells in tables if cells), ""]
    for title, metrics in findings(evaluation).items():
        lines += [f"{title}:", *(f"  {line}" for line in metrics)]
    return "\n".join([*lines, *map(plain_line, evaluation.notes)])


def _ruled(cells: Cells) -> str:
    header, *lines = aligned(cells)
    return "\n".join([header, "-" * len(header), *lines])


def markdown_table(evaluation: Evaluation) -> str:
    """The summary as a Markdown table with the best values in bold."""

    def written(text: str, best: bool) -> str:
        text = text.replace("\\", "\\\\").replace("|", "\\|")
        return f"**{text}**" if best else text

    header, *rows = summary_cells(evaluation, intervals=True, written=written)
    lines = [header, [":---", ":---", *["---:"] * (len(header) - 2)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def latex_table(evaluation: Evaluation) -> str:
    """The summary as a LaTeX ``tabular`` with rules of the package booktabs and the best values in bold."""

    def written(text: str, best: bool) -> str:
        text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
        text = "".join(LATEX_CHARACTERS.get(character, character) for character in text).replace("−", "$-$")
        return rf"\textbf{{{text}}}" if best else text

    header, *rows = (" & ".join(line) + r" \\" for line in summary_cells(evaluation, intervals=True, written=written))
    begin = rf"\begin{{tabular}}{{ll{'r' * len(evaluation.methods)}}}"
    lines = [r"% \usepackage{booktabs}", begin, r"\toprule", header, r"\midrule", *rows, r"\bottomrule"]
    return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def csv_table(rows: list[Row]) -> str:
    """One row per case and method; empty where there is no value, ``inf`` for the PSNR of equal images."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", "method", "resampled", "voxels", *all_metrics(rows)])
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet runs as a formula: a text that begins like one gets an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    return plain_line(f"'{value}" if value.lstrip().startswith(FORMULA) else value)


def _cell(metric: Metric, statistics: Statistics | None, cases: int, intervals: bool) -> str:
    if statistics is None:
        return "–"
    sd = "" if statistics["sd"] is None else f" ± {statistics['sd']:.{metric.decimals}f}"
    mean = f"{statistics['mean']:.{metric.decimals}f}"
    text = mean + sd + (interval(metric, statistics, "mean", "ci95_")[len(mean) :] if intervals else "")
    return text if statistics["n"] == cases else f"{text} (n {statistics['n']})"
