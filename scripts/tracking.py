#!/usr/bin/env python3
"""Measures the cost of tracking beside the steps of the demo: log lines of figures, and pictures of a validation.

    python scripts/tracking.py OUTPUT

Steps and tracking (W&B offline, with pictures) take turns in one process with one thread. The script prints CPU
seconds, including those of W&B's own process, and their ratios: for the recipe's interval of log lines and, as the
worst case, for a line at each step.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cyclegan_gc.config import DemoConfig, WandbConfig
from cyclegan_gc.demo import recipe
from cyclegan_gc.distributed import ALONE
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train.display import Display
from cyclegan_gc.train.events import log_figures, take_step, validate_run
from cyclegan_gc.train.opening import open_run
from cyclegan_gc.train.run import Run
from cyclegan_gc.validate.fixed_slices import look_at
from cyclegan_gc.validate.true_pairs import TruePair

BLOCK = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of phantoms and a run")
    parser.add_argument("--rounds", type=int, default=6, help="rounds of 20 steps, and of one validation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    phantoms = options.output / "phantoms"
    if not phantoms.exists():
        write_phantoms(phantoms, subjects=8, test_subjects=4, seed=0)
    plain = recipe(DemoConfig(device="cpu"), phantoms, options.output / f"run_{os.getpid()}")
    data = replace(plain.data, validation_pairs=str(phantoms / "test"))
    run = open_run(
        replace(plain, data=data, wandb=WandbConfig(mode="offline", images=True)), torch.device("cpu"), ALONE
    )
    step, logged = figures_cost(run, options.rounds)
    every = run.config.log_every
    print(f"a step: {1000 * step:.1f} ms; a log line: {1000 * logged:.2f} ms")
    print(f"figures: {100 * logged / step / every:.3f} % at every {every} steps, {100 * logged / step:.2f} % at each")
    looked, shown, paired = pictures_cost(run, options.rounds)
    for name, cost in (("validation", looked), ("pictures and tables", shown), ("with true pairs", paired)):
        shares = ", ".join(
            f"{100 * cost / step / interval:.2f} % at every {interval} steps" for interval in (1000, 500)
        )
        print(f"{name}: {cost:.2f} s a validation, {shares}")
    run.close(0)
    return 0


def figures_cost(run: Run, rounds: int) -> tuple[float, float]:
    """CPU seconds of a step and of a log line after it, including W&B's own process; medians over the rounds."""
    steps, lines, samples = [], [], run.batches()
    with Display(0, run.config.end, run.device, shown=False) as display:
        for _ in range(rounds + 1):  # the first round warms up
            stepped, logged, theirs = 0.0, 0.0, wandb_seconds()
            for batch, pairs in islice(samples, BLOCK):
                since = time.process_time()
                take_step(run, batch, pairs)
                done = time.process_time()
                log_figures(run, display)
                stepped, logged = stepped + done - since, logged + time.process_time() - done
            steps.append(stepped / BLOCK)
            lines.append((logged + wandb_seconds() - theirs) / BLOCK)
    return float(np.median(steps[1:])), float(np.median(lines[1:]))


def pictures_cost(run: Run, rounds: int) -> tuple[float, float, float]:
    """CPU seconds of a validation alone, and of its pictures and tables without and with true pairs; medians."""
    held_out = run.held_out
    assert held_out is not None and held_out.fixed is not None
    fixed, costs = held_out.fixed, []
    for _ in range(rounds):

        def show(pairs: Sequence[TruePair]) -> None:
            run.progress.step += 1
            validate_run(replace(run, held_out=replace(held_out, pairs=pairs)), Display(0, 1, run.device, shown=False))

        costs.append(
            [
                cpu_seconds(lambda: look_at(fixed, run.translator(), run.config.loss)),
                cpu_seconds(lambda: show([])),
                cpu_seconds(lambda: show(held_out.pairs)),
            ]
        )
    looked, shown, paired = np.median(costs, axis=0)
    return float(looked), float(shown - looked), float(paired - looked)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process and of W&B's process while ``work`` runs."""
    before = time.process_time() + wandb_seconds()
    work()
    return time.process_time() + wandb_seconds() - before


def wandb_seconds() -> float:
    """CPU seconds of the processes that this one started, so far."""
    total = 0
    for entry in (entry for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
