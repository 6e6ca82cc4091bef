"""Plots of an evaluation: errors and overlaps of every case, and agreement after Bland and Altman."""

from collections.abc import Sequence
from io import BytesIO
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from cyclegan_gc.evaluate.measures import COMPARED, SCT, Row, method_label
from cyclegan_gc.evaluate.statistics import DIFFERENCE_EDGES_HU, MEAN_EDGES_HU, WITHIN, Agreement, Counts
from cyclegan_gc.evaluate.summary import Evaluation, worst_first

TITLES = {"errors_by_case": "Every case, by tissue", "agreement": "Agreement of HU (Bland and Altman 1986)"}
"""Name of a plot's files -> its title in the report."""

TISSUES = {"mae": "body", "mae_air": "air", "mae_soft": "soft tissue", "mae_bone": "bone"}
OVERLAPS = {
    "bone_dice": "Dice bone",
    "body_dice": "Dice outline",
    "labels_dice": "Dice labels",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
}
COLOURS = {SCT: "tab:blue", COMPARED: "tab:orange", "constant": "0.6", "histogram_match": "tab:brown"}
MORE_COLOURS = ("tab:orange", "tab:green", "tab:purple", "tab:pink", "tab:olive", "tab:cyan")
"""Colours of the methods that the user names."""
WIDTH_OF_A_GROUP = 0.8
MOST_NAMED = 40
"""Cases up to which each is named beside a plot."""


def plots_of(evaluation: Evaluation) -> dict[str, Figure]:
    """Name -> plot, with the names of `PLOTS`; empty without a case."""
    if not evaluation.agreements:
        return {}
    return {name: plot(evaluation) for name, plot in PLOTS.items()}


def saved(figure: Figure, kind: Literal["png", "svg", "pdf"]) -> bytes:
    """The figure as the content of a file; the same figure gives the same bytes."""
    buffer = BytesIO()
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
    with rc_context({"svg.hashsalt": "cyclegan-gc"}):
        figure.savefig(buffer, format=kind, metadata=dated)
    return buffer.getvalue()


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """Method -> colour; methods that the user names take further colours in turn."""
    named = [method for method in methods if method not in COLOURS]
    return COLOURS | {method: MORE_COLOURS[place % len(MORE_COLOURS)] for place, method in enumerate(named)}


def case_plot(evaluation: Evaluation) -> Figure:
    """A dot for each case and method, with the means as lines: MAE by tissue, overlaps and similarities."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    errors, overlaps = figure.subplots(1, 2)
    _dots(errors, evaluation, TISSUES)
    errors.set_ylabel("MAE [HU], lower is better")
    errors.set_ylim(bottom=0)
    _dots(overlaps, evaluation, {name: word for name, word in OVERLAPS.items() if name in evaluation.summary})
    overlaps.set_ylabel("overlap or similarity, higher is better")
    overlaps.set_ylim(0, 1.02)
    errors.legend(loc="upper left", fontsize=8, framealpha=0.6)
    return figure


def agreement_plot(evaluation: Evaluation) -> Figure:
    """Difference of HU against their mean, one row a method: all voxels at the left, each case at the right.

    The lines are the bias and the limits of agreement, ``bias ± 1.96 SD``. The cases are listed worst MAE first.
    """
    methods = evaluation.agreements
    figure = Figure(figsize=(11, 3.8 * len(methods)), layout="constrained")
    axes = figure.subplots(len(methods), 2, squeeze=False, sharex="col", sharey="col", width_ratios=(3, 2))
    order = worst_first(evaluation.rows)
    shown = _extent(np.sum(list(evaluation.counts.values()), axis=0))
    for (density, by_case), (method, agreement) in zip(axes, methods.items(), strict=True):
        density.set_title(f"{method_label(method)}: {agreement.voxels} voxels of {len(order)} cases", fontsize=10)
        _density(figure, density, evaluation.counts[method], agreement)
        density.set(xlim=shown[0], ylim=shown[1])
        _limits_by_case(by_case, {str(row["case"]): row for row in evaluation.rows_of(method)}, order)
    return figure


PLOTS = {"errors_by_case": case_plot, "agreement": agreement_plot}
"""Name of a plot's files -> the function that draws it for an evaluation with at least one case."""


def _dots(axes: Axes, evaluation: Evaluation, names: dict[str, str]) -> None:
    methods = evaluation.methods
    colours = colours_of(methods)
    width = WIDTH_OF_A_GROUP / len(methods)
    for number, method in enumerate(methods):
        rows, colour = evaluation.rows_of(method), colours[method]
        for group, name in enumerate(names):
            centre = group + (number - (len(methods) - 1) / 2) * width
            values = [value for row in rows if isinstance(value := row.get(name), (int, float)) and np.isfinite(value)]
            if values:
                # Spread evenly and not at random, so the same numbers give the same picture.
                places = centre + np.linspace(-0.3, 0.3, len(values)) * width if len(values) > 1 else [centre]
                axes.plot(places, values, ".", color=colour, alpha=0.7, markersize=5)
                axes.hlines(np.mean(values), centre - 0.4 * width, centre + 0.4 * width, color=colour, linewidth=2)
        axes.plot([], [], ".", color=colour, label=method_label(method))
    axes.set_xticks(range(len(names)), list(names.values()), fontsize=8)
    axes.grid(axis="y", alpha=0.3)


def _density(figure: Figure, axes: Axes, counts: Counts, agreement: Agreement) -> None:
    shares = np.ma.masked_equal(counts.T, 0) / max(1, counts.sum()) * 100
    drawn = axes.pcolormesh(MEAN_EDGES_HU, DIFFERENCE_EDGES_HU, shares, cmap="viridis", norm=LogNorm(), rasterized=True)
    figure.colorbar(drawn, ax=axes, label="% of voxels")
    for value, style, word in ((agreement.bias, "-", "bias "), (agreement.low, "--", ""), (agreement.high, "--", "")):
        axes.axhline(value, color="tab:red", linestyle=style, linewidth=1)
        place = {"xy": (0.99, value), "xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
        axes.annotate(f"{word}{value:.0f}", fontsize=8, color="tab:red", **place)
    axes.set(xlabel="mean of both [HU]", ylabel="synthetic − true [HU]")


def _extent(counts: Counts) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of the axes: the range of the means, and that of the differences, symmetric about zero."""
    means, differences = (np.flatnonzero(counts.any(axis=axis)) for axis in (1, 0))
    ends = DIFFERENCE_EDGES_HU[differences[0]], DIFFERENCE_EDGES_HU[differences[-1] + 1]
    far = float(np.abs(ends).max())
    return (float(MEAN_EDGES_HU[means[0]]), float(MEAN_EDGES_HU[means[-1] + 1])), (-far, far)


def _limits_by_case(axes: Axes, rows: dict[str, Row], order: list[str]) -> None:
    known = [case for case in order if case in rows]
    bias, spread = (np.array([float(rows[case][name] or 0) for case in known]) for name in ("me", "error_sd"))
    places = range(len(known), 0, -1)
    axes.errorbar(bias, places, xerr=WITHIN * spread, fmt="o", color="tab:red", markersize=4, capsize=2)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set(xlabel="bias and limits of agreement [HU]", ylim=(0, len(known) + 1))
    axes.set_yticks(places if len(known) <= MOST_NAMED else [])
    if len(known) <= MOST_NAMED:
        axes.set_yticklabels([_short(case) for case in known], fontsize=7, parse_math=False)


def _short(case: str, letters: int = 24) -> str:
    return case if len(case) <= letters else f"{case[: letters - 1]}…"
