#!/usr/bin/env python3
"""What each part of the recipe is worth: every arm of a study trained alike, on several seeds and training set sizes.

    python scripts/ablation.py gradient DIR --volumes 2 8 20 --seeds 0 1 2
    python scripts/ablation.py gradient DIR --config configs/head.yaml --mr LIST --ct LIST --test-mr MR --test-ct CT

Trains on generated phantoms, or on volumes of your own, converts held-out subjects and evaluates them, each run by the
commands in its command.txt, into DIR/runs; then writes runs.csv, table.md, table.json and plot.png into DIR/STUDY. What
is finished is skipped and what was stopped goes on, so the same command again is always right; runs that several
studies share are trained once. With one thread a run (OMP_NUM_THREADS=1) the same machine gives the same CSV. What
stands behind ``--`` are further options of ``cyclegan-gc train``, for all runs.

Exit code 0 all well, 2 usage, 3 some runs failed, 128 + n ended by signal n.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from studies import STUDIES, Run, TestSet, planned, test_set

from cyclegan_gc.atomic import write_text
from cyclegan_gc.cli import main as cyclegan_gc
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.ablation import FIGURES, Result
from cyclegan_gc.evaluate.ablation_report import write_ablation
from cyclegan_gc.evaluate.measures import METHOD_LABELS, SCT

Item = TypeVar("Item")
WHOLE = ["--shard", "1/1"]


def main(words: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if words is None else words)
    try:
        options = parse(words)
        test = test_set(options)
        runs = planned(options, test)
        code = in_parallel(words, options) if options.jobs > 1 else carry_out(runs, options)
        # A part of a study that others are at work on has no table to tell.
        whole = options.shard == (1, 1) or all(run.finished for run in runs)
        if code in (0, 3) and whole and not options.no_table:
            tell(runs, options, test)
        return code
    except UserError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("output", type=Path, help="folder of data, runs and studies; one process tree at a time")
    parser.add_argument("--config", default="configs/phantom.yaml", help="settings that the arms change")
    parser.add_argument("--arms", nargs="+", help="some of the study's arms, the one to compare with first")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of training and of its phantoms")
    parser.add_argument("--volumes", nargs="+", type=count, help="training volumes of each modality (2 8 20; own: all)")
    parser.add_argument("--steps", type=int, help="of each training, where not the configuration's")
    parser.add_argument("--test-subjects", type=int, default=20, help="held-out phantoms, or more if made before")
    parser.add_argument("--test-seed", type=int, default=1000, help="other held-out phantoms, as for tuning")
    for name in ("mr", "ct", "test-mr", "test-ct"):
        parser.add_argument(f"--{name}", help="volumes of your own instead of phantoms: file, folder, glob or list")
    parser.add_argument("--test-mask", help="body masks of the held-out pairs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each in a process of its own")
    parser.add_argument("--shard", type=shard, default=(1, 1), metavar="i/n", help="the i-th of n parts of the runs")
    parser.add_argument("--no-table", action="store_true", help="leave the tables to another call")
    parser.add_argument("--wandb-mode", default="offline", help="the group is the study that trains a run first")
    border = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:border])
    options.train_flags = [*(["--steps", str(options.steps)] if options.steps else []), *words[border + 1 :]]
    options.output = options.output.absolute()
    own = [options.mr, options.ct, options.test_mr, options.test_ct]
    if any(own) and not all(own):
        parser.error("--mr, --ct, --test-mr and --test-ct go together")
    if options.test_mask and not options.mr:
        parser.error("--test-mask is for volumes of your own; phantoms have their labels")
    known = STUDIES[options.study]
    if unknown := set(options.arms or ()) - known.keys():
        parser.error(f"--arms: {options.study} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    options.arms = {arm: known[arm] for arm in options.arms or known}
    options.volumes = options.volumes or ([0] if options.mr else [2, 8, 20])
    return options


def count(word: str) -> int:
    if int(word) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {word}")
    return int(word)


def shard(word: str) -> tuple[int, int]:
    part, parts = (int(number) for number in word.split("/"))
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"needs 1 <= i <= n, got {word}")
    return part, parts


def carry_out(runs: list[Run], options: argparse.Namespace) -> int:
    """The runs of this part that are not finished, one after the other."""
    failed, own = [], part_of(runs, options.shard)
    for number, run in enumerate(own, start=1):
        name = f"{options.study} {number} of {len(own)}: {run.arm}, {run.volumes} volumes, seed {run.seed}"
        print(f"{name}{' is finished' if run.finished else ''}", flush=True)
        code = 0 if run.finished else carry_out_one(run, options)
        if code >= 128 or code == 2:
            return code
        if code:
            failed.append(f"{name} ended with exit code {code}; see {run.folder}")
    print("".join(f"failed: {line}\n" for line in failed), end="", file=sys.stderr)
    return 3 if failed else 0


def carry_out_one(run: Run, options: argparse.Namespace) -> int:
    run.folder.mkdir(parents=True, exist_ok=True)
    # An array of jobs divides the runs, not the subjects of each conversion.
    further = {"train": ["--wandb.mode", options.wandb_mode, "--wandb.group", options.study], "convert": WHOLE}
    for words in run.commands:
        if words[0] == "convert":  # what comes now replaces the figures that it vouches for
            (run.folder / "done.json").unlink(missing_ok=True)
        code = cyclegan_gc([*words, *further.get(words[0], [])])
        if code:
            return code
    write_text(run.folder / "command.txt", "".join(f"{line}\n" for line in run.told(options.output)))
    write_text(run.folder / "done.json", json.dumps(run.record, indent=2) + "\n")
    return 0


def in_parallel(words: list[str], options: argparse.Namespace) -> int:
    """The same command for each part of this part, side by side; a signal reaches all."""
    border = words.index("--") if "--" in words else len(words)
    processes = []
    for part, parts in divided(options.shard, options.jobs):
        own = ["--jobs", "1", "--shard", f"{part}/{parts}", "--no-table"]
        command = [sys.executable, __file__, *words[:border], *own, *words[border:]]
        # Out of the terminal's reach, which would else send each of them a second Ctrl-C.
        processes.append(subprocess.Popen(command, start_new_session=True))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: [process.send_signal(number) for process in processes])
    codes = [128 - code if code < 0 else code for code in [process.wait() for process in processes]]
    return max(codes, key=lambda code: (code >= 128, code in (1, 2), code))


def divided(shard: tuple[int, int], jobs: int) -> list[tuple[int, int]]:
    """A part of the runs as so many smaller parts."""
    part, parts = shard
    return [(part + parts * job, parts * jobs) for job in range(jobs)]


def part_of(runs: Sequence[Item], shard: tuple[int, int]) -> Sequence[Item]:
    return runs[shard[0] - 1 :: shard[1]]


def tell(runs: list[Run], options: argparse.Namespace, test: TestSet) -> None:
    """Tables and plot of the finished runs; the trivial baselines are those of the first arm's runs."""
    finished = [run for run in runs if run.finished]
    missing = [run for run in runs if not run.finished]
    reference, folder = next(iter(options.arms)), options.output / options.study
    results = [result for run in finished for result in results_of(run, SCT, run.arm)]
    for method, label in METHOD_LABELS.items():
        of_reference = [run for run in finished if run.arm == reference and method != SCT]
        results += [result for run in of_reference for result in results_of(run, method, label)]
    if not results:
        print(f"no run of {options.study} is finished")
        return
    notes = [f"{len(missing)} of {len(runs)} runs are missing."] if missing else []
    facts = {
        "runs": [run.place(options.output) for run in finished],
        "test": {name: source and os.path.relpath(source, options.output) for name, source in test.sources.items()},
    }
    write_ablation(folder, options.study, results, reference, notes=notes, facts=facts)
    print((folder / "table.md").read_text(encoding="utf-8"))
    print(f"table: {folder / 'table.md'}")


def results_of(run: Run, method: str, arm: str) -> list[Result]:
    with (run.folder / "evaluation" / "cases.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == method]
    return [
        Result(arm, run.volumes, run.seed, row["case"], {
            name: float(row[name]) if row[name] else None for name in FIGURES
        })
        for row in rows
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
