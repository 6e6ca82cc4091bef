"""The runs that follow from a study, with the commands of each run."""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from studies import HOME, STUDIES, Arm
from study_volumes import SCT, TestSet, pairs_folder, training_lists

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import Scanner, public_settings
from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing import parse

OWN = ("seed",)
"""Settings that no arm changes."""
PARTS = 24
"""Parts of a training with kept checkpoints; each part ends with a validation, so each checkpoint has a score."""


@dataclass(frozen=True)
class Run:
    """One training, as a whole or up to a kept checkpoint, with the conversion and evaluation of one test set."""

    arm: str
    volumes: int
    seed: int
    training: Path
    """The training's folder; runs of other test sets and steps share it."""
    folder: Path
    """Folder of the conversion and the evaluation."""
    checkpoint: Path
    """The checkpoint that is evaluated; a copy of last.pt at a kept step, else last.pt itself."""
    commands: list[list[str]]
    """Words of ``cyclegan-gc``."""
    record: dict[str, Any]
    """Everything that determines the figures, except the code and the contents of the volumes; written at the end."""
    scanner: Scanner = HOME
    """The scanner of the test set."""
    step: int | None = None
    """The step whose checkpoint is kept and evaluated; None for the last one."""

    @property
    def name(self) -> str:
        tested = f", on {self.scanner}" if self.scanner != HOME else ""
        step = f", step {self.step}" if self.step else ""
        return f"{self.arm}, {self.volumes} volumes, seed {self.seed}{tested}{step}"

    @property
    def finished(self) -> bool:
        known = self.folder / "done.json"
        return known.exists() and json.loads(known.read_text()) == self.record

    def place(self, output: Path) -> dict[str, Any]:
        """The run's arm, volumes and seed, and its folder below ``output``."""
        named = {"arm": self.arm, "volumes": self.volumes, "seed": self.seed}
        return {**named, "folder": str(self.folder.relative_to(output))}


def planned(options: argparse.Namespace, tests: Sequence[TestSet]) -> list[Run]:
    """Every run of the study; all arms of a seed and size come before the next seed."""
    start = ["train", "--config", options.config, *options.train_flags]
    base = train_settings(start, Arm())
    runs = {}
    for volumes in options.volumes:
        for seed in options.seeds:
            for arm in options.arms:
                for run in _runs_of(options, tests, (start, base), arm, volumes, seed):
                    runs[arm, run.folder] = run  # once, where two sizes are more than there is
    return list(runs.values())


def _runs_of(
    options: argparse.Namespace,
    tests: Sequence[TestSet],
    unchanged: tuple[list[str], dict[str, Any]],
    name: str,
    volumes: int,
    seed: int,
) -> list[Run]:
    """The runs of one training: one for each test set and each kept step."""
    arm, (start, base) = options.arms[name], unchanged
    start = [*start, *arm.flags]
    steps = kept_steps(options.study, train_settings(start, arm)["steps"])
    start += ["--validate_every", str(steps[-1] // PARTS)] if steps[-1] else []
    settings = train_settings(start, arm)
    count, lists = (volumes, []) if arm.alone else training_lists(options, arm, volumes, seed)
    pairs = str(pairs_folder(options, arm.pairs, seed)) if arm.pairs else None
    home = options.output / "runs" / folder_name(settings, base, arm) / f"volumes_{count}" / f"seed_{seed}"
    train = [*start, *data_words(lists, pairs), "--seed", str(seed)]
    train += ["--data.cache", str(options.output / "data" / "cache"), "--output", str(home / "train")]
    # The settings and not the words of the training: another study may say the same in other words.
    trained = {"settings": settings, "trained_on": [each.read_text() for each in lists]}
    trained |= {"further": shell_lines([options.train_flags], options.output)}
    trained |= {"pairs": arm.pairs} if arm.pairs else {}
    runs = []
    for test, step in product(tests, steps):
        folder = home / (f"on_{test.scanner}" if test.scanner != HOME else "") / (f"step_{step:06d}" if step else "")
        checkpoint = folder / "checkpoint.pt" if step else home / "train" / "last.pt"
        judging = judging_commands(folder, checkpoint, test, str(settings["device"]))
        commands = [[*train, "--resume", "auto", *(["--stop_at", str(step)] if step else [])], *judging]
        record = {**trained, "subjects": list(test.subjects), "commands": shell_lines(judging, options.output)}
        record = json.loads(json.dumps(record))
        runs.append(Run(name, count, seed, home / "train", folder, checkpoint, commands, record, test.scanner, step))
    return runs


def kept_steps(study: str, steps: int) -> Sequence[int | None]:
    """The steps of a training whose checkpoints are evaluated; None stands for the last one alone."""
    kept = STUDIES[study].kept
    if kept and steps % PARTS:
        raise UserError(f"--steps {steps}: {study} keeps checkpoints at {PARTS}ths of the training; give a multiple")
    return [steps // PARTS * part for part in kept] or [None]


def data_words(unpaired: Sequence[str | Path], pairs: str | None) -> list[str]:
    """The training volumes as options of ``cyclegan-gc train``."""
    words = ["--data.mr", str(unpaired[0]), "--data.ct", str(unpaired[1])] if unpaired else []
    return [*words, "--data.pairs", pairs] if pairs else words


def folder_name(settings: dict[str, Any], base: dict[str, Any], arm: Arm) -> str:
    """A name made of what an arm changes, so that studies meet in the runs they share."""
    changed = [f"{name}={value}" for name, value in settings.items() if value != base[name]]
    changed += [f"pairs={arm.pairs}"] if arm.pairs else []
    changed += [f"scanners={'+'.join(arm.scanners)}"] if arm.scanners != (HOME,) else []
    return ",".join(changed) or "as_configured"


def judging_commands(folder: Path, checkpoint: Path, test: TestSet, device: str) -> list[list[str]]:
    """The commands after the training: the held-out subjects are converted, then compared with the truth."""
    sct, predicted = folder / SCT, folder / "predicted.txt"
    # A list, because the folder may still hold subjects of an earlier test set.
    folder.mkdir(parents=True, exist_ok=True)
    write_text(predicted, "".join(f"{result}\n" for result in test.subjects.values()))
    judged = ["--predicted", str(predicted), "--reference", test.ct, "--mr", test.mr, "--checkpoint", str(checkpoint)]
    masked = ["--mask", test.mask] if test.mask else []
    return [
        ["convert", test.mr, str(sct), "--checkpoint", str(checkpoint), "--preview", "none", "--device", device],
        ["evaluate", *judged, *masked, "--output", str(folder / "evaluation")],
    ]


def train_settings(words: list[str], arm: Arm) -> dict[str, Any]:
    """The settings of a training with these words, wherever its volumes are, by dotted names."""
    sources = data_words([] if arm.alone else ["MR", "CT"], "PAIRS" if arm.pairs else None)
    return flat(public_settings(parse([*words, *sources, "--output", "RUN"])[1]))


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, without those that no arm changes."""
    found = {}
    for name, value in settings.items():
        if above or name not in OWN:
            found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def shell_lines(commands: list[list[str]], output: Path) -> list[str]:
    """Commands as a shell takes them, with DIR for the folder of all."""
    return [f"cyclegan-gc {shlex.join(words)}".replace(str(output), "DIR") for words in commands]
