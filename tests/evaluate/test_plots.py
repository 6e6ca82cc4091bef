from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from cyclegan_gc.evaluate.agreement import count_agreement
from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.plots import plots_of
from cyclegan_gc.evaluate.summary import Evaluation, summarise
from cyclegan_gc.metrics import case_metrics


def evaluated(methods: list[str], cases: int) -> Evaluation:
    ct = np.random.default_rng(0).normal(0, 400, (9, 9, 9))
    mask, rows, counts = np.ones(ct.shape, bool), [], {}
    for number, method in enumerate(methods):
        sct = ct + 20 * number
        counts[method] = cases * count_agreement(sct, ct, mask)
        measured: Row = {**case_metrics(sct, ct, mask, (1, 1, 1)), "voxels": ct.size, "method": method}
        rows += [{**measured, "case": f"$_{{{case}}}<&"} for case in range(cases)]
    return Evaluation(rows, summarise(rows), counts=counts)


@pytest.mark.parametrize(("methods", "cases"), [(["sct"], 1), (["sct", "compared"], 3), (["sct"], 60)])
def test_both_plots_are_drawn_whatever_the_cases_are_called_and_a_method_more_takes_a_row_more(methods, cases):
    plots = plots_of(evaluated(methods, cases))
    heights = [imread(BytesIO(picture)).shape[0] for picture in plots.values()]
    assert len(plots) == 2 and heights[1] == pytest.approx(len(methods) * heights[0], rel=0.01)


def test_without_a_case_there_is_nothing_to_plot():
    assert plots_of(Evaluation([], {})) == {}
