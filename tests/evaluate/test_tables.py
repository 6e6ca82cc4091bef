import pytest

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.summary import Evaluation, summarise
from cyclegan_gc.evaluate.tables import (
    best_methods,
    comparison_cells,
    csv_table,
    latex_table,
    markdown_table,
    summary_cells,
)


def evaluated(**values: dict[str, float]) -> Evaluation:
    """Two equal cases of each method with its metrics."""
    rows: list[Row] = [
        {"case": case, "method": method, **metrics} for case in ("a", "b") for method, metrics in values.items()
    ]
    return Evaluation(rows, summarise(rows))


@pytest.mark.parametrize(
    ("name", "sct", "constant", "best"),
    [
        ("mae", 50.0, 60.0, {"sct"}),
        ("ssim", 0.5, 0.6, {"constant"}),
        ("me", -9.0, 3.0, {"constant"}),
        ("mae", 50.01, 50.02, set()),
        ("gc", 0.5, 0.1, set()),
    ],
)
def test_the_best_value_is_chosen_by_the_side_that_is_better_in_the_digits_shown(name, sct, constant, best):
    assert best_methods(evaluated(sct={name: sct}, constant={name: constant}), name) == best


def test_a_value_that_stands_alone_is_not_called_the_best():
    assert best_methods(evaluated(sct={"mae": 5.0}, constant={}), "mae") == set()


def test_markdown_has_one_row_a_metric_with_the_best_in_bold_and_escapes_its_bars():
    lines = markdown_table(evaluated(sct={"mae": 50.0}, **{"a|b": {"mae": 60.0}})).splitlines()
    assert lines[0] == "| mean ± SD (95 % CI of the mean) | better | synthetic CT | a\\|b |"
    assert lines[2] == "| MAE [HU] | lower | **50.0 ± 0.0 (50.0 to 50.0)** | 60.0 ± 0.0 (60.0 to 60.0) |"


def test_latex_is_a_booktabs_tabular_with_special_characters_escaped():
    text = latex_table(evaluated(sct={"me": -5.0}, **{"a_b & 50%": {"me": 6.0}}))
    begin, *_, end = [line for line in text.splitlines() if not line.startswith("%")]
    assert begin == r"\begin{tabular}{llrr}" and end == r"\end{tabular}"
    assert r"synthetic CT & a\_b \& 50\% \\" in text and r"\toprule" in text and r"95 \% CI" in text
    assert r"\textbf{$-$5.0 $\pm$ 0.0 ($-$5.0 to $-$5.0)}" in text


def test_methods_stand_in_the_order_given_before_the_baselines():
    evaluation = evaluated(sct={"mae": 5.0}, constant={"mae": 7.0}, MaskGAN={"mae": 6.0}, CUT={"mae": 8.0})
    assert summary_cells(evaluation)[0][2:] == ["synthetic CT", "MaskGAN", "CUT", "constant"]
    assert comparison_cells(evaluation, "CUT")[1][:4] == ["MAE [HU]", "5.0", "8.0", "3.0 (3.0 to 3.0)"]


def test_no_name_is_a_formula_for_a_spreadsheet():
    rows: list[Row] = [
        {"case": name, "method": "sct", "mae": -5.0} for name in ('=cmd|"/C calc"!A0', "-1+1", "@x\n=1", " \t=1", "＝1")
    ]
    lines = csv_table(rows).splitlines()
    assert len(lines) == 6 and all(line.lstrip('"').startswith("'") and "-5.0" in line for line in lines[1:])
