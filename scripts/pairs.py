#!/usr/bin/env python3
"""What a few registered pairs add to unpaired training, and what pairs alone reach: on phantoms, whose truth is known.

    python scripts/pairs.py OUTPUT

Each arm trains the demo's recipe on 8 MR and 8 CT of different phantoms, with 0, 1, 3 or 10 pairs of yet other ones, or
the paired objective on the 10 pairs alone, in several forms; all are converted for 8 phantoms that none has seen. Told
are the mean over those with its 95 % interval (Student), and by how much the MAE is below that without pairs, where it
was trained before. Stopped, it goes on where it was.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from truth import HIGHER_IS_BETTER, errors_of

from cyclegan_gc.config import DemoConfig, TrainConfig, WandbConfig
from cyclegan_gc.demo import recipe
from cyclegan_gc.evaluate.statistics import Statistics, compare, describe
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.inference import members_of, translate_volume
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model

SUBJECTS, TESTED, MOST_PAIRS = 8, 8, 10
Errors = list[dict[str, float]]
"""Of each tested phantom."""


@dataclass(frozen=True)
class Arm:
    """One training."""

    pairs: int
    alone: bool = False
    noise: float = 0.0
    paired: dict[str, Any] = field(default_factory=dict)


ARMS = {
    "no pairs": Arm(0),
    "1 pair": Arm(1),
    "3 pairs": Arm(3),
    "10 pairs": Arm(10),
    "10 pairs alone": Arm(10, alone=True),
    "alone, minimax": Arm(10, alone=True, paired={"adversarial": "minimax"}),
    "alone, least squares": Arm(10, alone=True, paired={"adversarial": "least_squares"}),
    "alone, z 0.5": Arm(10, alone=True, noise=0.5),
    "alone, no gradient term": Arm(10, alone=True, paired={"gradient": 0.0}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of a folder a seed: phantoms, runs and pairs.json")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS), help="which of the trainings")
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--seed", type=int, default=0, help="other phantoms and other runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    output = options.output / f"seed_{options.seed}"
    phantoms = output / "ph"
    if len(list((phantoms / "test" / "labels").glob("*.nii.gz"))) < TESTED + MOST_PAIRS:
        write_phantoms(phantoms, subjects=SUBJECTS, test_subjects=TESTED + MOST_PAIRS, seed=300 + options.seed)
    errors = {}
    for name in options.arms:
        checkpoint = train(config_of(ARMS[name], name, output, options.steps, options.seed))
        errors[name] = measured(checkpoint, phantoms / "test")
        print(row(name, errors[name], errors.get("no pairs")), flush=True)
    (output / "pairs.json").write_text(json.dumps(errors, indent=1) + "\n")
    return 0


def config_of(arm: Arm, name: str, output: Path, steps: int, seed: int) -> TrainConfig:
    """The demo's recipe with what the arm changes."""
    run = output / name.replace(" ", "_").replace(",", "")
    plain = recipe(DemoConfig(seed=seed, steps=steps, device="cpu"), output / "ph", run)
    data = replace(plain.data, cache=output / "cache", pairs=str(linked(output, arm.pairs)) if arm.pairs else None)
    if arm.alone:
        data = replace(data, mr=None, ct=None)
    return replace(
        plain,
        objective="paired" if arm.alone else "unpaired",
        data=data,
        validate_every=steps,
        network=replace(plain.network, dropout=arm.noise),
        paired=replace(plain.paired, **arm.paired),
        wandb=WandbConfig(mode="disabled"),
    )


def linked(output: Path, count: int) -> Path:
    """A folder of the first ``count`` phantoms beyond those that are tested; fewer are a part of more."""
    folder = output / f"pairs_{count}"
    for side in ("mr", "ct"):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for path in sorted((output / "ph" / "test" / side).iterdir())[TESTED : TESTED + count]:
            link = folder / side / path.name
            if not link.is_symlink():
                link.symlink_to(path.resolve())
    return folder


def measured(checkpoint: Path, test: Path) -> Errors:
    """Errors of the tested phantoms; kept beside the checkpoint."""
    known = checkpoint.with_name("errors.json")
    if not known.exists():
        members, paths = members_of([load_model(checkpoint)]), sorted((test / "mr").iterdir())[:TESTED]
        scts = (translate_volume(members, read_volume(path)).array for path in paths)
        errors = [errors_of(sct, test, path.name) for sct, path in zip(scts, paths, strict=True)]
        known.write_text(json.dumps(errors))
    return json.loads(known.read_text())


def row(name: str, errors: Errors, without: Errors | None) -> str:
    """A line of the table: each figure's mean and interval, and by how much the MAE is below that without pairs."""
    cells = []
    for figure in HIGHER_IS_BETTER:
        known = describe([each[figure] for each in errors])
        cells.append(told(known, ("mean", "ci95_low", "ci95_high"), 0 if figure.endswith("[HU]") else 3))
    if without is not None and without is not errors:
        gain = compare(*([each["MAE [HU]"] for each in arm] for arm in (errors, without)), higher_is_better=False)
        cells.append(told(gain, ("gain", "gain_ci95_low", "gain_ci95_high"), 0))
    return f"| {name} | {' | '.join(cells)} |"


def told(known: Statistics, names: tuple[str, str, str], digits: int) -> str:
    return "{} ({} to {})".format(*(f"{known[name]:.{digits}f}" for name in names))


if __name__ == "__main__":
    sys.exit(main())
