"""A training that takes seconds, and the same as a command line."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import Program

from cyclegan_gc.cli import main
from cyclegan_gc.device import one_torch_thread

SMALL = {
    "data.crop": "[32, 24]",
    "data.workers": "0",
    "steps": "20",
    "log_every": "1",
    "validate_every": "10",
    "save_every": "5",
    "device": "cpu",
    "preprocess.spacing_mm": "6.0",
    "network.width": "4",
    "network.blocks": "1",
    "network.discriminator_width": "4",
    "network.discriminator_layers": "1",
    "optimizer.batch_size": "2",
    "optimizer.learning_rate": "1e-3",
    "optimizer.pool_size": "4",
    "optimizer.ema_decay": "0.9",
    "wandb.mode": "disabled",
}


@pytest.fixture(scope="session")
def train_options(phantoms: Path, cache: Path) -> Callable[..., list[str]]:
    """The options of a small training into a folder; keywords with __ for dots change them."""

    def options(output: Path, **changes: object) -> list[str]:
        settings = {
            "data.mr": phantoms / "mr",
            "data.ct": phantoms / "ct",
            "data.cache": cache,
            "output": output,
            **SMALL,
            **{name.replace("__", "."): value for name, value in changes.items()},
        }
        return [word for name, value in settings.items() for word in (f"--{name}", str(value))]

    return options


@pytest.fixture(scope="session")
def start_train() -> Callable[..., Program]:
    """Starts `train` in a process of its own."""
    return lambda options, **more: Program(partial(main, ["train", *options]), **more)


@pytest.fixture(scope="session")
def run_train() -> Callable[[Sequence[str]], None]:
    """Runs `train` to its end in this process with one thread: the bits are those of a process of its own."""

    def run(options: Sequence[str]) -> None:
        with one_torch_thread():
            assert main(["train", *options]) == 0

    return run


def same(one: Any, other: Any) -> bool:
    """Bitwise equality of nested checkpoints."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.fixture(scope="session", name="same")
def same_fixture() -> Callable[[Any, Any], bool]:
    """Bitwise equality of nested checkpoints."""
    return same


def logged(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl without their clocks."""
    clocks = ("time", "steps_per_second", "slices_per_second", "memory_gb")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in clocks} for line in lines]


@pytest.fixture(scope="session", name="logged")
def logged_fixture() -> Callable[[Path], list[dict[str, float]]]:
    """The lines of metrics.jsonl without their clocks."""
    return logged


@pytest.fixture(scope="session")
def wait_for_lines() -> Callable[[Program, Path, int], None]:
    """Waits until a running process has written so many lines into a file."""

    def wait(process: Program, file: Path, count: int) -> None:
        deadline = time.monotonic() + 120
        while not file.exists() or file.read_text().count("\n") < count:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return wait
