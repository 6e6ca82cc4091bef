"""The ablation runner: its studies are what they say, and what it did once it does not do again."""

import csv
import functools
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import ablation
import planning
import pytest
import studies
import study_volumes

from cyclegan_gc.errors import UserError

ROOT = Path(__file__).parents[2]
PRESETS = [str(ROOT / "configs" / name) for name in ("phantom.yaml", "head.yaml")]
SMALL = [
    "--network.width=4",
    "--network.blocks=1",
    "--network.discriminator_width=4",
    "--network.discriminator_layers=1",
    "--data.crop=[32, 24]",
    "--preprocess.spacing_mm=6",
    "--log_every=1",
    "--save_every=5",
    "--device=cpu",
]


def words_of(study: str, output: Path, *more: str, steps: int = 48) -> list[str]:
    """A study of seconds on phantoms."""
    little = ["--volumes", "2", "--seeds", "0", "--test-subjects", "2", "--wandb-mode", "disabled"]
    return [study, str(output), "--config", PRESETS[0], *little, "--steps", str(steps), *more, "--", *SMALL]


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    """A folder that the tests share, so that its phantoms are made once."""
    return tmp_path_factory.mktemp("ablation")


def planned(study: str, output: Path, *more: str) -> list[planning.Run]:
    options = ablation.parse(words_of(study, output, *more))
    return planning.planned(options, study_volumes.test_sets(options))


@functools.cache
def settings(preset: str, name: str, arm: str) -> dict[str, object]:
    known = studies.STUDIES[name].arms[arm]
    return planning.train_settings(["train", "--config", preset, *known.flags], known)


def changed(preset: str, arm: tuple[str, str], other: tuple[str, str] = ("recipe", "default")) -> set[str]:
    """Settings in which two arms differ, each given by its study and its name."""
    one, two = settings(preset, *arm), settings(preset, *other)
    return {name for name in one if one[name] != two[name]}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", studies.STUDIES)
def test_every_arm_is_a_training_of_its_own(study, preset):
    known = studies.STUDIES[study].arms
    arms = {(str(settings(preset, study, name)), arm.pairs, arm.scanners) for name, arm in known.items()}
    assert len(known) >= 3 and len(arms) == len(known)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_studies_isolate_what_they_are_named_after(preset):
    gradient, weights = ([(name, arm) for arm in studies.STUDIES[name].arms] for name in ("gradient", "weights"))
    assert all(changed(preset, arm) <= {"loss.gradient", "loss.gradient_mode"} for arm in gradient)
    assert all(changed(preset, arm) <= {"loss.gradient"} for arm in weights)
    loss = {"loss.cycle", "loss.identity", "loss.gradient", "loss.depth_histogram"}
    assert changed(preset, ("recipe", "plain")) == loss | {"data.match_position"}
    assert changed(preset, ("recipe", "without the depth term")) == {"loss.depth_histogram"}
    original, plain = (("network", arm) for arm in list(studies.STUDIES["network"].arms)[:2])
    assert {name.split(".")[0] for name in changed(preset, original, plain)} == {"network"}


def test_plain_cyclegan_is_that_of_its_paper():
    plain = settings(PRESETS[0], "recipe", "plain")
    assert (plain["loss.cycle"], plain["loss.identity"]) == (10, 5)
    assert not any(plain[name] for name in ("loss.gradient", "loss.depth_histogram", "data.match_position"))


@pytest.mark.slow
def test_a_run_that_studies_share_has_one_folder(output):
    folders = {study: {run.arm: run.training for run in planned(study, output)} for study in studies.STUDIES}
    assert folders["gradient"]["absolute"] == folders["recipe"]["default"] == folders["weights"]["0.3"]
    assert folders["gradient"]["absolute"] == folders["learning_rate"]["default 8e-4"]
    assert folders["gradient"]["off"] == folders["weights"]["0"] == folders["recipe"]["without gradient consistency"]
    assert folders["gradient"]["signed"] == folders["recipe"]["signed gradient consistency"]
    assert folders["pairs"]["no pairs"] == folders["scanners"]["plain"] == folders["recipe"]["default"]
    assert all(len(set(each.values())) == len(each) for each in folders.values())


def test_further_flags_that_settings_do_not_hold_make_another_run(output):
    one = planned("gradient", output, "--arms", "off")
    other = ablation.parse([*words_of("gradient", output), "--init_from=A.pt"])
    (again,) = [run for run in planning.planned(other, study_volumes.test_sets(other)) if run.arm == "off"]
    assert again.folder == one[0].folder and again.record != one[0].record


@pytest.mark.parametrize("words", [("--volumes", "-1"), ("--volumes", "0"), ("--test-mask", "M")])
def test_what_cannot_be_meant_is_refused(output, words):
    with pytest.raises(SystemExit):
        ablation.parse(["gradient", str(output), *words])


def test_test_pairs_that_do_not_match_are_told_before_anything_is_trained(output, tmp_path):
    truth = Path(planned("gradient", output)[0].commands[1][1]).parent
    (tmp_path / "ct").mkdir()
    (tmp_path / "ct" / "somebody.nii.gz").write_bytes(next((truth / "ct").iterdir()).read_bytes())
    own = ["--mr", str(truth / "mr"), "--ct", str(truth / "ct"), "--test-mr", str(truth / "mr")]
    with pytest.raises(UserError, match="no synthetic CT"):
        study_volumes.test_sets(ablation.parse(["gradient", str(output), *own, "--test-ct", str(tmp_path / "ct")]))


def test_who_is_tested_may_not_be_trained_on_under_any_name(output, phantoms, tmp_path):
    truth = phantoms / "test"
    (tmp_path / "mr").mkdir()
    (tmp_path / "mr" / "other_name.nii.gz").write_bytes(next((truth / "mr").iterdir()).read_bytes())
    own = ["--mr", tmp_path / "mr", "--ct", phantoms / "ct", "--test-mr", truth / "mr", "--test-ct", truth / "ct"]
    with pytest.raises(UserError, match="is trained on too; take it out"):
        study_volumes.test_sets(ablation.parse(["gradient", str(output), *map(str, own)]))


@pytest.mark.slow
def test_smaller_sets_are_the_first_of_the_largest_and_nobody_is_tested_on_who_was_trained_on(tmp_path):
    runs = planned("gradient", tmp_path, "--volumes", "1", "2", "--seeds", "0", "1", "--arms", "off")
    few, many = ([set(run.record["trained_on"][0].split()) for run in runs if run.volumes == n] for n in (1, 2))
    assert [len(each) for each in (*few, *many)] == [1, 1, 2, 2]
    assert all(each < whole for each, whole in zip(few, many, strict=True))
    hashes = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.rglob("head_*.nii.gz")}
    assert len(set(hashes.values())) == len(hashes) == 2 + 2 * (2 + 2) + 3 * 2


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_parts_hold_every_run_once_and_no_training_is_divided(jobs, output):
    runs = planned("scanners", output, "--arms", "plain", "mr_intensity 1", "n4")
    parts = [part for shard in ((1, 2), (2, 2)) for part in ablation.divided(shard, jobs)]
    divided = [ablation.part_of(runs, part) for part in parts]
    assert sorted(run.folder for part in divided for run in part) == sorted(run.folder for run in runs)
    trained = [{run.training for run in part} for part in divided]
    assert sum(map(len, trained)) == len(set.union(*trained)) == 3


def test_an_arm_that_is_not_there_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        ablation.parse(["gradient", "DIR", "--arms", "of"])
    assert "gradient has no of; it has off, absolute, signed" in capsys.readouterr().err


def own_words(output: Path, phantoms: Path, *more: str, steps: int = 4) -> list[str]:
    """A study of two arms on volumes that are there already."""
    test = phantoms / "test"
    sources = ["--mr", phantoms / "mr", "--ct", phantoms / "ct", "--test-mr", test / "mr", "--test-ct", test / "ct"]
    words = [*sources, "--test-mask", test / "labels", "--arms", "off", "absolute", "--steps", steps, *more]
    start = ["gradient", str(output), "--config", PRESETS[0], "--seeds", "0", "--wandb-mode", "disabled"]
    return [*start, *map(str, words), "--", *SMALL]


def test_every_command_of_the_scripts_pages_is_accepted():
    pages = (page.read_text(encoding="utf-8") for page in sorted((ROOT / "scripts").glob("*.md")))
    text = "\n".join(pages).replace("\\\n", " ")
    commands = [
        line.split("scripts/ablation.py ")[1] for line in text.splitlines() if "python scripts/ablation.py" in line
    ]
    assert {ablation.parse(shlex.split(command)).study for command in commands} == set(studies.STUDIES)


@pytest.fixture(scope="module")
def study(tmp_path_factory, phantoms) -> Path:
    """A study that was carried out."""
    output = tmp_path_factory.mktemp("study")
    assert ablation.main(own_words(output, phantoms)) == 0
    return output


def written(output: Path) -> dict[Path, tuple[int, bytes]]:
    """Every result by the time it was written."""
    files = [path for name in ("last.pt", "metrics.jsonl", "cases.csv") for path in output.rglob(name)]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


@pytest.mark.slow
def test_a_second_start_does_nothing_again_and_tells_the_same(study, phantoms):
    before, table = written(study), (study / "gradient" / "runs.csv").read_bytes()
    assert len(before) == 6 and table.count(b"\n") == 1 + 2 + 2  # two arms and two baselines, one subject
    assert ablation.main(own_words(study, phantoms)) == 0
    assert written(study) == before and (study / "gradient" / "runs.csv").read_bytes() == table


def test_every_row_is_that_of_the_runs_own_evaluation(study):
    table = list(csv.DictReader((study / "gradient" / "runs.csv").read_text().splitlines()))
    places = json.loads((study / "gradient" / "table.json").read_text())["runs"]
    for place in places:
        cases = csv.DictReader((study / place["folder"] / "evaluation" / "cases.csv").read_text().splitlines())
        (case,) = [row for row in cases if row["method"] == "sct"]
        (row,) = [row for row in table if row["arm"] == place["arm"]]
        assert (row["subject"], row["mae"], row["bone_dice"]) == (case["case"], case["mae"], case["bone_dice"])
    assert [place["arm"] for place in places] == ["off", "absolute"]


def test_a_runs_commands_are_told_without_the_folders_place(study):
    (command,) = [path for path in study.rglob("command.txt") if "loss.gradient" in str(path)]
    train, convert, evaluate = command.read_text().splitlines()
    assert "--loss.gradient=0 " in train and "--output DIR/runs/loss.gradient=0.0/volumes_2/seed_0/train" in train
    assert convert.startswith("cyclegan-gc convert ") and evaluate.startswith("cyclegan-gc evaluate ")
    assert str(study) not in command.read_text()


@pytest.mark.slow
def test_subjects_in_folders_of_their_own_and_jobs_of_an_array_are_all_evaluated(tmp_path, phantoms, monkeypatch):
    """As in BIDS; the array's jobs divide the runs and not the subjects."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    own = own_words(tmp_path / "study", phantoms)
    for kind in ("mr", "ct"):
        (tmp_path / kind / "sub-01").mkdir(parents=True)
        (path,) = (phantoms / "test" / kind).iterdir()
        (tmp_path / kind / "sub-01" / path.name).symlink_to(path)
        own[own.index(f"--test-{kind}") + 1] = str(tmp_path / kind)
    assert ablation.main(own) == 0
    rows = (tmp_path / "study" / "gradient" / "runs.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 + 2  # two arms and two baselines, one subject


def test_figures_of_another_test_set_never_pass_for_those_of_the_first(study, phantoms, tmp_path):
    options = ablation.parse(own_words(study, phantoms))
    run = planning.planned(options, study_volumes.test_sets(options))[0]
    assert run.finished
    (run.folder / "train" / "last.pt").rename(tmp_path / "last.pt")
    (run.folder / "train" / "last.pt").write_bytes(b"none")
    later = replace(run, commands=run.commands[1:])
    assert ablation.carry_out_one(later, options) != 0 and not run.finished
    (tmp_path / "last.pt").replace(run.folder / "train" / "last.pt")
    assert ablation.main(own_words(study, phantoms)) == 0 and run.finished


def test_other_settings_in_the_same_folder_are_refused_in_one_line_and_change_nothing(study, phantoms, capsys):
    before = {path: path.read_bytes() for path in study.rglob("*") if path.suffix in (".txt", ".json", ".csv", ".md")}
    assert ablation.main(own_words(study, phantoms, steps=20)) == 2
    assert "the run's learning rate follows --steps 4" in capsys.readouterr().err.splitlines()[-1]
    assert before == {path: path.read_bytes() for path in before}


def test_more_volumes_than_there_are_is_one_run_with_all_of_them(study, phantoms):
    options = ablation.parse(own_words(study, phantoms, "--volumes", "1", "5", "20"))
    runs = planning.planned(options, study_volumes.test_sets(options))
    assert [(run.arm, run.volumes) for run in runs] == [("off", 1), ("absolute", 1), ("off", 2), ("absolute", 2)]


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_to_the_same_csv_and_tests_another_subject_without_training_again(tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert ablation.main(words_of("gradient", straight)) == 0
    command = [sys.executable, str(ROOT / "scripts" / "ablation.py"), *words_of("gradient", stopped)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list((stopped / "runs").rglob("last.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143 and not list(stopped.rglob("done.json"))
    assert ablation.main(words_of("gradient", stopped, "--jobs", "2")) == 0
    for name in ("runs.csv", "table.md", "table.json", "plot.png"):
        assert (stopped / "gradient" / name).read_bytes() == (straight / "gradient" / name).read_bytes()

    trained = {path: path.stat().st_mtime_ns for path in stopped.rglob("last.pt")}
    assert ablation.main(words_of("gradient", stopped, "--test-subjects", "3")) == 0
    assert (stopped / "gradient" / "runs.csv").read_bytes().count(b"\n") == 1 + 5 * 3
    assert trained == {path: path.stat().st_mtime_ns for path in stopped.rglob("last.pt")}
