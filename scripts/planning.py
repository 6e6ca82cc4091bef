"""The runs that follow from a study: test sets, training volumes and the commands of each run."""

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from studies import HOME, STUDIES, Arm

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import ConvertConfig, Scanner, public_settings
from cyclegan_gc.convert.plan import plan
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.matching import Sources, match_cases
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.files import case_id, find_volumes
from cyclegan_gc.parsing import parse
from cyclegan_gc.phantom.subject import write_phantoms

OWN = ("seed", "wandb")
"""Settings that no arm changes."""
SCT = Path("sct")
"""Folder of the converted subjects, below a run's folder."""
PARTS = 24
"""Kept checkpoints are counted in this share of the training; validations come as often, so each one has a score."""


@dataclass(frozen=True)
class TestSet:
    """Held-out pairs, the same for every run."""

    mr: str
    ct: str
    mask: str | None
    subjects: dict[str, str]
    """Name -> path of the synthetic CT, below the run's folder."""
    scanner: Scanner = HOME

    @property
    def sources(self) -> dict[str, str | None]:
        return {"mr": self.mr, "ct": self.ct, "mask": self.mask}


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
    """What the figures depend on beside the code and the contents of the volumes; written beside them at the end."""
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


def test_sets(options: argparse.Namespace) -> list[TestSet]:
    """Your own pairs, or phantoms as each scanner of the study sees them; missing phantoms are made."""
    if options.mr:
        return [_own_test_set(options)]
    return [_phantom_test_set(options, scanner) for scanner in STUDIES[options.study].tested_on]


def _own_test_set(options: argparse.Namespace) -> TestSet:
    files, failures, _ = match_cases(Sources(options.test_mr, options.test_ct, mask=options.test_mask))
    if failures:  # before the first training, not after it
        raise UserError(f"{options.test_mr}: {failures[0]}")
    _check_held_out([path for case in files for path in (case.sct, case.ct)], options)
    jobs, _ = plan(ConvertConfig(Path("last.pt"), options.test_mr, SCT))
    results = {job.source.path: str(job.result) for job in jobs}
    subjects = {case.id: results[case.sct] for case in files}
    return TestSet(options.test_mr, options.test_ct, options.test_mask, subjects)


def _phantom_test_set(options: argparse.Namespace, scanner: Scanner) -> TestSet:
    folder = _phantoms(options, f"test_seed_{options.test_seed}", options.test_seed, scanner, 1, options.test_subjects)
    truth = folder / "test"
    names = [case_id(path) for path in find_volumes(truth / "labels")]
    subjects = {name: str(SCT / f"{name}_sct.nii.gz") for name in names}
    return TestSet(str(truth / "mr"), str(truth / "ct"), str(truth / "labels"), subjects, scanner)


def _phantoms(
    options: argparse.Namespace, name: str, seed: int, scanner: Scanner, subjects: int, test_subjects: int
) -> Path:
    """A folder of at least so many phantoms, made or found."""
    folder = options.output / "data" / (name if scanner == HOME else f"{name}_{scanner}")
    # The last file of each kind that is written.
    found = [len(list((folder / kind).glob("*.nii.gz"))) for kind in ("ct", "test/labels")]
    if found[0] < subjects or found[1] < test_subjects:
        write_phantoms(folder, subjects=subjects, test_subjects=test_subjects, seed=seed, scanner=scanner)
    return folder


def _check_held_out(tested: list[Path], options: argparse.Namespace) -> None:
    """Refuse test pairs of which a file, or a copy of it, is among the training volumes."""
    training = [path for source in (options.mr, options.ct) for path in find_volumes(source)]
    notes = options.output / "data" / "cache"  # training looks for them there too
    known = {content_hash(path, notes) for path in training}
    for path in tested:
        if content_hash(path, notes) in known:
            raise UserError(f"{path}: is trained on too; take it out of --mr and --ct")


def training_lists(options: argparse.Namespace, arm: Arm, volumes: int, seed: int) -> tuple[int, list[Path]]:
    """The number of volumes of each modality, and text lists of the MR and CT; 0 volumes takes all."""
    if options.mr:
        folder, mr, ct = options.output / "data" / "own", [find_volumes(options.mr)], find_volumes(options.ct)
    else:
        most = max(options.volumes)
        folders = [_phantoms(options, f"seed_{seed}", seed, scanner, most, 0) for scanner in (HOME, *arm.scanners)]
        folder, mr = folders[0], [find_volumes(each / "mr") for each in folders[1:]]
        ct = find_volumes(folder / "ct")
    count = min(volumes, len(mr[0]), len(ct)) if volumes else max(len(mr[0]), len(ct))
    shared = "" if arm.scanners == (HOME,) else f"_{'+'.join(arm.scanners)}"
    chosen = {f"mr_{count}{shared}.txt": shared_out(mr, count), f"ct_{count}.txt": ct[:count]}
    for name, paths in chosen.items():
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{os.path.relpath(path.absolute(), folder)}\n" for path in paths)
        if not (folder / name).exists() or (folder / name).read_text() != text:
            write_text(folder / name, text)
    return count, [folder / name for name in chosen]


def shared_out(scanners: Sequence[Sequence[Path]], count: int) -> list[Path]:
    """The first ``count`` heads, each once, an equal part of them from each scanner's MRs."""
    return [scanners[i * len(scanners) // count][i] for i in range(min(count, len(scanners[0])))]


def pairs_folder(options: argparse.Namespace, count: int, seed: int) -> Path:
    """A folder of links to ``count`` registered pairs; fewer pairs are a part of more."""
    if options.test_seed == seed:
        raise UserError(f"--test-seed {seed}: the same heads would be trained on as pairs; give another")
    most = max(arm.pairs for arm in options.arms.values())
    phantoms = _phantoms(options, f"pairs_seed_{seed}", seed, HOME, 1, most)
    folder = phantoms / f"first_{count}"
    for kind in ("mr", "ct"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for path in find_volumes(phantoms / "test" / kind)[:count]:
            link = folder / kind / path.name
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(path, link.parent))
    return folder


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
        ["convert", test.mr, str(sct), "--checkpoint", str(checkpoint), "--preview", "false", "--device", device],
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
