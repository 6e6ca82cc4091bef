import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Artifact, Picture, Table, Tracker, WandbRun, privacy

OFFLINE = WandbConfig(mode="offline")
WITH_PICTURES = WandbConfig(mode="offline", images=True)
GREY = Picture(np.full((8, 8), 200, np.uint8), "MR, sCT")


def figures(lines: list[dict]) -> list[tuple[int, float]]:
    return [(line["global_step"], line["loss/cycle_mr"]) for line in lines if "loss/cycle_mr" in line]


def test_an_offline_run_holds_figures_pictures_tables_artifacts_and_the_exit_code(run, offline_runs):
    (run / "model.pt").write_bytes(b"weights")
    tracker = Tracker(run, WITH_PICTURES, {"loss": {"cycle": 10}}, name="cycle10")
    tracker.log(5, {"cycle_mr": 0.25, "validation/score": 3.0})
    tracker.log(6, {"cycle_mr": 0.35, "validation/score": 4.0, "true/psnr": float("inf")})
    tracker.show(6, {"panels/mr_to_ct": GREY, "validation/cases": Table(["case", "picture"], [["case-1", GREY]])})
    tracker.log_artifacts(lambda: [Artifact("model-x", "model", run / "model.pt", "model.pt", {"step": 6}, ["best"])])
    tracker.close()
    [offline] = offline_runs(run)
    assert figures(offline.history) == [(5, 0.25), (6, 0.35)]
    assert offline.history[1]["true/psnr"] is None
    shown = offline.history[2]
    assert shown["panels/mr_to_ct/caption"] == "MR, sCT" and shown["validation/cases/nrows"] == 1
    assert shown["validation/cases/ncols"] == 2
    assert (offline.folder / "files" / shown["panels/mr_to_ct/path"]).stat().st_size > 0
    assert offline.config["loss"] == {"cycle": 10} and offline.of("run")[0].display_name == f"cycle10-{tracker.run_id}"
    assert offline.summary["validation/score"] == {"min": 3} and offline.summary["loss/cycle_mr"] == 0.35
    models = [artifact for artifact in offline.of("artifact") if artifact.type == "model"]
    assert [(each.name, sorted(each.aliases), each.metadata) for each in models] == [
        ("model-x", ["best", "latest"], '{"step":6}')
    ]
    assert offline.exit_codes == [0]


def test_nothing_is_left_in_the_home_folder_and_the_environment_is_as_before(run, no_account, monkeypatch):
    monkeypatch.setenv("WANDB_NOTES", "a note")
    before = dict(os.environ)
    (run / "model.pt").write_bytes(b"weights")
    tracker = Tracker(run, WITH_PICTURES, {})
    tracker.log_artifacts(lambda: [Artifact("model-x", "model", run / "model.pt", "model.pt")])
    tracker.show(1, {"cases": Table(["picture"], [[GREY]])})
    tracker.close()
    assert list(no_account.rglob("*")) == [] and dict(os.environ) == before
    copies = [file for file in run.rglob("*") if file.is_file() and file.read_bytes() == b"weights"]
    assert copies == [run / "model.pt"]


def test_wandb_reports_no_error_of_its_own_to_its_makers(run):
    from wandb.env import error_reporting_enabled

    with privacy.private_environment(run):
        assert not error_reporting_enabled()


def test_the_local_file_is_written_without_wandb(tmp_path):
    tracker = Tracker(tmp_path, WandbConfig(mode="disabled"), {})
    tracker.log(1, {"cycle_mr": 0.5, "psnr": float("inf")})
    tracker.close()
    [line] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["cycle_mr"] == 0.5 and json.loads(line)["psnr"] is None
    assert tracker.run_id is None and not (tmp_path / "wandb").exists()


def test_figures_sent_before_are_not_sent_again_after_a_resume(run, offline_runs):
    """The checkpoint is of step 10; the first call crashes at step 30, the second at 20, the third reaches 50."""
    first = Tracker(run, OFFLINE, {})
    for step in (10, 20, 30):
        first.log(step, {"cycle_mr": step})
    first.close(exit_code=1)
    for last in (20, 50):
        resumed = Tracker(run, OFFLINE, {}, step=10, run_id=first.run_id)
        for step in range(20, last + 1, 10):
            resumed.log(step, {"cycle_mr": step})
        resumed.close()
    runs = offline_runs(run)
    assert {each.of("run")[0].run_id for each in runs} == {first.run_id}
    sent = [step for each in runs for step, _ in figures(each.history)]
    assert sent == [10, 20, 30, 40, 50]
    kept = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert kept == [10, 20, 30, 40, 50]


WITHOUT_SERVICE = """
import os, signal, sys
from pathlib import Path
import numpy as np
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Picture, Tracker

tracker = Tracker(Path(sys.argv[1]), WandbConfig(mode="offline", images=True), {})
tracker.log(1, {"cycle_mr": 0.5})
for entry in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
    try:
        parent, command = (entry / "stat").read_text().rpartition(")")[2].split()[1], (entry / "cmdline").read_text()
    except OSError:
        continue
    if int(parent) == os.getpid() and "wandb-core" in command:
        os.kill(int(entry.name), signal.SIGKILL)
for step in range(2, 40):
    tracker.log(step, {"cycle_mr": 0.5})
    tracker.show(step, {"panels": Picture(np.zeros((8, 8), np.uint8))})
tracker.close()
"""


def test_the_end_of_wandbs_process_does_not_end_the_training(run):
    started = time.monotonic()
    result = subprocess.run([sys.executable, "-c", WITHOUT_SERVICE, run], capture_output=True, text=True)
    assert result.returncode == 0 and time.monotonic() - started < 30
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 39
    assert result.stderr.count("going on without it") == result.stderr.count("\n") == 1


def test_without_a_network_the_run_is_offline_after_seconds(run, monkeypatch, capfd, offline_runs):
    """The server cannot be reached; the wait of 20 s is shortened to 3."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(privacy, "TIMEOUT_SECONDS", 3)
    started = time.monotonic()
    tracker = Tracker(run, WandbConfig(mode="online"), {})
    tracker.log(1, {"cycle_mr": 0.5})
    tracker.close()
    assert time.monotonic() - started < 10
    assert "W&B online failed" in capfd.readouterr().err
    assert figures(offline_runs(run)[-1].history) == [(1, 0.5)]


def test_a_refused_key_makes_the_run_offline_at_once(run, refusing, capfd, offline_runs):
    started = time.monotonic()
    tracker = Tracker(run, WandbConfig(mode="online"), {})
    tracker.log(1, {"cycle_mr": 0.5})
    tracker.close()
    assert time.monotonic() - started < 20
    assert "W&B online failed" in capfd.readouterr().err
    assert figures(offline_runs(run)[-1].history) == [(1, 0.5)]


def test_a_folder_that_cannot_be_written_ends_the_tracking_only(run, capfd):
    (run / "wandb").write_text("a file where W&B wants a folder")
    tracker = Tracker(run, OFFLINE, {})
    tracker.log(1, {"cycle_mr": 0.5})
    tracker.close()
    assert (run / "metrics.jsonl").read_text().count("cycle_mr") == 1


def test_a_crash_marks_the_run_failed_and_a_signal_marks_it_preempted(run, tmp_path, offline_runs):
    with pytest.raises(RuntimeError), WandbRun(run, OFFLINE, {}, job_type="convert"):
        raise RuntimeError
    [failed] = offline_runs(run)
    assert failed.exit_codes == [1] and failed.of("run")[0].job_type == "convert"
    tracker = Tracker(tmp_path, OFFLINE, {})
    tracker.close(143, preempted=True)
    [ended] = offline_runs(tmp_path)
    assert ended.exit_codes == [143] and ended.of("preempting")


def test_a_picture_that_is_not_uint8_is_refused():
    with pytest.raises(ValueError, match="float32"):
        Picture(np.zeros((4, 4), np.float32))  # pyright: ignore[reportArgumentType]


def test_a_disabled_run_prints_nothing(run, capsys):
    WandbRun(run, WandbConfig(mode="disabled", images=True), {}, job_type="train").finish()
    assert capsys.readouterr() == ("", "")


def test_an_artifact_that_cannot_be_linked_is_reported_and_the_tracking_goes_on(run, offline_runs, capsys):
    with WandbRun(run, OFFLINE, {}, job_type="convert") as wandb_run:
        wandb_run.use("model-x:best")
        assert wandb_run.log({"converted": 1})
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "W&B cannot link to model-x:best" in error and "holds its hash" in error


def test_work_that_fails_for_wandb_alone_ends_the_tracking_only(run, capsys):
    with WandbRun(run, OFFLINE, {}, job_type="convert") as wandb_run:
        wandb_run.attempt(lambda: 1 / 0)
        assert not wandb_run.log({"converted": 1})
    assert "W&B failed (division by zero); going on without it" in capsys.readouterr().err


def test_a_call_that_is_too_slow_online_is_the_last_one(no_account, tmp_path, monkeypatch, capsys):
    """Some calls of W&B wait 19 s for a silent server and raise nothing."""
    monkeypatch.setattr("cyclegan_gc.tracking.wandb_run.SLOW_SECONDS", -1.0)
    run = WandbRun(tmp_path, WandbConfig(mode="offline"), {}, job_type="train")
    assert run.log({"cycle_mr": 0.5}) and run.log({"cycle_mr": 0.4})  # offline nothing waits for a server
    run.mode = "online"
    run.attempt(lambda: None)  # local work for W&B may take longer
    assert run.log({"cycle_mr": 0.3})
    assert "its server does not answer" in capsys.readouterr().err
    assert not run.log({"cycle_mr": 0.2})
    run.finish()


def test_online_without_a_key_becomes_offline_and_says_why(no_account, tmp_path, capsys):
    run = WandbRun(tmp_path, WandbConfig(mode="online"), {}, job_type="train")
    run.finish()
    assert run.mode == "offline" and "no API key" in capsys.readouterr().err
