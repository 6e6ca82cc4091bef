"""Signals, kills and full disks: real processes, ended for real."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.cli import main
from cyclegan_gc.errors import Interruption
from cyclegan_gc.train.signals import Signals, preempts

INTERRUPT = Path(__file__).parents[2] / "scripts" / "interrupt.py"
STATE = ("networks", "ema", "optimizers", "schedulers", "scaler", "pools", "meter", "rng", "step", "best_score")
LENGTH = {"steps": 120, "validate_every": 60, "save_every": 50, "log_every": 7}


@pytest.fixture(scope="module")
def undisturbed(train_options, run_train, tmp_path_factory) -> Path:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run_train(train_options(folder, **LENGTH))
    return folder


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGTERM, 2),
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 0, marks=pytest.mark.slow),
    ],
)
def test_a_signalled_run_saves_and_goes_on_as_if_never_stopped(
    number, workers, undisturbed, train_options, start_train, run_train, tmp_path, same, logged, wait_for_lines
):
    options = train_options(tmp_path, resume="auto", data__workers=workers, **LENGTH)
    process = start_train(options)
    wait_for_lines(process, tmp_path / "metrics.jsonl", 3)
    started = time.monotonic()
    process.send(number)
    status, _, errors = process.finish()
    assert status == 128 + number
    assert time.monotonic() - started < 30
    stopped = load_checkpoint(tmp_path / "last.pt")
    assert errors == f"cyclegan-gc: stopped by {number.name} after step {stopped['step']}; go on with --resume auto\n"
    assert 21 <= stopped["step"] < 120

    run_train(options)
    resumed, whole = (load_checkpoint(folder / "last.pt") for folder in (tmp_path, undisturbed))
    assert [part for part in STATE if not same(resumed[part], whole[part])] == []
    assert logged(tmp_path) == logged(undisturbed)
    best, best_of_whole = (load_checkpoint(folder / "best.pt") for folder in (tmp_path, undisturbed))
    assert best["step"] == best_of_whole["step"] and same(best["ema"], best_of_whole["ema"])


def test_a_finished_run_leaves_no_thread_behind(train_options, tmp_path):
    options = {**LENGTH, "steps": 8, "validate_every": 4}
    assert main(["train", *train_options(tmp_path, data__workers=2, **options)]) == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("samples")]


def test_a_signal_before_the_steps_ends_the_run_at_once():
    with Signals(), pytest.raises(Interruption, match="stopped by SIGTERM before the first step"):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_postponed_signal_is_noted_and_a_second_control_c_does_not_wait(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with Signals() as signals, signals.postponed():
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.caught == signal.SIGUSR1
        with pytest.raises(Interruption):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_sweeps_agent_ends_a_trial_for_good_and_a_batch_system_for_a_while(monkeypatch):
    monkeypatch.delenv("WANDB_SWEEP_ID", raising=False)
    assert preempts(signal.SIGTERM) and preempts(signal.SIGUSR1) and not preempts(signal.SIGINT) and not preempts(0)
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc")
    assert not preempts(signal.SIGTERM) and preempts(signal.SIGUSR1)


def test_the_handlers_of_before_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with Signals():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before


def test_a_full_disk_keeps_the_checkpoint_and_says_so_in_one_line(train_options, start_train, run_train, tmp_path):
    run_train(train_options(tmp_path, stop_at=5))
    before = (tmp_path / "last.pt").read_bytes()
    process = start_train(train_options(tmp_path, resume="auto"), file_limit=len(before) // 2)
    status, _, errors = process.finish()
    assert status == 4
    assert errors.count("\n") == 1 and "last.pt" in errors and "--resume auto" in errors
    assert (tmp_path / "last.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["last.pt"]
    assert list(tmp_path.glob(".*.part")) == []


def test_a_run_removes_what_a_killed_one_left(train_options, run_train, tmp_path):
    cache = tmp_path / "cache"
    for folder, name in ((tmp_path, "metrics.jsonl"), (tmp_path / "panels", "step_1.png"), (cache, "0.npy")):
        folder.mkdir(exist_ok=True)
        part = folder / f".{name}.0123456789ab.part"
        part.mkdir()
        os.utime(part, (0, 0))
    run_train(train_options(tmp_path, data__cache=cache, steps=1))
    assert not list(tmp_path.rglob(".*.part"))


@pytest.mark.slow
@pytest.mark.parametrize(("terms", "kills", "steps"), [(1, 2, 60), pytest.param(0, 30, 800, id="30-kills")])
def test_killed_at_random_moments_it_ends_with_the_same_weights(train_options, tmp_path, terms, kills, steps):
    options = train_options(tmp_path, steps=steps, log_every=1, save_every=1, validate_every=20)
    position = options.index("--output")
    del options[position : position + 2]
    interruptions = ["--sigterm", str(terms), "--sigkill", str(kills)]
    command = [sys.executable, str(INTERRUPT), str(tmp_path), *interruptions, "--", *options]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    lost = [int(line.split()[-2]) for line in lines if line.startswith("SIG")]
    assert len(lost) == terms + kills and max(lost) <= 1
    hashes = [line.split()[0] for line in lines if line.endswith(f"at step {steps}")]
    assert len(hashes) == 2 and hashes[0] == hashes[1] and len(hashes[0]) == 64
