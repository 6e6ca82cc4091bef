#!/usr/bin/env python3
"""Measures the cost of tracking beside the steps of the demo: figures in a log line, and pictures of a validation.

    python scripts/tracking.py OUTPUT

Steps and tracking (W&B offline) take turns in one process with one thread. CPU seconds, including those of W&B's own
process, and their ratios are printed. Figures are logged as often as in the recipe and, as the worst case, at each
step.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cyclegan_gc.config import DemoConfig, WandbConfig
from cyclegan_gc.demo import recipe
from cyclegan_gc.distributed import ALONE
from cyclegan_gc.model.cyclegan import Networks
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train import loop
from cyclegan_gc.train.batches import batches_from
from cyclegan_gc.train.run import Run, open_run
from cyclegan_gc.train.step import train_step
from cyclegan_gc.train.validation import validation_of
from cyclegan_gc.validate.fixed_slices import fixed_slices, validate

BLOCK = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of phantoms and a run")
    parser.add_argument("--rounds", type=int, default=6, help="number of rounds, each of 20 steps and one validation")
    options = parser.parse_args()
    torch.set_num_threads(1)
    phantoms = options.output / "phantoms"
    if not phantoms.exists():
        write_phantoms(phantoms, subjects=8, test_subjects=4, seed=0)
    plain = recipe(DemoConfig(device="cpu"), phantoms, options.output / f"run_{os.getpid()}")
    data = replace(plain.data, validation_pairs=str(phantoms / "test"))
    run = open_run(replace(plain, data=data, wandb=WandbConfig(mode="offline")), torch.device("cpu"), ALONE)
    step, logged = figures_cost(run, options.rounds)
    every = run.config.log_every
    print(f"a step: {1000 * step:.1f} ms; a log line: {1000 * logged:.2f} ms")
    print(f"figures: {100 * logged / step / every:.3f} % at every {every} steps, {100 * logged / step:.2f} % at each")
    looked, shown, paired = pictures_cost(run, options.rounds)
    for name, cost in (("figures", looked), ("pictures and tables", shown), ("pictures and tables with pairs", paired)):
        shares = ", ".join(
            f"{100 * cost / step / interval:.2f} % at every {interval} steps" for interval in (1000, 500)
        )
        print(f"{name}: {cost:.2f} s a validation, {shares}")
    run.close(0)
    return 0


def figures_cost(run: Run, rounds: int) -> tuple[float, float]:
    """CPU seconds of a step and of a log line, with those of W&B; medians over the rounds."""
    steps, lines, samples = [], [], batches_from(run)
    for _ in range(rounds + 1):  # the first round warms up
        batches = [batch for batch, _ in islice(samples, BLOCK) if batch is not None]
        stepped, logged, theirs = 0.0, 0.0, wandb_seconds()
        for batch in batches:
            since = time.process_time()
            figures = train_step(run.state, batch, run.config.loss)
            done = time.process_time()
            run.progress.step += 1
            run.meter.add(run.progress.step, {**figures, "blank_slices": loop.blank_share(batch)})
            loop._log(run)
            stepped, logged = stepped + done - since, logged + time.process_time() - done
        steps.append(stepped / BLOCK)
        lines.append((logged + wandb_seconds() - theirs) / BLOCK)
    return float(np.median(steps[1:])), float(np.median(lines[1:]))


def pictures_cost(run: Run, rounds: int) -> tuple[float, float, float]:
    """CPU seconds of a validation's figures, and of its pictures without and with true pairs; medians."""
    cases = run.cases
    fixed = fixed_slices(cases.validation_mr, cases.validation_ct, [*cases.ct, *cases.validation_ct], run.config)
    validation = validation_of(run)
    costs = []
    for _ in range(rounds):

        def judge() -> None:
            validate(Networks.of(run.state.averaged_networks()), fixed, run.config, run.device)

        def show(pairs) -> None:
            run.progress.step += 1
            loop._validate(replace(run, pairs=pairs), validation)

        costs.append([cpu_seconds(judge), cpu_seconds(lambda: show([])), cpu_seconds(lambda: show(run.pairs))])
    looked, shown, paired = np.median(costs, axis=0)
    return float(looked), float(shown - looked), float(paired - looked)


def cpu_seconds(work: Callable[[], None]) -> float:
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
