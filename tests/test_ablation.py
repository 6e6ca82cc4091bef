"""The ablation runner: its studies are what they say, and what it did once it does not do again."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ablation
import pytest
import studies

from cyclegan_gc.cli import settings_of
from cyclegan_gc.config import public_settings

ROOT = Path(__file__).parents[1]
PRESETS = [str(ROOT / "configs" / name) for name in ("phantom.yaml", "head.yaml")]
NEEDED = ["--data.mr", "A", "--data.ct", "B", "--output", "RUN"]
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


def words_of(study: str, output: Path, *more: str, steps: int = 10) -> list[str]:
    """A study of seconds."""
    little = ["--volumes", "2", "--seeds", "0", "--test-subjects", "2", "--wandb-mode", "disabled"]
    return [study, str(output), "--config", PRESETS[0], *little, "--steps", str(steps), *more, "--", *SMALL]


def planned(study: str, output: Path, *more: str) -> list[studies.Run]:
    options = ablation.parse(words_of(study, output, *more))
    return studies.planned(options, studies.test_set(options))


def settings(preset: str, arm: studies.Flags) -> dict[str, object]:
    return studies.flat(public_settings(settings_of(["train", "--config", preset, *arm, *NEEDED])))


def changed(preset: str, arm: studies.Flags, other: studies.Flags) -> set[str]:
    one, two = settings(preset, arm), settings(preset, other)
    return {name for name in one if one[name] != two[name]}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("study", studies.STUDIES)
def test_every_arm_is_a_training_of_its_own(study, preset):
    arms = [str(settings(preset, flags)) for flags in studies.STUDIES[study].values()]
    assert len(arms) >= 3 and len(set(arms)) == len(arms)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_studies_isolate_what_they_are_named_after(preset):
    gradient, weights = (studies.STUDIES[name].values() for name in ("gradient", "weights"))
    assert all(changed(preset, flags, ()) <= {"loss.gradient", "loss.gradient_mode"} for flags in gradient)
    assert all(changed(preset, flags, ()) <= {"loss.gradient"} for flags in weights)
    recipe, network = (studies.STUDIES[name] for name in ("recipe", "network"))
    loss = {"loss.cycle", "loss.identity", "loss.gradient"}
    assert changed(preset, recipe["plain"], recipe["default"]) == loss
    assert {name.split(".")[0] for name in changed(preset, *list(network.values())[:2])} == {"network"}


def test_plain_cyclegan_is_that_of_its_paper():
    plain = settings(PRESETS[0], studies.STUDIES["recipe"]["plain"])
    assert (plain["loss.cycle"], plain["loss.identity"], plain["loss.gradient"]) == (10, 5, 0)


def test_a_run_that_studies_share_has_one_folder(tmp_path):
    folders = {study: {run.arm: run.folder for run in planned(study, tmp_path)} for study in studies.STUDIES}
    assert folders["gradient"]["absolute"] == folders["recipe"]["default"] == folders["weights"]["0.3"]
    assert folders["gradient"]["absolute"] == folders["learning_rate"]["default 4e-4"]
    assert folders["gradient"]["off"] == folders["recipe"]["off"] == folders["weights"]["0"]
    assert all(len(set(each.values())) == len(each) for each in folders.values())


def test_smaller_sets_are_the_first_of_the_largest_and_nobody_is_tested_on_who_was_trained_on(tmp_path):
    runs = planned("gradient", tmp_path, "--volumes", "1", "3", "--seeds", "0", "1", "--arms", "off")
    few, many = ([set(run.record["trained_on"][0].split()) for run in runs if run.volumes == n] for n in (1, 3))
    assert [len(each) for each in (*few, *many)] == [1, 1, 3, 3]
    assert all(each < whole for each, whole in zip(few, many, strict=True))
    hashes = {path: hashlib.sha256(path.read_bytes()).digest() for path in tmp_path.rglob("head_*.nii.gz")}
    assert len(set(hashes.values())) == len(hashes) == 2 + 2 * (3 + 3) + 3 * 2


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_parts_hold_every_run_once(jobs, tmp_path):
    runs = planned("weights", tmp_path)
    parts = [part for shard in ((1, 2), (2, 2)) for part in ablation.divided(shard, jobs)]
    found = [run.folder for part in parts for run in ablation.part_of(runs, part)]
    assert sorted(found) == sorted(run.folder for run in runs)


def test_an_arm_that_is_not_there_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        ablation.parse(["gradient", "DIR", "--arms", "of"])
    assert "gradient has no of; it has off, absolute, signed" in capsys.readouterr().err


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """A study of two arms that was carried out."""
    output = tmp_path_factory.mktemp("study")
    assert ablation.main(words_of("gradient", output, "--arms", "off", "absolute")) == 0
    return output


def written(output: Path) -> dict[Path, tuple[int, bytes]]:
    """Every result by the time it was written."""
    files = [path for name in ("last.pt", "metrics.jsonl", "cases.csv") for path in output.rglob(name)]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_second_start_does_nothing_again_and_tells_the_same(study):
    before, table = written(study), (study / "gradient" / "runs.csv").read_bytes()
    assert len(before) == 6 and table.count(b"\n") == 1 + 2 * 2 + 2 * 2  # two arms and two baselines, two subjects
    assert ablation.main(words_of("gradient", study, "--arms", "off", "absolute")) == 0
    assert written(study) == before and (study / "gradient" / "runs.csv").read_bytes() == table


def test_another_subject_is_converted_without_training_again(study):
    before = written(study)
    assert ablation.main(words_of("gradient", study, "--arms", "off", "absolute", "--test-subjects", "3")) == 0
    assert (study / "gradient" / "runs.csv").read_bytes().count(b"\n") == 1 + 4 * 3
    trained = [path for path in before if path.name == "last.pt"]
    assert [before[path] for path in trained] == [written(study)[path] for path in trained]


def test_other_settings_in_the_same_folder_are_refused_in_one_line(study, capsys):
    words = words_of("gradient", study, "--arms", "off", steps=20)
    assert ablation.main(words) == 2
    assert "not the same run (steps: 10 in the checkpoint, 20 now" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.slow
def test_a_study_that_was_stopped_goes_on_to_the_same_csv(tmp_path):
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    assert ablation.main(words_of("gradient", straight, steps=40)) == 0
    command = [sys.executable, str(ROOT / "scripts" / "ablation.py"), *words_of("gradient", stopped, steps=40)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    while not list((stopped / "runs").rglob("last.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 143 and not list(stopped.rglob("done.json"))
    assert ablation.main(words_of("gradient", stopped, "--jobs", "2", steps=40)) == 0
    for name in ("runs.csv", "table.md", "table.json", "plot.png"):
        assert (stopped / "gradient" / name).read_bytes() == (straight / "gradient" / name).read_bytes()
