#!/usr/bin/env python3
"""How far does a model fall on MRs of other scanners than its own, and what lessens the fall? On phantoms.

    python scripts/scanners.py OUTPUT
    python scripts/scanners.py OUTPUT --checkpoint RUN/last.pt

Trains the demo's recipe, shorter, on MRs of one scanner in several ways, converts the same held-out subjects as seen by
every scanner, and prints each way's errors against the true CT, the fall from the scanner of training, and what the way
gains over the plain one, with 95 % intervals over subjects (paired). One training seed: the intervals do not hold what
another one would change. With a checkpoint that model is measured and none trained. Stopped, it goes on where it was.
"""

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import torch
from truth import HIGHER_IS_BETTER, errors_of

from cyclegan_gc.config import ConvertConfig, DemoConfig, PreprocessConfig, Scanner, TrainConfig, WandbConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.demo import recipe
from cyclegan_gc.evaluate.statistics import compare
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train.loop import train

SCANNERS: tuple[Scanner, ...] = get_args(Scanner)
HOME = SCANNERS[0]
SUBJECTS, TEST_SUBJECTS = 8, 8


@dataclass(frozen=True)
class Way:
    """How the MRs are trained on."""

    mr_intensity: float = 0.0
    n4: bool = False
    mixed: bool = False
    """The same subjects, a part of them on each scanner: the best that could be had, as no scanner is new then."""


WAYS = {
    "plain": Way(),
    "mr_intensity 0.5": Way(mr_intensity=0.5),
    "mr_intensity 1": Way(mr_intensity=1.0),
    "n4": Way(n4=True),
    "n4, mr_intensity 0.5": Way(n4=True, mr_intensity=0.5),
    "all scanners": Way(mixed=True),
}
Figures = dict[str, dict[str, list[float]]]
"""Scanner, metric, one value a subject; beside the metrics ``verdict`` of the conversion."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of a folder a seed: phantoms, runs and results")
    parser.add_argument("--steps", type=int, default=800, help="of each training")
    parser.add_argument("--seed", type=int, default=0, help="other phantoms and other runs")
    parser.add_argument("--checkpoint", type=Path, help="measure this model of phantom heads on spgr, train none")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="which trainings")
    options = parser.parse_args()
    torch.set_num_threads(1)
    output = options.output / f"seed_{options.seed}"
    for scanner in SCANNERS:
        folder = output / "phantoms" / scanner
        if not (folder / "test" / "labels" / f"head_{2000 + TEST_SUBJECTS - 1}.nii.gz").exists():
            write_phantoms(
                folder, subjects=SUBJECTS, test_subjects=TEST_SUBJECTS, seed=200 + options.seed, scanner=scanner
            )
    if options.checkpoint:
        known = {"given": measured(output, options.checkpoint, output / "given")}
    else:
        known = {name: figures_of(output, name, options.steps, options.seed) for name in options.ways}
    for metric in HIGHER_IS_BETTER:
        print_metric(metric, known)
    print_verdicts(known)
    return 0


def figures_of(output: Path, name: str, steps: int, seed: int) -> Figures:
    """Train one way, convert and measure every subject on every scanner; kept beside the run."""
    run = output / name.replace(" ", "_").replace(",", "")
    kept = run / "figures.json"
    checkpoint = train(config_of(output, run, WAYS[name], steps, seed))  # refuses other steps or another seed
    if not kept.exists():
        kept.write_text(json.dumps(measured(output, checkpoint, run / "sct")))
    return json.loads(kept.read_text())


def config_of(output: Path, run: Path, way: Way, steps: int, seed: int) -> TrainConfig:
    config = recipe(DemoConfig(seed=seed, steps=steps, device="cpu"), output / "phantoms" / HOME, run)
    mr = config.data.mr
    if way.mixed:
        mr = str(run.with_suffix(".txt"))
        share = SUBJECTS // len(SCANNERS)
        every = [sorted((output / "phantoms" / scanner / "mr").iterdir()) for scanner in SCANNERS]
        chosen = [path for n, paths in enumerate(every) for path in paths[n * share : (n + 1) * share]]
        Path(mr).write_text("\n".join(str(path.resolve()) for path in chosen))
    return replace(
        config,
        data=replace(config.data, mr=mr, mr_intensity=way.mr_intensity, cache=output / "cache"),
        preprocess=PreprocessConfig(n4=way.n4),
        wandb=WandbConfig(mode="disabled"),
    )


def measured(output: Path, checkpoint: Path, results: Path) -> Figures:
    """Every held-out subject as seen by every scanner, converted and held against its true CT."""
    folders = {scanner: output / "phantoms" / scanner / "test" for scanner in SCANNERS}
    return {scanner: measured_there(folders[scanner], checkpoint, results / scanner) for scanner in SCANNERS}


def measured_there(test: Path, checkpoint: Path, results: Path) -> dict[str, list[float]]:
    config = ConvertConfig(checkpoint, str(test / "mr"), results, preview=False, device="cpu", shard="1/1")
    values: dict[str, list] = {name: [] for name in (*HIGHER_IS_BETTER, "verdict")}
    for outcome in convert(config):
        sct = nib.Nifti1Image.from_filename(outcome.result).dataobj
        for name, value in errors_of(sct, test, outcome.source.name).items():
            values[name].append(value)
        values["verdict"].append(outcome.quality.verdict if outcome.quality else None)
    return values


def print_metric(metric: str, known: dict[str, Figures]) -> None:
    """Mean, fall from the scanner of training and gain over the plain way, each a table."""
    means = {
        name: [f"{np.mean(figures[scanner][metric]):.{digits_of(metric)}f}" for scanner in SCANNERS]
        for name, figures in known.items()
    }
    print_rows(f"{metric}, mean", means)
    falls = {
        name: [better_by(metric, figures[HOME], figures[scanner]) for scanner in SCANNERS[1:]]
        for name, figures in known.items()
    }
    print_rows(f"{metric}, fall from {HOME}", {name: ["", *cells] for name, cells in falls.items()})
    plain = known.get("plain")
    if plain:
        gains = {
            name: [better_by(metric, figures[scanner], plain[scanner]) for scanner in SCANNERS]
            for name, figures in known.items()
            if name != "plain"
        }
        print_rows(f"{metric}, gain over plain", gains)


def better_by(metric: str, values: dict[str, list], others: dict[str, list]) -> str:
    """By how much the first are better, with its 95 % interval over subjects."""
    found = compare(values[metric], others[metric], higher_is_better=HIGHER_IS_BETTER[metric])
    gain, low, high = (f"{found[name]:+.{digits_of(metric)}f}" for name in ("gain", "gain_ci95_low", "gain_ci95_high"))
    return f"{gain} ({low} to {high})"


def digits_of(metric: str) -> int:
    return 0 if metric.endswith("[HU]") else 3


def print_rows(title: str, rows: dict[str, list[str]]) -> None:
    print(f"\n| {title} | {' | '.join(SCANNERS)} |\n{'|---' * (len(SCANNERS) + 1)}|")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def print_verdicts(known: dict[str, Figures]) -> None:
    print("\nWhat the check without a true CT says:")
    for name, figures in known.items():
        counts = {scanner: dict(Counter(figures[scanner]["verdict"])) for scanner in SCANNERS}
        print(f"{name}: {counts}")


if __name__ == "__main__":
    sys.exit(main())
