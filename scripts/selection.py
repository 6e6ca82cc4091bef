#!/usr/bin/env python3
"""Does the score that needs no pairs rank checkpoints as the truth does? On phantoms, where the truth is known.

    python scripts/selection.py OUTPUT

Trains runs of different seeds and settings, keeps checkpoints on the way, and compares the score and its parts with the
mean absolute error in the body against the true CT of held-out phantoms: Spearman's rho over all checkpoints, within
runs (mean) and over the runs' last checkpoints. Stopped, it goes on where it was.
"""

import argparse
import csv
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata
from truth import errors_of

from cyclegan_gc.config import (
    DataConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    TrainConfig,
    WandbConfig,
)
from cyclegan_gc.data.cases import load_cases
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.inference import members_of, translate_volume
from cyclegan_gc.model.cyclegan import Networks
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model
from cyclegan_gc.validate.fixed_slices import fixed_slices, validate

KEPT = (100, 200, 300, 450, 600, 800, 1000, 1200)
"""Steps whose checkpoints are kept; the last is the length of a run."""
USUAL = {"cycle": 3.0, "gradient": 0.3, "identity": 0.0, "learning_rate": 4e-4, "width": 16, "blocks": 4}
VARIANTS = [
    {},
    {},
    {"learning_rate": 1.2e-3},
    {"gradient": 0.0, "identity": 0.5},
    {"learning_rate": 8e-5},
    {"cycle": 10.0, "gradient": 1.0},
    {"width": 8, "blocks": 2},
    {"cycle": 1.0, "gradient": 1.0},
]
"""One run each, with its number beyond ``--seed`` as the seed."""
CPU = torch.device("cpu")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of a folder a seed: phantoms, runs and selection.csv")
    parser.add_argument("--runs", type=int, default=len(VARIANTS), help="how many of the runs")
    parser.add_argument("--seed", type=int, default=0, help="other phantoms and other runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    output = options.output / f"seed_{options.seed}"
    phantoms = output / "ph"
    if not phantoms.exists():
        write_phantoms(phantoms, subjects=10, test_subjects=6, seed=100 + options.seed)
    rows = []
    for number in range(options.runs):
        config = config_of(output, number, options.seed + number)
        for step in KEPT:
            checkpoint = config.output / f"step_{step:05d}.pt"
            if not checkpoint.exists():
                train(replace(config, stop_at=step, resume="auto"))
                shutil.copy(config.output / "last.pt", checkpoint)
            rows.append({"run": number, "step": step, **figures_of(checkpoint, config, phantoms / "test")})
            print(" ".join(f"{name}={value:.4g}" for name, value in rows[-1].items()), flush=True)
    with (output / "selection.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    print_correlations(rows)
    return 0


def config_of(output: Path, number: int, seed: int) -> TrainConfig:
    """Phantoms as in the demo, in half the steps and at half its learning rate, without the depth term that the score
    would be trained on, and what the variant changes; two subjects of each modality are held out.
    """
    chosen = {**USUAL, **VARIANTS[number]}
    return TrainConfig(
        output=output / f"run{number}",
        data=DataConfig(
            str(output / "ph" / "mr"),
            str(output / "ph" / "ct"),
            crop=(80, 64),
            match_position=True,
            validation_fraction=0.2,
            cache=output / "cache",
        ),
        steps=KEPT[-1],
        validate_every=200,
        seed=seed,
        device="cpu",
        network=NetworkConfig(
            width=int(chosen["width"]),
            blocks=int(chosen["blocks"]),
            reduction=2,
            stem="unshuffle",
            discriminator_width=16,
        ),
        loss=LossConfig(
            cycle=chosen["cycle"],
            gradient=chosen["gradient"],
            gradient_operator="forward",
            identity=chosen["identity"],
        ),
        optimizer=OptimizerConfig(batch_size=2, learning_rate=chosen["learning_rate"], ema_decay=0.99),
        wandb=WandbConfig(mode="disabled"),
    )


def figures_of(checkpoint: Path, config: TrainConfig, test: Path) -> dict[str, float]:
    """The truth about a checkpoint, the unpaired figures, and the training losses about its step; kept beside it."""
    known = checkpoint.with_suffix(".json")
    if not known.exists():
        model = load_model(checkpoint)
        assert model.back is not None
        networks = Networks(model.generator, model.back, torch.nn.Identity(), torch.nn.Identity())
        cases = load_cases(config)
        fixed = fixed_slices(cases.validation_mr, cases.validation_ct, [*cases.ct, *cases.validation_ct], config)
        look = validate(networks, fixed, config, CPU)
        known.write_text(json.dumps({**truth_of(model, test), **look.figures, **losses_of(config.output, model.step)}))
    return json.loads(known.read_text())


def truth_of(model, test: Path) -> dict[str, float]:
    paths = sorted((test / "mr").iterdir())
    scts = (translate_volume(members_of([model]), read_volume(path)).array for path in paths)
    errors = [errors_of(sct, test, path.name) for sct, path in zip(scts, paths, strict=True)]
    means = {name: float(np.mean([each[name] for each in errors])) for name in errors[0]}
    return {"true_mae": means["MAE [HU]"], "true_bone_dice": means["Dice bone"]}


def losses_of(run: Path, step: int) -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (line,) = [line for line in lines if line["step"] == step and "generator" in line]
    return {
        "training_cycle": line["cycle_mr"] + line["cycle_ct"],
        "training_gan": line["adversarial_ct"] + line["adversarial_mr"],
    }


def print_correlations(rows: list[dict[str, float]]) -> None:
    truth = np.array([row["true_mae"] for row in rows])
    runs, steps = (np.array([row[name] for row in rows]) for name in ("run", "step"))
    last = steps == steps.max()
    print(
        f"\nSpearman's rho with the true MAE over {len(rows)} checkpoints: all, within runs, last checkpoints of runs"
    )
    for name in [*rows[0], "latest step"]:
        if name in ("run", "step", "true_mae"):
            continue
        values = -steps.astype(float) if name == "latest step" else np.array([row[name] for row in rows])
        within = [rho(values[runs == run], truth[runs == run]) for run in np.unique(runs)]
        between = rho(values[last], truth[last]) if name != "latest step" else float("nan")
        print(f"{name:22s} {rho(values, truth):6.2f} {np.mean(within):6.2f} {between:6.2f}")


def rho(values: np.ndarray, truth: np.ndarray) -> float:
    return (
        float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])
        if np.ptp(values) and len(values) > 2
        else float("nan")
    )


if __name__ == "__main__":
    sys.exit(main())
