import csv
import json
from io import BytesIO, StringIO

import numpy as np
import pytest
from ablation_report import plot, results_csv, write_ablation
from comparison import FIGURES, Result, tabulate
from matplotlib.image import imread

RNG = np.random.default_rng(0)
RESULTS = [
    Result(arm, volumes, seed, f"head_{subject}", {name: base + float(RNG.normal(0, 5)) for name in FIGURES})
    for arm, base in (("off", 150.0), ("absolute", 120.0))
    for volumes in (2, 8)
    for seed in range(3)
    for subject in range(4)
]


def test_the_csv_gives_every_number_back_exactly():
    results = [*RESULTS, Result("absolute", 20, 0, "blank", dict.fromkeys(FIGURES))]
    rows = list(csv.DictReader(StringIO(results_csv("gradient", results), newline="")))
    read = [
        Result(row["arm"], int(row["volumes"]), int(row["seed"]), row["subject"], {
            name: float(row[name]) if row[name] else None for name in FIGURES
        })
        for row in rows
    ]  # fmt: skip
    assert read == results and {row["study"] for row in rows} == {"gradient"}


def test_the_tables_on_disk_say_what_the_lines_say(tmp_path):
    lines = write_ablation(tmp_path, "gradient", RESULTS, "off", notes=["A note."], facts={"runs": []})
    stored = json.loads((tmp_path / "table.json").read_text())
    assert [line["described"] for line in stored["lines"]] == [line.described for line in lines]
    assert (stored["reference"], stored["runs"], stored["notes"]) == ("off", [], ["A note."])
    text = (tmp_path / "table.md").read_text()
    (cell,) = [line for line in lines if (line.arm, line.volumes, line.metric) == ("absolute", 8, "mae")]
    assert f"{cell.described['mean']:.1f} ± {cell.described['sd']:.1f}" in text and "A note." in text
    assert cell.against is not None and f"{cell.against.over_subjects['percent']:+.1f} [" in text


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("one", "other"):
        write_ablation(tmp_path / name, "gradient", RESULTS, "off")
    for file in ("runs.csv", "table.md", "table.json", "plot.png"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


@pytest.mark.parametrize("results", [RESULTS, [each for each in RESULTS if each.volumes == 8]])
def test_there_is_a_picture_for_many_sizes_and_for_one(results):
    height, width, _ = imread(BytesIO(plot(tabulate(results, "off"), FIGURES))).shape
    assert width > 3 * 300 and height > 2 * 200


def test_a_run_without_a_comparison_has_a_table_of_its_own(tmp_path):
    write_ablation(tmp_path, "gradient", [each for each in RESULTS if each.arm == "off"], "off")
    assert "Wilcoxon" not in (tmp_path / "table.md").read_text()
