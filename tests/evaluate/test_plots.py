import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.plots import COLOURS, agreement_plot, case_plot, colours_of, plots_of, saved
from cyclegan_gc.evaluate.statistics import count_agreement
from cyclegan_gc.evaluate.summary import Evaluation, summarise
from cyclegan_gc.metrics import case_metrics
from cyclegan_gc.pictures.sheets import read_png


def evaluated(methods: list[str], cases: int, off_hu: float = 20) -> Evaluation:
    """The first method is too bright by ``off_hu``, the next by twice as much."""
    ct = np.random.default_rng(0).normal(0, 400, (9, 9, 9))
    mask, rows, counts = np.ones(ct.shape, bool), [], {}
    for number, method in enumerate(methods, start=1):
        sct = ct + off_hu * number
        counts[method] = cases * count_agreement(sct, ct, mask)
        measured: Row = {**case_metrics(sct, ct, mask, (1, 1, 1)), "voxels": ct.size, "method": method}
        rows += [{**measured, "case": f"$_{{{case}}}<&"} for case in range(cases)]
    return Evaluation(rows, summarise(rows), counts=counts)


def lines(png: bytes, colour: str, least: int) -> NDArray:
    """Rows of the left half of a plot in which so many pixels at least are of a colour: more than dots and words."""
    picture = read_png(png)
    left = picture[:, : picture.shape[1] // 2].astype(float)
    return np.flatnonzero((np.abs(left - np.multiply(to_rgb(colour), 255)).max(axis=2) < 30).sum(axis=1) >= least)


@pytest.mark.parametrize(("methods", "cases"), [(["sct"], 1), (["sct", "compared"], 3), (["sct"], 60)])
def test_both_plots_are_drawn_whatever_the_cases_are_called_and_a_method_more_takes_a_row_more(methods, cases):
    plots = plots_of(evaluated(methods, cases))
    heights = [read_png(saved(plot, "png")).shape[0] for plot in plots.values()]
    assert len(plots) == 2 and heights[1] == pytest.approx(len(methods) * heights[0], rel=0.01)


def test_the_mean_of_the_method_with_larger_errors_is_drawn_higher():
    plot = saved(case_plot(evaluated(["sct", "compared"], 3)), "png")
    better, worse = (lines(plot, COLOURS[method], least=60) for method in ("sct", "compared"))
    assert better.size and worse.size and worse.max() < better.min()


def test_bias_is_drawn_above_zero_for_what_is_too_bright_and_as_far_below_for_what_is_too_dark():
    plots = (saved(agreement_plot(evaluated(["sct"], 2, off)), "png") for off in (20, -20, 0))
    bright, dark, none = (lines(plot, "tab:red", 300) for plot in plots)
    assert bright.max() < none.min() and none.max() < dark.min()
    assert none.mean() - bright.mean() == pytest.approx(dark.mean() - none.mean(), rel=0.05)


def test_without_a_case_there_is_nothing_to_plot():
    assert plots_of(Evaluation([], {})) == {}


def test_every_named_method_has_a_colour_of_its_own():
    methods = ["sct", "CUT", "MaskGAN", "pix2pix", "constant", "histogram_match"]
    assert len({colours_of(methods)[method] for method in methods}) == len(methods)


@pytest.mark.parametrize("kind", ["svg", "pdf"])
def test_one_evaluation_gives_one_file_for_papers_byte_for_byte(kind):
    first, second = (saved(case_plot(evaluated(["sct"], 2)), kind) for _ in range(2))
    assert first == second
