import pytest

from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.evaluate.summary import summarise


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
