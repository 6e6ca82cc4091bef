#!/usr/bin/env python3
"""Measures the effect of each part of the recipe: the arms of a study, several seeds, training sets of several sizes.

    python scripts/ablation.py gradient DIR --volumes 2 8 20 --seeds 0 1 2
    python scripts/ablation.py gradient DIR --config configs/head.yaml --mr LIST --ct LIST --test-mr MR --test-ct CT

Trains on generated phantoms, or on volumes of your own, converts held-out subjects and evaluates them. Each run lies in
DIR/runs, with its commands in command.txt; the tables and the plot lie in DIR/STUDY. The same command continues a study
that was stopped: finished runs are skipped, and runs that several studies share are trained once. With one thread a run
(OMP_NUM_THREADS=1) the same machine gives the same CSV. Words after ``--`` are further options of ``cyclegan-gc train``
for all runs.

Exit code 0 all well, 2 usage, 3 some runs failed, 128 + n ended by signal n.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from planning import Run, planned, shell_lines
from studies import STUDIES
from study_tables import write_tables
from study_volumes import test_sets

from cyclegan_gc.atomic import link_over, write_text
from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.cli import main as cyclegan_gc
from cyclegan_gc.errors import UserError

WHOLE = ["--shard", "1/1"]


def main(words: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if words is None else words)
    try:
        options = parse(words)
        tests = test_sets(options)
        runs = planned(options, tests)
        code = in_parallel(words, options) if options.jobs > 1 else carry_out(runs, options)
        # Other processes may still work on the rest of the study; the last one writes the tables.
        whole = options.shard == (1, 1) or all(run.finished for run in runs)
        if code in (0, 3) and whole and not options.no_table:
            write_tables(runs, options, tests)
        return code
    except UserError as error:
        print(f"ablation: {error}", file=sys.stderr)
        return 2


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES, help="its arms stand in scripts/studies.py")
    parser.add_argument("output", type=Path, help="folder of data, runs and studies; one process tree at a time")
    parser.add_argument("--config", default="configs/phantom.yaml", help="configuration that the arms change")
    parser.add_argument("--arms", nargs="+", help="some of the study's arms; the first is the reference")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[0, 1, 2], help="seeds of the training and of its phantoms"
    )
    parser.add_argument(
        "--volumes", nargs="+", type=count, help="training volumes of each modality (default 2 8 20, of your own all)"
    )
    parser.add_argument("--steps", type=int, help="steps of each training (default: the configuration's)")
    parser.add_argument(
        "--test-subjects", type=int, default=20, help="held-out phantoms; all are used where more were made before"
    )
    parser.add_argument("--test-seed", type=int, default=1000, help="seed of the held-out phantoms")
    for name in ("mr", "ct", "test-mr", "test-ct"):
        parser.add_argument(f"--{name}", help="volumes of your own instead of phantoms: file, folder, glob or list")
    parser.add_argument("--test-mask", help="body masks of the held-out pairs")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each in a process of its own")
    parser.add_argument("--shard", type=shard, default=(1, 1), metavar="i/n", help="the i-th of n parts of the runs")
    parser.add_argument("--no-table", action="store_true", help="write no tables")
    parser.add_argument(
        "--wandb-mode", default="offline", help="mode of W&B; its group is the study that trains a run first"
    )
    border = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:border])
    options.train_flags = [*(["--steps", str(options.steps)] if options.steps else []), *words[border + 1 :]]
    options.output = options.output.absolute()
    own = [options.mr, options.ct, options.test_mr, options.test_ct]
    if any(own) and not all(own):
        parser.error("--mr, --ct, --test-mr and --test-ct go together")
    if options.test_mask and not options.mr:
        parser.error("--test-mask is for volumes of your own; phantoms have their labels")
    study = STUDIES[options.study]
    if options.mr and study.on_phantoms_only:
        parser.error(f"{options.study} needs generated phantoms; leave out --mr, --ct, --test-mr and --test-ct")
    if unknown := set(options.arms or ()) - study.arms.keys():
        parser.error(f"--arms: {options.study} has no {', '.join(sorted(unknown))}; it has {', '.join(study.arms)}")
    options.arms = {arm: study.arms[arm] for arm in options.arms or study.arms}
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
    """Carry out the unfinished runs of this part, one after the other."""
    failed, own = [], part_of(runs, options.shard)
    for number, run in enumerate(own, start=1):
        name = f"{options.study} {number} of {len(own)}: {run.name}"
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
        if words[0] == "convert":  # the new results replace those that done.json describes
            (run.folder / "done.json").unlink(missing_ok=True)
        code = cyclegan_gc([*words, *further.get(words[0], [])])
        if code:
            return code
        if words[0] == "train" and run.step:
            keep_checkpoint(run, run.step)
    write_text(run.folder / "command.txt", "".join(f"{line}\n" for line in shell_lines(run.commands, options.output)))
    write_text(run.folder / "done.json", json.dumps(run.record, indent=2) + "\n")
    return 0


def keep_checkpoint(run: Run, step: int) -> None:
    """Keep the training's checkpoint of this step, unless that was done before."""
    if run.checkpoint.exists():
        return
    last = run.training / "last.pt"
    reached = load_checkpoint(last)["step"]
    if reached != step:
        raise UserError(f"{last}: is at step {reached}, and that of step {step} was not kept; delete {run.training}")
    link_over(last, run.checkpoint)


def in_parallel(words: list[str], options: argparse.Namespace) -> int:
    """Run the same command for smaller parts of this part, side by side; a signal reaches all."""
    border = words.index("--") if "--" in words else len(words)
    processes = []
    for part, parts in divided(options.shard, options.jobs):
        own = ["--jobs", "1", "--shard", f"{part}/{parts}", "--no-table"]
        command = [sys.executable, __file__, *words[:border], *own, *words[border:]]
        # In a session of its own: the terminal would send each process a second Ctrl-C.
        processes.append(subprocess.Popen(command, start_new_session=True))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: [process.send_signal(number) for process in processes])
    codes = [128 - code if code < 0 else code for code in [process.wait() for process in processes]]
    return max(codes, key=lambda code: (code >= 128, code in (1, 2), code))


def divided(shard: tuple[int, int], jobs: int) -> list[tuple[int, int]]:
    """Divide a part of the runs into smaller parts, one for each job."""
    part, parts = shard
    return [(part + parts * job, parts * jobs) for job in range(jobs)]


def part_of(runs: Sequence[Run], shard: tuple[int, int]) -> list[Run]:
    """Every n-th training with all its runs: no two processes work on one training."""
    trainings = list(dict.fromkeys(run.training for run in runs))
    own = set(trainings[shard[0] - 1 :: shard[1]])
    return [run for run in runs if run.training in own]


if __name__ == "__main__":
    sys.exit(main())
