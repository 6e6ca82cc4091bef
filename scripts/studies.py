"""The studies of ablation.py: which arms there are, on which volumes, and the runs that follow from them."""

import argparse
import json
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import ConvertConfig, public_settings
from cyclegan_gc.convert.plan import plan
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.matching import Sources, match_cases
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.files import case_id, find_volumes
from cyclegan_gc.parsing import parse
from cyclegan_gc.phantom.subject import write_phantoms

Flags = tuple[str, ...]

PLAIN: Flags = (
    "--loss.cycle=10",
    "--loss.identity=5",
    "--loss.gradient=0",
    "--loss.depth_histogram=0",
    "--data.match_position=false",
)
"""CycleGAN after Zhu et al. 2017, inside the body mask as all arms."""
HIASA: Flags = (
    "--loss.cycle=3",
    "--loss.gradient=0.3",
    "--loss.gradient_mode=absolute",
    "--loss.identity=0",
    "--loss.depth_histogram=0",
    "--data.match_position=false",
)
"""The loss after Hiasa et al. 2018, inside the body mask as all arms."""
ORIGINAL: Flags = ("--network.stem=conv", "--network.reduction=4", "--network.upsampling=transpose")
"""The generator's form in Zhu et al. 2017, of the configuration's width and depth."""
LARGE: Flags = (
    "--network.stem=conv",
    "--network.reduction=4",
    "--network.width=64",
    "--network.blocks=9",
    "--network.discriminator_width=64",
    "--optimizer.learning_rate=2e-4",
)
"""The networks of configs/hip.yaml with its learning rate, which was not tuned here; about 18 times slower."""
RATES = ("2e-4", "4e-4", "8e-4", "1.6e-3")
STUDIES: dict[str, dict[str, Flags]] = {
    "gradient": {
        "off": ("--loss.gradient=0",),
        "absolute": ("--loss.gradient_mode=absolute",),
        "signed": ("--loss.gradient_mode=signed",),
    },
    "weights": {weight: (f"--loss.gradient={weight}",) for weight in ("0", "0.1", "0.3", "1", "3")},
    "recipe": {
        "plain": PLAIN,
        "after Hiasa": HIASA,
        "default": (),
        "without the depth term": ("--loss.depth_histogram=0",),
        "without gradient consistency": ("--loss.gradient=0",),
        "signed gradient consistency": ("--loss.gradient_mode=signed",),
    },
    "network": {
        "plain, original network": PLAIN + ORIGINAL,
        "plain": PLAIN,
        "default, original network": ORIGINAL,
        "default": (),
        "default, ResNet-9": LARGE,
    },
    "learning_rate": {
        f"{name} {rate}": (*flags, f"--optimizer.learning_rate={rate}")
        for name, flags in (("plain", PLAIN), ("default", ()))
        for rate in RATES
    },
}
"""Study -> arm -> what it changes; the first arm is the one that the others are held against."""
OWN = ("seed", "wandb")
"""Settings that no arm changes."""
SCT = Path("sct")
"""Of the converted subjects, below a run's folder."""


@dataclass(frozen=True)
class TestSet:
    """Held-out pairs, the same for every run."""

    mr: str
    ct: str
    mask: str | None
    subjects: dict[str, str]
    """Name -> where a run's conversion puts the synthetic CT, below the run's folder."""

    @property
    def sources(self) -> dict[str, str | None]:
        return {"mr": self.mr, "ct": self.ct, "mask": self.mask}


@dataclass(frozen=True)
class Run:
    """One training with its conversion and evaluation."""

    arm: str
    volumes: int
    seed: int
    folder: Path
    commands: list[list[str]]
    """Words of ``cyclegan-gc``."""
    record: dict[str, Any]
    """What its figures depend on beside the code and the contents of the volumes; written beside them at the end."""

    @property
    def finished(self) -> bool:
        known = self.folder / "done.json"
        return known.exists() and json.loads(known.read_text()) == self.record

    def told(self, output: Path) -> list[str]:
        """The commands as a shell takes them, with DIR for the folder of all."""
        return told(self.commands, output)

    def place(self, output: Path) -> dict[str, Any]:
        """What the run is and where it lies below the folder of all."""
        named = {"arm": self.arm, "volumes": self.volumes, "seed": self.seed}
        return {**named, "folder": str(self.folder.relative_to(output))}


def test_set(options: argparse.Namespace) -> TestSet:
    """Your own pairs, or phantoms that are made where they are missing."""
    if options.mr:
        files, failures, _ = match_cases(Sources(options.test_mr, options.test_ct, mask=options.test_mask))
        if failures:  # told now and not after the first training
            raise UserError(f"{options.test_mr}: {failures[0]}")
        _check_held_out([path for case in files for path in (case.sct, case.ct)], options)
        jobs, _ = plan(ConvertConfig(Path("last.pt"), options.test_mr, SCT))
        of_mr = {job.source.path: str(job.result) for job in jobs}
        subjects = {case.id: of_mr[case.sct] for case in files}
        return TestSet(options.test_mr, options.test_ct, options.test_mask, subjects)
    folder, count = options.output / "data" / f"test_seed_{options.test_seed}", options.test_subjects
    truth = folder / "test"
    if len(list((truth / "labels").glob("*.nii.gz"))) < count:
        write_phantoms(folder, subjects=1, test_subjects=count, seed=options.test_seed)
    names = [case_id(path) for path in find_volumes(truth / "labels")]  # of a phantom the last to be written
    subjects = {name: str(SCT / f"{name}_sct.nii.gz") for name in names}
    return TestSet(str(truth / "mr"), str(truth / "ct"), str(truth / "labels"), subjects)


def _check_held_out(tested: list[Path], options: argparse.Namespace) -> None:
    """No file of the test pairs is trained on, nor a copy of one."""
    training = [path for source in (options.mr, options.ct) for path in find_volumes(source)]
    notes = options.output / "data" / "cache"  # where training looks for them too
    known = {content_hash(path, notes) for path in training}
    for path in tested:
        if content_hash(path, notes) in known:
            raise UserError(f"{path}: is trained on too; take it out of --mr and --ct")


def training_lists(options: argparse.Namespace, volumes: int, seed: int) -> tuple[int, list[str]]:
    """How many volumes, and text lists of the first so many MR and CT; 0 takes all."""
    folder = options.output / "data" / ("own" if options.mr else f"seed_{seed}")
    if not options.mr and len(list((folder / "ct").glob("*.nii.gz"))) < max(options.volumes):
        write_phantoms(folder, subjects=max(options.volumes), test_subjects=0, seed=seed)
    sources = (options.mr or folder / "mr", options.ct or folder / "ct")
    found = [find_volumes(source) for source in sources]
    count = min(volumes, *map(len, found)) if volumes else max(map(len, found))
    lists = [folder / f"{modality}_{count}.txt" for modality in ("mr", "ct")]
    for file, paths in zip(lists, found, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{os.path.relpath(path.absolute(), folder)}\n" for path in paths[:count])
        if not file.exists() or file.read_text() != text:
            write_text(file, text)
    return count, [str(file) for file in lists]


def planned(options: argparse.Namespace, test: TestSet) -> list[Run]:
    """Every run of the study, all arms of a seed and size before the next."""
    start = ["train", "--config", options.config, *options.train_flags]
    base = train_settings(start)
    arms = {arm: train_settings([*start, *flags]) for arm, flags in options.arms.items()}
    runs = {}
    for volumes in options.volumes:
        for seed in options.seeds:
            count, lists = training_lists(options, volumes, seed)
            for arm, settings in arms.items():
                folder = options.output / "runs" / named(settings, base) / f"volumes_{count}" / f"seed_{seed}"
                words = [*start, *options.arms[arm], "--data.mr", lists[0], "--data.ct", lists[1], "--seed", str(seed)]
                words += ["--data.cache", str(options.output / "data" / "cache"), "--output", str(folder / "train")]
                commands = [[*words, "--resume", "auto"], *judging(folder, test, str(settings["device"]))]
                # Of the training its settings and not its words: another study may say the same in other words.
                record = {"settings": settings, "trained_on": [Path(each).read_text() for each in lists]}
                record |= {"subjects": list(test.subjects), "commands": told(commands[1:], options.output)}
                record["further"] = told([options.train_flags], options.output)
                run = Run(arm, count, seed, folder, commands, json.loads(json.dumps(record)))
                runs[arm, folder] = run  # once, where two sizes are more than there is
    return list(runs.values())


def named(settings: dict[str, Any], base: dict[str, Any]) -> str:
    """A folder's name by what an arm changes, so that studies meet in the runs they share."""
    changed = [f"{name}={value}" for name, value in settings.items() if value != base[name]]
    return ",".join(changed) or "as_configured"


def judging(folder: Path, test: TestSet, device: str) -> list[list[str]]:
    """The commands after the training: the held-out subjects are converted, then held against the truth."""
    checkpoint, sct, predicted = str(folder / "train" / "last.pt"), folder / SCT, folder / "predicted.txt"
    # A list, for the folder may still hold subjects of an earlier test set.
    folder.mkdir(parents=True, exist_ok=True)
    write_text(predicted, "".join(f"{result}\n" for result in test.subjects.values()))
    judged = ["--predicted", str(predicted), "--reference", test.ct, "--mr", test.mr, "--checkpoint", checkpoint]
    masked = ["--mask", test.mask] if test.mask else []
    return [
        ["convert", test.mr, str(sct), "--checkpoint", checkpoint, "--preview", "false", "--device", device],
        ["evaluate", *judged, *masked, "--output", str(folder / "evaluation")],
    ]


def train_settings(words: list[str]) -> dict[str, Any]:
    """What a training would be told by these words, wherever its volumes are, by dotted names."""
    return flat(public_settings(parse([*words, "--data.mr", "MR", "--data.ct", "CT", "--output", "RUN"])[1]))


def flat(settings: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested settings by dotted names, without those that no arm changes."""
    found = {}
    for name, value in settings.items():
        if above or name not in OWN:
            found |= flat(value, f"{above}{name}.") if isinstance(value, dict) else {f"{above}{name}": value}
    return found


def told(commands: list[list[str]], output: Path) -> list[str]:
    return [f"cyclegan-gc {shlex.join(words)}".replace(str(output), "DIR") for words in commands]
