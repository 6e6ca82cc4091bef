from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from ablation_report import markdown
from comparison import Line, Result, relative_gain, tabulate
from scipy import stats

from cyclegan_gc.evaluate.measures import METRICS


def results_of(
    arm: str, values: Mapping[int, Sequence[float | None]], volumes: int = 8, metric: str = "mae"
) -> list[Result]:
    """Seed -> a value for each subject a, b, c, ..."""
    return [
        Result(arm, volumes, seed, subject, {metric: value})
        for seed, of_subjects in values.items()
        for subject, value in zip("abcdefgh", of_subjects, strict=False)
    ]


def line_of(lines: list[Line], arm: str, metric: str = "mae", volumes: int = 8) -> Line:
    (found,) = [line for line in lines if (line.arm, line.metric, line.volumes) == (arm, metric, volumes)]
    return found


def noisy(seed: int, subjects: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Errors of a method and of another one that is a quarter worse."""
    rng = np.random.default_rng(seed)
    own = rng.uniform(80, 120, subjects)
    return own, own * 1.25 + rng.normal(0, 8, subjects)


def test_an_example_by_hand():
    results = results_of("off", {0: [100, 120], 1: [120, 140]}) + results_of("gc", {0: [90, 100], 1: [110, 120]})
    line = line_of(tabulate(results, "off"), "gc")
    assert line.against is not None
    assert line.described["mean"] == 105 and line.described["n"] == 2  # a: 100, b: 110
    assert line.seeds == {0: 95, 1: 115} and line.against.seeds == {0: 15, 1: 15}
    assert (
        line.against.over_subjects["gain"],
        line.against.over_subjects["better"],
        line.against.over_seeds["sd"],
    ) == (15, 2, 0)  # a: 10, b: 20
    assert line.against.over_subjects["percent"] == pytest.approx(100 * 15 / 120)
    half = 12.706205 * 5  # Student's factor of one degree of freedom; the SD of 10 and 20 over the root of 2
    assert line.against.over_subjects["gain_ci95_high"] == pytest.approx(15 + half, rel=1e-6)


def test_a_subject_counts_once_however_many_seeds_there_are():
    once = results_of("gc", {0: [10, 20, 60]})
    thrice = results_of("gc", {seed: [10, 20, 60] for seed in range(3)})
    assert line_of(tabulate(once, "gc"), "gc").described == line_of(tabulate(thrice, "gc"), "gc").described


def test_the_gains_of_the_seeds_are_over_the_subjects_of_the_gain_beside_them():
    """A subject that lacks a value at one seed counts nowhere, so that the seeds' mean is the gain."""
    results = results_of("off", {0: [100] * 3, 1: [100] * 3}) + results_of("gc", {0: [90, 90, 10], 1: [90, 90, None]})
    against = line_of(tabulate(results, "off"), "gc").against
    assert against is not None and against.over_subjects["gain"] == 10 and against.seeds == {0: 10, 1: 10}


def test_an_arm_against_its_own_copy_gains_nothing():
    values = {0: [40.0, 50.0, 60.0], 1: [41.0, 49.0, 62.0]}
    line = line_of(tabulate(results_of("off", values) + results_of("copy", values), "off"), "copy")
    assert line.against is not None
    assert (
        line.against.over_subjects["gain"] == line.against.over_subjects["percent"] == 0
        and line.against.over_subjects["p"] is None
    )
    assert (
        line.against.over_subjects["percent_ci95_low"]
        == pytest.approx(0)
        == line.against.over_subjects["percent_ci95_high"]
    )


def test_better_is_positive_whether_the_metric_falls_or_rises():
    for metric in ("mae", "bone_dice"):
        results = results_of("off", {0: [0.5, 0.6, 0.7]}, metric=metric)
        results += results_of("more", {0: [0.6, 0.8, 0.8]}, metric=metric)
        line = line_of(tabulate(results, "off"), "more", metric)
        assert line.against is not None
        sign = 1 if metric == "bone_dice" else -1
        assert line.against.over_subjects["gain"] == pytest.approx(sign * 0.4 / 3) == line.against.seeds[0]
        assert line.against.over_subjects["percent"] == pytest.approx(sign * 100 * 0.4 / 1.8)


def test_the_reference_and_a_metric_without_a_better_side_are_not_compared():
    results = results_of("off", {0: [0.1, 0.2]}, metric="gc") + results_of("on", {0: [0.3, 0.4]}, metric="gc")
    lines = tabulate(results, "off")
    assert line_of(lines, "off", "gc").against is None and line_of(lines, "on", "gc").against is None


def test_only_seeds_that_both_arms_have_are_compared():
    results = results_of("off", {0: [100, 100], 1: [500, 500]}) + results_of("gc", {0: [90, 80], 2: [0, 0]})
    line = line_of(tabulate(results, "off"), "gc")
    assert line.against is not None and line.against.over_subjects["gain"] == 15 and line.against.seeds == {0: 15}
    assert line.described["mean"] == 42.5 and line.seeds == {0: 85, 2: 0}


def test_a_subject_without_a_value_at_one_seed_is_left_out_of_the_means():
    results = results_of("off", {0: [100, 100], 1: [100, 100]}) + results_of("gc", {0: [90, 10], 1: [90, None]})
    line = line_of(tabulate(results, "off"), "gc")
    assert line.against is not None
    assert (line.described["n"], line.described["mean"], line.against.over_subjects["pairs"]) == (1, 90, 1)


def test_an_arm_without_a_value_at_a_whole_seed_gains_nothing_by_it():
    """As the surface distance of bone where a run found no bone."""
    results = results_of("off", {0: [5.0, 5.2], 1: [5.1, 5.3]}) + results_of("gc", {0: [4.9, 5.1], 1: [None, None]})
    line = line_of(tabulate(results, "off"), "gc")
    assert line.described["n"] == 0 and line.described["mean"] is None and line.against is None
    assert line.seeds == {0: pytest.approx(5)}
    table = markdown("study", [*tabulate(results, "off"), line], "off", {"mae": METRICS["mae"]}, [])
    assert "| 8 | gc | 1 | 0 | – |" in table


def test_sizes_of_the_training_set_are_never_mixed():
    results = results_of("off", {0: [100, 100]}, volumes=2) + results_of("off", {0: [60, 60]}, volumes=8)
    results += results_of("gc", {0: [50, 50]}, volumes=8)
    lines = [line for line in tabulate(results, "off") if line.metric == "mae"]
    assert [(line.volumes, line.arm) for line in lines] == [(2, "off"), (8, "off"), (8, "gc")]
    assert lines[2].against is not None and lines[2].against.over_subjects["gain"] == 10


@pytest.mark.parametrize("seed", range(5))
def test_the_ends_of_the_relative_interval_are_where_a_t_test_gives_5_percent(seed):
    own, others = noisy(seed)
    relative = relative_gain(own, others, higher_is_better=False)
    for end in ("low", "high"):
        ratio = 1 - float(relative[f"percent_ci95_{end}"] or 0) / 100
        p = stats.ttest_1samp(own - ratio * others, 0).pvalue  # pyright: ignore[reportAttributeAccessIssue]
        assert p == pytest.approx(0.05, rel=1e-6)
    assert float(relative["percent_ci95_low"] or 0) < float(relative["percent"] or 0)


def test_the_relative_interval_holds_0_exactly_where_the_gains_own_does():
    crossings = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        others = rng.uniform(80, 120, 6)
        own = others + rng.normal(-4, 6, 6)
        result = results_of("off", {0: list(others)}) + results_of("gc", {0: list(own)})
        compared = line_of(tabulate(result, "off"), "gc").against
        assert compared is not None
        within = [
            float(compared.over_subjects[f"{name}_ci95_low"] or 0)
            < 0
            < float(compared.over_subjects[f"{name}_ci95_high"] or 0)
            for name in ("gain", "percent")
        ]
        assert within[0] == within[1]
        crossings.add(within[0])
    assert crossings == {True, False}


def test_the_relative_gain_does_not_know_the_unit():
    own, others = noisy(0)
    one, other = (relative_gain(scale * own, scale * others, higher_is_better=False) for scale in (1, 1000))
    assert one == pytest.approx(other)


def test_what_a_ratio_cannot_tell_is_none():
    empty = dict.fromkeys(("percent", "percent_ci95_low", "percent_ci95_high"))
    assert relative_gain([1.0, 2.0], [0.0, 0.0], higher_is_better=True) == empty
    assert relative_gain([1.0, 2.0], [-1.0, 1.1], higher_is_better=True)["percent_ci95_low"] is None
    assert relative_gain([1.0], [2.0], higher_is_better=False) == {**empty, "percent": 50.0}
