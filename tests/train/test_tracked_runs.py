"""Whole trainings whose offline runs are read back: uninterrupted, signalled, killed, failed, of two processes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.tracking.keys import GROUPS, wandb_key
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model

LENGTH = {"steps": 48, "validate_every": 48, "save_every": 6, "log_every": 2, "wandb__mode": "offline"}
OWN = ("_step", "_runtime", "_timestamp", "_wandb/runtime")
"""Values that W&B adds to each line."""
NOT_RESUMED = ("speed/steps_per_second", "speed/slices_per_second", "speed/memory_gb")


@pytest.fixture(scope="module")
def train_tracked(small_config, phantoms, tmp_path_factory):
    """A function that trains a run with true pairs, tracked offline, and returns its folder."""

    def call(*, images: bool) -> Path:
        folder = tmp_path_factory.mktemp("tracked") / "run"
        data = replace(small_config.data, validation_fraction=0.0, validation_pairs=str(phantoms / "test"))
        wandb = WandbConfig(mode="offline", group="tests", images=images)
        train(replace(small_config, output=folder, data=data, wandb=wandb))
        return folder

    return call


@pytest.fixture(scope="module")
def whole(train_tracked) -> Path:
    """An uninterrupted run with the default: no pictures in W&B."""
    return train_tracked(images=False)


@pytest.fixture(scope="module")
def with_pictures(train_tracked) -> Path:
    """The same run with ``wandb.images``."""
    return train_tracked(images=True)


def local_lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def keyed(line: dict) -> dict:
    """The figures of a local line under W&B's keys."""
    return {wandb_key(name): value for name, value in line.items() if name not in ("time", "step")}


def plain_lines(history: list[dict]) -> list[dict]:
    """Lines of figures, without the values that W&B adds and without pictures and tables."""
    lines = [{name: v for name, v in line.items() if name not in OWN} for line in history]
    return [line for line in lines if not any("/_type" in name for name in line)]


def test_the_offline_run_holds_exactly_the_figures_of_the_local_file(whole, offline_runs):
    [run] = offline_runs(whole)
    local = [keyed(line) for line in local_lines(whole)]
    sent = plain_lines(run.history)
    assert [line.pop("global_step") for line in sent] == [line["step"] for line in local_lines(whole)]
    assert sent == local and run.exit_codes == [0]


def test_every_kind_of_figure_is_logged_in_its_group(whole, offline_runs):
    [run] = offline_runs(whole)
    names = {name for line in plain_lines(run.history) for name in line} - {"global_step"}
    assert names >= {
        "loss/generator", "loss/cycle_mr", "loss/gradient_ct", "loss/adversarial_mr", "discriminator/ct",
        "discriminator/ct_on_real", "discriminator/mr_on_fake", "optim/learning_rate",
        "optim/learning_rate_discriminators", "optim/gradient_norm_generators", "speed/slices_per_second",
        "speed/memory_gb", "watchdog/blank_slices", "watchdog/dead_gradients", "watchdog/mode_collapse",
        "validation/score", "validation/outline", "true/mae_body_hu", "true/bone_dice",
    }  # fmt: skip
    assert {name.partition("/")[0] for name in names} == {*GROUPS} - {"panels"}
    steps = {metric.glob_name: metric for metric in run.of("metric") if metric.glob_name}
    assert steps.keys() == {f"{group}/*" for group in GROUPS}
    best = min(line["validation/score"] for line in local_lines(whole) if "validation/score" in line)
    assert run.summary["validation/score"]["min"] == pytest.approx(best)
    assert run.of("run")[0].run_group == "tests" and run.of("run")[0].job_type == "train"


def read_table(run, name: str, line: dict) -> dict:
    """A logged table as W&B stores it."""
    return json.loads((run.folder / "files" / line[f"{name}/path"]).read_text())


def test_by_default_a_tracked_training_keeps_its_pictures_out_of_wandb(whole, offline_runs, wandb_pictures):
    [run] = offline_runs(whole)
    names = {name for line in run.history for name in line} | set(run.summary)
    assert wandb_pictures(whole) == [] and not any(name.startswith("panels/") for name in names)
    tables = [line for line in run.history if "validation/cases/path" in line]
    assert [line["global_step"] for line in tables] == [10, 20]
    table = read_table(run, "validation/cases", tables[0])
    assert "picture" not in table["columns"]
    assert [row[1] for row in table["data"]] == ["held out", "held out", "validation pair"]
    assert len(list((whole / "panels").rglob("*.png"))) >= 10


def test_with_images_every_validation_shows_pictures_and_tables_worst_first(
    with_pictures, offline_runs, wandb_pictures
):
    [run] = offline_runs(with_pictures)
    shown = [line for line in run.history if any("/_type" in name for name in line)]
    assert [line["global_step"] for line in shown] == [10, 20]
    for name in ("mr_to_ct", "ct_to_mr", "planes", "histogram", "error"):
        file = run.folder / "files" / shown[0][f"panels/{name}/path"]
        assert file.read_bytes().startswith(b"\x89PNG") and file in wandb_pictures(with_pictures)
    assert "case-" in shown[0]["panels/planes/caption"]
    table = read_table(run, "validation/cases", shown[0])
    *scores, of_pair = (row[table["columns"].index("score")] for row in table["data"])
    assert scores == sorted(scores, reverse=True) and len(scores) == 2 and of_pair is None
    # The pictures of a table are in its artifact, which is kept below RUN/wandb for `cyclegan-gc sync`.
    staged = [file.read_bytes() for file in (with_pictures / "wandb" / "data").rglob("*") if file.is_file()]
    tables = [json.loads(each) for each in staged if each.startswith(b'{"_type": "table"')]
    assert len(tables) >= 2 and all(each["columns"][-1] == "picture" for each in tables)
    assert all(row[-1]["_type"] == "image-file" for each in tables for row in each["data"])


def test_the_artifacts_are_the_data_and_the_models_without_pictures_of_patients(whole, offline_runs):
    [run] = offline_runs(whole)
    left = {each.type: each for each in run.of("artifact") if each.type != "run_table"}
    aliases = sorted(alias for each in run.of("artifact") if each.type == "model" for alias in each.aliases)
    assert set(aliases) >= {"best", "latest", "step-20"}
    manifest = json.loads((whole / "wandb" / "logged" / "data.json").read_text())
    assert len(manifest["cases"]) == 4 and all(len(case["sha256"]) == 64 for case in manifest["cases"].values())
    model = whole / "wandb" / "logged" / "model_step0000020.pt"
    known, last = json.loads(left["model"].metadata), load_model(whole / "last.pt")
    assert known["checkpoint_sha256"] == last.sha256 and known["file_sha256"] == load_model(model).sha256
    assert known["figures"]["true/bone_dice"] is not None and known["data_sha256"] == run.config["data_sha256"]
    assert last.artifact == f"{left['model'].name}:step-20"
    assert load_checkpoint(model)["pools"] == [] and load_checkpoint(whole / "last.pt")["pools"] != []


def test_true_errors_do_not_choose_the_best(whole):
    scored = {line["step"]: line["validation/score"] for line in local_lines(whole) if "validation/score" in line}
    assert load_checkpoint(whole / "best.pt")["step"] == min(scored, key=lambda step: scored[step])


def assert_one_curve(run: Path, offline_runs, lost: set[int], last: int = LENGTH["steps"]) -> None:
    """Both segments belong to one run, no step is logged twice, and only steps in ``lost`` are missing."""
    runs = offline_runs(run)
    assert len(runs) == 2 and len({each.of("run")[0].run_id for each in runs}) == 1
    sent = [line for each in runs for line in plain_lines(each.history)]
    steps = [line["global_step"] for line in sent if "loss/generator" in line]
    assert steps == sorted(set(steps))
    local = {line["step"]: keyed(line) for line in local_lines(run) if "generator" in line}
    for line in (line for line in sent if "loss/generator" in line):
        known = {k: v for k, v in local[line["global_step"]].items() if k in line and k not in NOT_RESUMED}
        assert known == {k: line[k] for k in known}
    assert set(local) - set(steps) <= lost and max(steps) == last


def test_a_run_ended_by_sigterm_is_marked_preempted_and_resumes_as_the_same_run(
    train_options, start_train, run_train, tmp_path, offline_runs, wait_for_lines
):
    options = train_options(tmp_path, resume="auto", **LENGTH)
    process = start_train(options)
    wait_for_lines(process, tmp_path / "metrics.jsonl", 4)
    process.send(signal.SIGTERM)
    status, _, errors = process.finish()
    assert status == 143, errors
    [first] = offline_runs(tmp_path)
    assert first.exit_codes == [143] and first.of("preempting")
    assert any(artifact.type == "model" for artifact in first.of("artifact"))
    assert len(plain_lines(first.history)) == len(local_lines(tmp_path))
    run_train(options)
    assert_one_curve(tmp_path, offline_runs, lost=set())
    assert offline_runs(tmp_path)[1].exit_codes == [0]


@pytest.mark.slow
def test_a_killed_run_lacks_the_last_seconds_at_most_and_resumes_as_the_same_run(
    train_options, start_train, run_train, tmp_path, offline_runs, wait_for_lines
):
    length = {**LENGTH, "steps": 100_000, "validate_every": 100_000}
    process = start_train(train_options(tmp_path, resume="auto", **length))
    wait_for_lines(process, tmp_path / "metrics.jsonl", 1)
    time.sleep(5)  # so that some lines are older than the seconds that may be lost, on any machine
    os.kill(process.pid, signal.SIGKILL)
    killed = time.time()
    process.finish()
    time.sleep(1)  # W&B's own process notices, and ends
    [first] = offline_runs(tmp_path)
    assert first.exit_codes == []
    sent = {line["global_step"] for line in plain_lines(first.history)}
    missing = [line for line in local_lines(tmp_path) if line["step"] not in sent]
    assert sent and all(killed - line["time"] < 3 for line in missing)
    stop_at = 2 * (local_lines(tmp_path)[-1]["step"] // 2) + 6
    run_train(train_options(tmp_path, resume="auto", stop_at=stop_at, **length))
    assert_one_curve(tmp_path, offline_runs, lost={line["step"] for line in missing}, last=stop_at)


def test_a_training_that_fails_is_a_failed_run(small_config, tmp_path, offline_runs):
    optimizer = replace(small_config.optimizer, learning_rate=1e30)
    with pytest.raises(TrainingStoppedError):
        train(replace(small_config, output=tmp_path, optimizer=optimizer, wandb=WandbConfig(mode="offline")))
    [run] = offline_runs(tmp_path)
    assert run.exit_codes == [1] and not any(each.type == "model" for each in run.of("artifact"))


@pytest.mark.slow
def test_only_the_first_of_two_processes_is_tracked(train_options, tmp_path, offline_runs):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = [*torchrun, "-m", "cyclegan_gc.cli", "train", *train_options(tmp_path, wandb__mode="offline")]
    result = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stderr
    [run] = offline_runs(tmp_path)
    assert run.exit_codes == [0] and len(plain_lines(run.history)) == len(local_lines(tmp_path))
