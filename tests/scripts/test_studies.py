"""The studies on pairs, scanners and the choice of a checkpoint: who is trained on, who is tested, and their tables."""

import csv
import json
from pathlib import Path

import ablation
import numpy as np
import planning
import pytest
import ranking
import studies
import study_tables
import study_volumes
from comparison import Result, tabulate

from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.measures import METRICS

PRESET = str(Path(__file__).parents[2] / "configs" / "phantom.yaml")
SMALL = [
    "--network.width=4",
    "--network.blocks=1",
    "--network.discriminator_width=4",
    "--network.discriminator_layers=1",
    "--data.crop=[32, 24]",
    "--preprocess.spacing_mm=6",
    "--log_every=1",
    "--device=cpu",
]


def words_of(study: str, output: Path, *more: str, volumes: int = 2, steps: int = 2) -> list[str]:
    words = [study, str(output), "--config", PRESET, "--volumes", str(volumes), "--seeds", "0", "--steps", str(steps)]
    return [*words, "--test-subjects", "2", "--wandb-mode", "disabled", *more, "--", *SMALL]


def planned(study: str, output: Path, *more: str, volumes: int = 2, steps: int = 2) -> list[planning.Run]:
    options = ablation.parse(words_of(study, output, *more, volumes=volumes, steps=steps))
    return planning.planned(options, study_volumes.test_sets(options))


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """A folder that the tests share, so that its phantoms are made once."""
    return tmp_path_factory.mktemp("studies")


def option(run: planning.Run, name: str) -> str | None:
    words = run.commands[0]
    return words[words.index(name) + 1] if name in words else None


def heads(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.glob("*.nii.gz")}


@pytest.mark.slow
def test_pairs_are_of_heads_that_are_not_tested_and_fewer_are_a_part_of_more(output):
    runs = {run.arm: run for run in planned("pairs", output)}
    folders = {arm: Path(option(run, "--data.pairs") or "") for arm, run in runs.items()}
    few, some, many = (heads(folders[arm] / "ct") for arm in ("1 pair", "3 pairs", "10 pairs"))
    assert [len(each) for each in (few, some, many)] == [1, 3, 10] and few < some < many
    others = heads(output / "data" / "test_seed_1000" / "test" / "ct") | heads(output / "data" / "seed_0" / "ct")
    assert len(others) == 4 and not others & many
    names = [{path.name for path in (folders["3 pairs"] / kind).iterdir()} for kind in ("mr", "ct")]
    assert names[0] == names[1]


@pytest.mark.slow
def test_without_pairs_none_are_given_and_pairs_alone_are_trained_without_unpaired_volumes(output):
    runs = {run.arm: run for run in planned("pairs", output)}
    assert option(runs["no pairs"], "--data.pairs") is None and option(runs["no pairs"], "--data.mr")
    for arm, run in runs.items():
        alone = "alone" in arm
        assert (option(run, "--data.mr") is None) == (option(run, "--data.ct") is None) == alone
        assert run.record["settings"]["objective"] == ("paired" if alone else "unpaired")


def test_test_heads_of_the_pairs_seed_are_refused(output):
    with pytest.raises(UserError, match="--test-seed 0: the same heads would be trained on as pairs"):
        planned("pairs", output, "--test-seed", "0")


@pytest.mark.slow
def test_a_mixed_training_set_has_each_head_once_and_as_many_of_each_scanner(output):
    (run,) = [run for run in planned("scanners", output, volumes=4) if run.arm == "all scanners"][:1]
    paths = [Path(line) for line in Path(option(run, "--data.mr") or "").read_text().split()]
    assert len({path.name for path in paths}) == 4
    ends = [path.parent.parent.name.removeprefix("seed_0").lstrip("_") for path in paths]
    assert ends == ["", *studies.SCANNERS[1:]]


@pytest.mark.parametrize(("count", "expected"), [(2, [0, 2]), (8, [0, 0, 1, 1, 2, 2, 3, 3]), (5, [0, 0, 1, 2, 3])])
def test_heads_are_shared_out_among_the_scanners(count, expected):
    scanners = [[Path(str(scanner), str(head)) for head in range(8)] for scanner in range(4)]
    chosen = study_volumes.shared_out(scanners, count)
    assert [int(path.parent.name) for path in chosen] == expected
    assert [int(path.name) for path in chosen] == list(range(count))


@pytest.mark.slow
def test_every_scanner_sees_the_same_held_out_heads(output):
    runs = planned("scanners", output, "--arms", "plain")
    assert [run.scanner for run in runs] == list(studies.SCANNERS) and len({run.training for run in runs}) == 1
    tests = [output / "data" / f"test_seed_1000{end}" / "test" for end in ("", "_mprage", "_spin_echo", "_gadolinium")]
    assert len({tuple(sorted(heads(test / "ct"))) for test in tests}) == 1
    assert len(set.union(*(heads(test / "mr") for test in tests))) == 2 * len(tests)
    assert len({tuple(run.record["subjects"]) for run in runs}) == 1


@pytest.mark.parametrize("study", ["pairs", "scanners"])
def test_volumes_of_your_own_are_refused_where_only_phantoms_will_do(study, output, capsys):
    own = [word for name in ("--mr", "--ct", "--test-mr", "--test-ct") for word in (name, "DIR")]
    with pytest.raises(SystemExit):
        ablation.parse([study, str(output), *own])
    assert f"{study} needs generated phantoms" in capsys.readouterr().err


def test_each_kept_checkpoint_is_validated_at_its_step(output):
    runs = planned("selection", output, "--arms", "usual", steps=1200)
    assert [run.step for run in runs] == [100, 200, 300, 450, 600, 800, 1000, 1200]
    assert all(run.step and run.step % run.record["settings"]["validate_every"] == 0 for run in runs)
    assert [option(run, "--stop_at") for run in runs] == [str(run.step) for run in runs]
    assert len({run.training for run in runs}) == 1 and len({run.checkpoint for run in runs}) == 8


def test_a_training_that_cannot_be_divided_is_refused(output):
    with pytest.raises(UserError, match="--steps 100: selection keeps checkpoints at 24ths"):
        planned("selection", output, steps=100)


def test_ranks_agree_with_an_example_by_hand():
    rows: list[ranking.Row] = [
        {"arm": arm, "volumes": 2, "seed": 0, "step": step, "true_mae": mae, "score": score}
        for arm, maes, scores in (("a", (30, 20, 10), (3, 2, 1)), ("b", (60, 50, 40), (2, 4, 6)))
        for step, mae, score in zip((1, 2, 3), maes, scores, strict=True)
    ]
    found = ranking.correlations(rows)
    assert found["score"][1] == pytest.approx(0) and np.isnan(found["score"][2])  # 1 in a, -1 in b; two last ones
    assert found["latest step"][1] == pytest.approx(1)
    assert ranking.rho(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0])) == pytest.approx(0.5)
    assert np.isnan(ranking.rho(np.ones(3), np.arange(3.0)))


def test_a_table_of_arms_and_scanners_has_a_cell_for_each():
    def lines(mae: float):
        values = {"mae": mae, "mae_bone": 2 * mae, "bone_dice": 0.5}
        return tabulate([Result("plain", 8, 0, name, values) for name in "ab"], "plain", METRICS)

    table = study_tables.crossed_table("scanners", {"spgr": lines(100.0), "mprage": lines(120.0)}, ["A note."])
    assert "| 8 | plain | 100.0 / 200.0 / 0.500 | 120.0 / 240.0 / 0.500 |" in table and table.endswith("A note.\n")


@pytest.mark.slow
def test_pairs_beside_unpaired_volumes_and_alone_are_trained_and_compared(output):
    arms = ["--arms", "no pairs", "1 pair", "10 pairs alone", "alone, z 0.5"]
    assert ablation.main(words_of("pairs", output, *arms)) == 0
    lines = json.loads((output / "pairs" / "table.json").read_text())["lines"]
    maes = {line["arm"]: line for line in lines if line["metric"] == "mae"}
    assert set(maes) == {*arms[1:], "constant", "histogram match"}
    assert all((line["against"] is None) == (arm == "no pairs") for arm, line in maes.items())


@pytest.mark.slow
def test_arms_are_compared_on_every_scanner_and_a_second_start_changes_nothing(output):
    arms = ["--arms", "plain", "all scanners"]
    assert ablation.main(words_of("scanners", output, *arms, volumes=4)) == 0
    folder = output / "scanners"
    assert (folder / "table.md").read_text().count("\n| 4 | ") == 2 + 2  # and two baselines
    fall = json.loads((folder / "arm_all_scanners" / "table.json").read_text())
    assert fall["reference"] == "spgr" and {line["arm"] for line in fall["lines"]} == set(studies.SCANNERS)
    gain = json.loads((folder / "on_mprage" / "table.json").read_text())
    assert gain["reference"] == "plain" and gain["test"]["mr"] == "data/test_seed_1000_mprage/test/mr"
    before = {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("*.pt")}
    assert ablation.main(words_of("scanners", output, *arms, volumes=4)) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("*.pt")}


@pytest.mark.slow
def test_checkpoints_on_the_way_are_kept_scored_and_ranked(output):
    words = words_of("selection", output, "--arms", "usual", volumes=3, steps=24)
    assert ablation.main(words) == 0
    with (output / "selection" / "checkpoints.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and len({row["true_mae"] for row in rows}) > 4
    runs = planned("selection", output, "--arms", "usual", volumes=3, steps=24)
    assert [ablation.load_checkpoint(run.checkpoint)["step"] for run in runs] == [2, 4, 6, 9, 12, 16, 20, 24]
    lines = [json.loads(line) for line in (runs[0].training / "metrics.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["validation/score"] for line in lines if "validation/score" in line}
    assert [float(row["score"]) for row in rows] == [scores[run.step] for run in runs]
    assert "| score | " in (output / "selection" / "table.md").read_text()
    runs[1].checkpoint.unlink()
    with pytest.raises(UserError, match="is at step 24, and that of step 4 was not kept"):
        ablation.keep_checkpoint(runs[1], 4)
