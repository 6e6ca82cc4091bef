"""The batch script for training, with a stand-in for Slurm's own commands."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "train.slurm"

SRUN = """#!/usr/bin/env bash
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
TORCHRUN = f"""#!/usr/bin/env bash
echo "$@" > "$HERE/torchrun"
exec {sys.executable} -c '
import os, pathlib, signal, sys, time
here = pathlib.Path(os.environ["HERE"])
def stop(number, frame):
    time.sleep(0.5)  # a step is finished and saved
    (here / "saved").touch()
    sys.exit(1)
signal.signal(signal.SIGTERM, stop)
(here / "started").touch()
while not (here / "end").exists():
    time.sleep(0.05)
sys.exit(int((here / "end").read_text()))
'
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo node7; echo node8; else echo "$@" >> "$HERE/scontrol"; fi
"""


@pytest.fixture
def job(tmp_path) -> Iterator[subprocess.Popen]:
    """The script as Slurm starts it, its training under way."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("torchrun", TORCHRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HERE": str(tmp_path),
        "SLURM_JOB_ID": "123",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_CPUS_PER_TASK": "8",
    }
    words = ["bash", str(SCRIPT), "--config", "my run.yaml"]
    process = subprocess.Popen(words, env=environment, text=True, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    yield process
    (tmp_path / "end").write_text("0")
    process.communicate(timeout=30)


def test_the_warning_signal_is_passed_on_waited_for_and_the_job_queued_again(job, tmp_path):
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=30)
    assert (tmp_path / "saved").exists() and job.returncode == 1
    assert (tmp_path / "scontrol").read_text() == "requeue 123\n"
    assert "goes on from the last checkpoint" in out


def test_a_cancelled_job_saves_and_is_not_queued_again(job, tmp_path):
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    assert (tmp_path / "saved").exists() and not (tmp_path / "scontrol").exists()


@pytest.mark.parametrize("code", [0, 4])
def test_a_job_that_ends_by_itself_is_not_queued_again(job, tmp_path, code):
    (tmp_path / "end").write_text(str(code))
    job.communicate(timeout=30)
    assert job.returncode == code and not (tmp_path / "scontrol").exists()


def test_torchrun_is_given_all_nodes_all_gpus_and_the_users_options(job, tmp_path):
    words = (tmp_path / "torchrun").read_text()
    assert "--nnodes=2 --nproc-per-node=4 --rdzv-id=123 --rdzv-backend=c10d --rdzv-endpoint=node7:20123" in words
    assert words.endswith("-m cyclegan_gc.cli train --config my run.yaml --resume auto\n")
    (tmp_path / "end").write_text("0")
    job.communicate(timeout=30)
