"""Two processes train one model: started by torchrun, joined over gloo. A single one is this process."""

import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from processes import Program

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.cli import main
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError
from cyclegan_gc.train.opening import open_run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
STATE = ("networks", "ema", "optimizers", "schedulers", "pools", "meter", "rng", "step", "best_score")


def start(processes: int, options: list[str]) -> subprocess.Popen:
    command = [*TORCHRUN, f"--nproc-per-node={processes}", "-m", "cyclegan_gc.cli", "train", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def two_ranks(call: Callable[[], object]) -> str:
    """The same call in two processes that find each other, and what they print."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    job = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [Program(call, job | {"RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")]
    printed = ""
    for status, out, errors in (rank.finish(240) for rank in ranks):
        assert status == 0, errors
        printed += out + errors
    return printed


def finish(options: list[str]) -> str:
    return two_ranks(partial(main, ["train", *options]))


def process_of_rank(rank: int, folder: Path) -> int:
    """Number of the process that trains as ``rank`` into ``folder``."""
    for entry in Path("/proc").iterdir():
        try:
            words, environment = ((entry / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
            if str(folder).encode() in words and f"RANK={rank}".encode() in environment:
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"no process has rank {rank}")


@pytest.fixture(scope="module")
def two(train_options, tmp_path_factory) -> Path:
    """An undisturbed run of two processes, with pools."""
    folder = tmp_path_factory.mktemp("two")
    finish(train_options(folder))
    return folder


def test_one_and_two_processes_see_the_same_samples_and_agree(train_options, run_train, phantoms, tmp_path, logged):
    """The first step's figures agree to the last digits of float32; then machines differ in how rounding grows."""
    lines = []
    pairs = {"data__pairs": phantoms / "test", "paired__every": 2, "paired__l1": 3}
    for train in (run_train, finish):
        folder = tmp_path / train.__name__
        train(train_options(folder, optimizer__pool_size=0, optimizer__learning_rate=1e-4, **pairs))
        lines.append(logged(folder))
    assert [line.keys() for line in lines[0]] == [line.keys() for line in lines[1]]
    assert lines[1][0] == pytest.approx(lines[0][0], rel=2e-5, abs=1e-6)
    for one, other in zip(*lines, strict=True):
        assert other == pytest.approx(one, rel=5e-2, abs=1e-3)  # other samples differ by far more


IN_FLOAT64 = """
import torch
from cyclegan_gc.config import DataConfig, LossConfig, NetworkConfig, OptimizerConfig, TrainConfig
from cyclegan_gc.distributed import joined
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.state import build_state, state_dict
from cyclegan_gc.train.step import train_step

network = NetworkConfig(width=4, blocks=2, discriminator_width=4, discriminator_layers=1)
optimizer = OptimizerConfig(batch_size=4, learning_rate=1e-3, pool_size=0)
config = TrainConfig(".", DataConfig("", "", crop=(32, 32)), steps=10, network=network, optimizer=optimizer)
random = torch.Generator().manual_seed(0)
with joined(torch.device("cpu"), 60) as ranks:
    state = build_state(config, torch.device("cpu"), ranks.rank)
    for network in (*state.networks.values(), *state.averages.values()):
        network.double()
    for _ in range(5):
        images = [torch.rand(4, 1, 32, 32, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(2)]
        masks = [torch.ones(4, 1, 32, 32, dtype=torch.bool) for _ in range(2)]
        depths = [torch.linspace(0, 1, 32).expand(4, 1, 32, 32)] * 2
        share = Batch(*images, *masks, *depths).parts(ranks.size)[ranks.rank]
        train_step(state, share, LossConfig(identity=0.5, depth_histogram=1.0), ranks=ranks)
    if ranks.first:
        torch.save({name: state_dict(state)[name] for name in ("networks", "ema")}, f"{ranks.size}.pt")
"""


def test_two_processes_train_the_weights_that_one_trains(tmp_path, monkeypatch):
    """In float64, where rounding stays far below Adam's epsilon; in float32 Adam makes whole steps of it."""
    script = tmp_path / "steps.py"
    script.write_text(IN_FLOAT64)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))
    two_ranks(partial(runpy.run_path, str(script)))
    results = [torch.load(tmp_path / name) for name in ("1.pt", "2.pt")]
    for part in ("networks", "ema"):
        for name, weights in results[0][part].items():
            for key, value in weights.items():
                torch.testing.assert_close(results[1][part][name][key], value, rtol=1e-9, atol=1e-9)


def test_a_run_of_two_stopped_and_resumed_equals_the_undisturbed_one(two, train_options, tmp_path, same, logged):
    finish(train_options(tmp_path, stop_at=9))
    finish(train_options(tmp_path, resume="auto"))
    resumed, whole = load_checkpoint(tmp_path / "last.pt"), load_checkpoint(two / "last.pt")
    assert [part for part in STATE if not same(resumed[part], whole[part])] == []
    assert logged(tmp_path) == logged(two)


def test_each_process_keeps_its_own_pool(two, same):
    pools = load_checkpoint(two / "last.pt")["pools"]
    assert len(pools) == 2 and len(pools[0]["ct"]["images"]) == len(pools[1]["ct"]["images"]) == 4
    assert not same(pools[0]["ct"], pools[1]["ct"])


def test_only_the_first_process_writes(two):
    assert sorted(path.name for path in two.iterdir()) == [
        "best.pt", "config.json", "index.html", "last.pt", "metrics.jsonl", "panels", "previous.pt", "progress.png",
        "pseudonyms.json",
    ]  # fmt: skip
    assert (two / "metrics.jsonl").read_text().count('"generator"') == 20


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes_and_says_what_is_lost(
    train_options, run_train, tmp_path, capfd
):
    run_train(train_options(tmp_path, stop_at=7))
    said = finish(train_options(tmp_path, resume="auto", stop_at=14))
    pools = [len(load_checkpoint(tmp_path / "last.pt")["pools"])]
    capfd.readouterr()
    run_train(train_options(tmp_path, resume="auto"))
    state = load_checkpoint(tmp_path / "last.pt")
    assert [*pools, len(state["pools"])] == [2, 1] and state["step"] == 20
    lost = "the image pools are distributed again"
    assert said.count(lost) == 1 and "".join(capfd.readouterr()).count(lost) == 1


def test_a_batch_that_cannot_be_shared_out_is_refused(small_config):
    config = replace(small_config, optimizer=replace(small_config.optimizer, batch_size=3))
    with pytest.raises(UserError, match=r"--optimizer\.batch_size 3: not a multiple of 2 processes"):
        open_run(config, torch.device("cpu"), Ranks(0, 2))


@pytest.mark.slow
def test_torchruns_sigterm_saves_and_the_run_goes_on_as_if_never_stopped(
    train_options, tmp_path, same, logged, wait_for_lines
):
    length = {"steps": 80, "validate_every": 40, "save_every": 40}
    finish(train_options(tmp_path / "whole", **length))
    options = train_options(tmp_path / "parted", resume="auto", **length)
    process = start(2, options)
    wait_for_lines(process, tmp_path / "parted" / "metrics.jsonl", 5)
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode != 0 and time.monotonic() - started < 30
    assert 5 <= load_checkpoint(tmp_path / "parted" / "last.pt")["step"] < 80
    finish(options)
    resumed, whole = (load_checkpoint(tmp_path / name / "last.pt") for name in ("parted", "whole"))
    assert [part for part in STATE if not same(resumed[part], whole[part])] == []
    assert logged(tmp_path / "parted") == logged(tmp_path / "whole")


@pytest.mark.parametrize(
    ("how", "within"), [(signal.SIGKILL, 20), pytest.param(signal.SIGSTOP, 60, marks=pytest.mark.slow)]
)
def test_a_dead_or_sleeping_peer_ends_the_job_with_the_cause_last(how, within, train_options, tmp_path, wait_for_lines):
    """torchrun itself waits half a minute for a process that does not listen."""
    process = start(2, train_options(tmp_path, steps=100_000, peer_timeout=5))
    wait_for_lines(process, tmp_path / "metrics.jsonl", 5)
    started = time.monotonic()
    os.kill(process_of_rank(1, tmp_path), how)
    _, errors = process.communicate(timeout=within)
    assert process.returncode != 0 and time.monotonic() - started < within
    cause = errors[errors.rindex("Root Cause") :]
    if how == signal.SIGKILL:  # torchrun may notice it and end the other one before that has a word in it
        assert "Signal 9 (SIGKILL)" in cause or "another process died or hung" in cause
    else:
        assert "another process died or hung longer than --peer_timeout" in errors
