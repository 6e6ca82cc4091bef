import pytest

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.summary import Evaluation, findings, headline, summarise


def test_a_baseline_is_compared_case_by_case():
    rows: list[Row] = []
    for case in range(6):
        rows += [{"case": f"c{case}", "method": "sct", "mae": 50.0 + case, "me": -3.0}]
        rows += [{"case": f"c{case}", "method": "constant", "mae": 90.0 + 2 * case, "me": 20.0}]
    constant = summarise(rows)["mae"]["constant"]
    assert constant["mean"] == 95 and constant["n"] == 6 and constant["better"] == 6
    assert constant["p"] == pytest.approx(2 / 2**6) and constant["effect"] == 1
    assert summarise(rows)["me"]["constant"]["better"] == 6


def test_one_case_has_no_spread_and_no_test():
    rows: list[Row] = [{"case": "c", "method": method, "mae": 5.0} for method in ("sct", "constant")]
    summary = summarise(rows)["mae"]
    assert summary["sct"] == {"mean": 5, "sd": None, "n": 1, "ci95_low": None, "ci95_high": None}
    assert summary["constant"]["p"] is None


def evaluated(sct: dict[str, float], constant: dict[str, float], cases: int = 6) -> Evaluation:
    """Values by metric; each case is one unit above the one before, in both methods alike."""
    rows: list[Row] = []
    for case in range(cases):
        for method, values in (("sct", sct), ("constant", constant)):
            rows.append({"case": f"c{case}", "method": method, **{k: v + case * v / 100 for k, v in values.items()}})
    return Evaluation(rows, summarise(rows))


def test_the_headline_holds_the_error_its_interval_the_constant_and_bone():
    sentence = headline(evaluated({"mae": 100.0, "bone_dice": 0.8}, {"mae": 200.0, "bone_dice": 0.0}))
    assert sentence == "MAE 102 HU (95 % CI 101 to 104) over 6 cases, 50 % below the best constant; bone Dice 0.82."
    assert "25 % above the best constant" in headline(evaluated({"mae": 100.0}, {"mae": 80.0}))
    assert (
        headline(evaluated({"mae": 100.0}, {"mae": 100.0}, 1)) == "MAE 100 HU over 1 case, equal to the best constant."
    )
    assert headline(Evaluation([], {})) == "No case could be evaluated."


def test_an_unfavourable_comparison_is_listed_like_a_favourable_one():
    found = findings(
        evaluated({"mae": 100.0, "mae_soft": 80.0, "gc": 0.4}, {"mae": 200.0, "mae_soft": 40.0, "gc": 0.1})
    )
    assert [(title, len(lines)) for title, lines in found.items()] == [
        ("Better than the constant", 1),
        ("Worse than the constant", 1),
    ]
    assert found["Worse than the constant"] == [
        "MAE soft tissue 82.0 against 41.0 HU, better in 0 of 6 cases, p = 0.0312"
    ]
