#!/usr/bin/env python3
"""Interrupts a training at random moments, resumes it each time, and compares its weights with an undisturbed one.

    python scripts/interrupt.py OUTPUT --sigterm 3 --sigkill 2 -- --config configs/head.yaml --data.mr DIR --data.ct DIR

The words after ``--`` are options of ``cyclegan-gc train``. Both runs go side by side, into OUTPUT/undisturbed and
OUTPUT/interrupted. The script prints the steps lost at each interruption. Exit code 0 if the weights are equal bit for
bit, else 1.
"""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.checkpoint import load_checkpoint

COMPARED = ("networks", "ema", "optimizers", "schedulers", "pools", "meter")
LAST_SHARE = 0.75
"""Share of the steps after which the last interruption comes; a fast run must not end before it."""


def main() -> int:
    options, train_options = parse()
    command = [sys.executable, "-m", "cyclegan_gc.cli", "train", *train_options, "--resume", "auto", "--output"]
    options.output.mkdir(parents=True, exist_ok=True)
    folders = options.output / "undisturbed", options.output / "interrupted"
    with folders[0].with_suffix(".log").open("a") as log:
        undisturbed = subprocess.Popen([*command, str(folders[0])], stdout=log, stderr=log)
        try:
            lost = interrupt_often([*command, str(folders[1])], folders[1], options)
        finally:
            if undisturbed.wait() != 0:
                print(f"the undisturbed run failed; see {folders[0].with_suffix('.log')}")
    hashes = [weights_sha256(folder / "last.pt") for folder in folders]
    for folder, digest in zip(folders, hashes, strict=True):
        print(f"{digest}  {folder.name} at step {load_checkpoint(folder / 'last.pt')['step']}")
    print(f"steps lost and trained again: {lost}")
    return 0 if hashes[0] == hashes[1] else 1


def parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of both runs")
    parser.add_argument("--sigterm", type=int, default=3, help="polite stops (exit code 143)")
    parser.add_argument("--sigkill", type=int, default=2, help="kills without warning")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    words = sys.argv[1:]
    border = words.index("--") if "--" in words else len(words)
    return parser.parse_args(words[:border]), words[border + 1 :]


def interrupt_often(command: list[str], folder: Path, options: argparse.Namespace) -> list[int]:
    """Run ``command`` with all interruptions until it ends by itself; return the steps that each of them lost."""
    chance = random.Random(options.seed)
    signals = [signal.SIGTERM] * options.sigterm + [signal.SIGKILL] * options.sigkill
    chance.shuffle(signals)
    lost = []
    with folder.with_suffix(".log").open("a") as log:
        for number, how in enumerate(signals, start=1):
            process = subprocess.Popen(command, stdout=log, stderr=log)
            wait_for_share(process, folder, LAST_SHARE * number / len(signals))
            time.sleep(chance.uniform(0, 1))
            started = time.monotonic()
            process.send_signal(how)
            code = process.wait()
            seconds = time.monotonic() - started
            if code != {signal.SIGTERM: 143, signal.SIGKILL: -9}[how]:
                raise SystemExit(f"{how.name} gave exit code {code}; see {log.name}")
            lost.append(max(0, steps_done(folder) - newest_step(folder)))
            print(f"{how.name} at step {steps_done(folder)}, ended in {seconds:.1f} s, {lost[-1]} lost", flush=True)
        if subprocess.run(command, stdout=log, stderr=log, check=False).returncode != 0:
            raise SystemExit(f"the last part failed; see {log.name}")
    return lost


def wait_for_share(process: subprocess.Popen, folder: Path, share: float) -> None:
    """Wait until the run has logged this share of its steps and at least one since it was started."""
    before = steps_done(folder)
    while process.poll() is None:
        settings = folder / "config.json"
        wanted = share * json.loads(settings.read_text())["steps"] if settings.exists() else float("inf")
        if steps_done(folder) > before and steps_done(folder) >= wanted:
            return
        time.sleep(0.05)
    raise SystemExit(f"{folder.name} ended too early with exit code {process.returncode}")


def steps_done(folder: Path) -> int:
    """The last logged step; a line that a kill cut off does not count."""
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def newest_step(folder: Path) -> int:
    return load_checkpoint(folder / "last.pt")["step"] if (folder / "last.pt").exists() else 0


def weights_sha256(path: Path) -> str:
    """Hash of every number that a resumed training needs."""
    state, digest = load_checkpoint(path), hashlib.sha256()
    feed({name: state[name] for name in COMPARED}, digest)
    return digest.hexdigest()


def feed(value: Any, digest: "hashlib._Hash") -> None:
    if isinstance(value, torch.Tensor):
        digest.update(value.contiguous().cpu().numpy().tobytes())
    elif isinstance(value, dict):
        for key, item in value.items():
            digest.update(str(key).encode())
            feed(item, digest)
    elif isinstance(value, (list, tuple)):
        for item in value:
            feed(item, digest)
    else:
        digest.update(repr(value).encode())


if __name__ == "__main__":
    sys.exit(main())
