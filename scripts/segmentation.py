#!/usr/bin/env python3
"""Measures how well synthetic CTs can be segmented: the second experiment of Hiasa et al. 2018, on a study's phantoms.

    python scripts/ablation.py gradient DIR
    python scripts/segmentation.py OUTPUT --ablation DIR --study gradient

Trains a small 2-D U-Net on CT slices and labels of other phantoms. Applies it to the synthetic CTs of every run of the
study and, as an upper bound, to the true CTs. Compares the labels with the truth: Dice of each group of tissues, and
the gain of each arm over the study's first one. Writes runs.csv, table.md, table.json and plot.png. Takes some minutes
on a CPU; the network is kept, so a second start only applies it.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ablation_report import write_ablation
from comparison import Result
from monai.losses.dice import DiceCELoss
from monai.networks.nets.unet import UNet
from study_volumes import volumes_of
from torch import Tensor, nn
from torch.nn import functional

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.checkpoint import State
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.measures import Metric
from cyclegan_gc.formats.files import case_id
from cyclegan_gc.formats.volumes import Volume, read_volume
from cyclegan_gc.metrics import dice
from cyclegan_gc.model.cyclegan import AIR
from cyclegan_gc.phantom.subject import LABELS, write_phantoms
from cyclegan_gc.prepare.preprocess import in_canonical_frame, prepare

GROUPS = {
    "soft tissue": ("skin", "fat", "muscle", "organ", "tendon", "vessel"),
    "brain": ("grey", "white", "fluid"),
    "bone": ("cortical", "marrow"),
    "cavities": ("cavity",),
}
"""Classes of the network, beside the air around the body."""
DICE = {name: Metric(f"Dice {name}", 3, "higher") for name in GROUPS}
TRUE = "true CT"
SIZE = (112, 96)
"""Height and width to which every slice is padded."""
BATCH = 8


class Labelled(NamedTuple):
    """Slices of one volume with their classes."""

    images: Tensor
    """(D, 1, h, w) in [-1, 1]."""
    groups: Tensor
    """(D, 1, h, w) int64, 0 for air, then the groups from 1."""


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the network, its phantoms and the table")
    parser.add_argument("--ablation", type=Path, required=True, help="output folder of scripts/ablation.py")
    parser.add_argument("--study", default="gradient", help="one of its studies")
    parser.add_argument("--steps", type=int, default=800, help="steps of the segmentation network's training")
    parser.add_argument("--subjects", type=int, default=16, help="phantoms that the network is trained on")
    parser.add_argument("--seed", type=int, default=2000, help="seed of these phantoms and of the training")
    options = parser.parse_args(words)
    try:
        study = read_study(options.ablation, options.study)
        if study["test"]["mask"].startswith(f"data/test_seed_{options.seed}/"):
            raise UserError(f"--seed {options.seed}: the tested heads have this seed; give another")
        network = trained(options)
        results = [result for run in study["runs"] for result in results_of(run, network, study, options.ablation)]
        results += upper_bound(network, study, options.ablation)
        write_ablation(options.output, f"{options.study}, segmented", results, study["reference"], metrics=DICE)
    except UserError as error:
        print(f"segmentation: {error}", file=sys.stderr)
        return 2
    print((options.output / "table.md").read_text(encoding="utf-8"))
    return 0


def read_study(ablation: Path, study: str) -> dict[str, Any]:
    file = ablation / study / "table.json"
    if not file.exists():
        raise UserError(f"{file}: no such file; run scripts/ablation.py {study} {ablation} first")
    known = json.loads(file.read_text())
    # Only phantoms have label maps as masks.
    if not (known["test"]["mask"] or "").startswith("data/"):
        raise UserError(f"{file}: a study on volumes of your own, whose labels are not known; give one on phantoms")
    return known


def trained(options: argparse.Namespace) -> nn.Module:
    """The segmentation network; it is trained unless a network with the same options was kept."""
    made_by = {"steps": options.steps, "subjects": options.subjects, "seed": options.seed}
    file, network = options.output / "segmenter.pt", build()
    known: State = torch.load(file, weights_only=True) if file.exists() else {}
    if known.get("made_by") == made_by:
        network.load_state_dict(known["network"])
        return network.eval()
    phantoms = options.output / "phantoms" / f"seed_{options.seed}"
    write_phantoms(phantoms, subjects=1, test_subjects=options.subjects, seed=options.seed)
    folders = phantoms / "test" / "ct", phantoms / "test" / "labels"
    files = (volumes_of(folder)[: options.subjects] for folder in folders)
    volumes = [labelled(*map(read_volume, paths)) for paths in zip(*files, strict=True)]
    torch.manual_seed(options.seed)
    fit(network := build(), volumes, options.steps)
    with atomic_write(file) as opened:
        torch.save({"made_by": made_by, "network": network.state_dict()}, opened)
    return network.eval()


def build() -> nn.Module:
    return UNet(2, 1, 1 + len(GROUPS), channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=1, norm="INSTANCE")


def fit(network: nn.Module, volumes: list[Labelled], steps: int) -> None:
    """Train with Adam on Dice and cross entropy; slices are drawn and mirrored at random."""
    images, groups = (torch.cat(each) for each in zip(*volumes, strict=True))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    measure = DiceCELoss(to_onehot_y=True, softmax=True)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(images), (BATCH,))
        mirrored = [-1] if torch.rand(()) < 0.5 else []
        loss = measure(network(images[chosen].flip(mirrored)), groups[chosen].flip(mirrored))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)


def labelled(ct: Volume, labels: Volume) -> Labelled:
    """Upright slices of a true or synthetic CT, with the groups of its phantom's labels on the same grid.

    Raises:
        VolumeError: if the CT shows no body.
    """
    image = prepare(ct, "ct", PreprocessConfig()).image.as_tensor()
    tissues = in_canonical_frame(labels).as_tensor().round().long()
    return Labelled(padded(image, AIR), padded(group_of()[tissues], 0))


def group_of() -> Tensor:
    """A lookup table from a tissue's label to its group."""
    groups = torch.zeros(max(LABELS.values()) + 1, dtype=torch.int64)
    for number, tissues in enumerate(GROUPS.values(), start=1):
        groups[[LABELS[tissue] for tissue in tissues]] = number
    return groups


def padded(volume: Tensor, value: float) -> Tensor:
    """(1, H, W, D) to (D, 1, h, w)."""
    slices = volume.permute(3, 0, 1, 2)
    short = [wanted - own for wanted, own in zip(SIZE, slices.shape[2:], strict=True)]
    if min(short) < 0:
        raise UserError(f"slices of {tuple(slices.shape[2:])} pixels are larger than those of phantom heads, {SIZE}")
    return functional.pad(slices, (0, short[1], 0, short[0]), value=value)


@torch.inference_mode()
def segment(network: nn.Module, images: Tensor) -> Tensor:
    """(D, 1, h, w) in [-1, 1] to groups (D, 1, h, w)."""
    return torch.cat([network(part).argmax(1, keepdim=True) for part in images.split(BATCH)])


def overlaps(network: nn.Module, ct: Path, labels: Path) -> dict[str, float | None]:
    """Dice of each group over the whole volume; 0 for a CT that shows no body."""
    volumes = read_volume(ct), read_volume(labels)
    try:
        images, truth = labelled(*volumes)
    except VolumeError:
        return dict.fromkeys(GROUPS, 0.0)
    found, truth = segment(network, images).numpy(), truth.numpy()
    return {name: dice(found == number, truth == number) for number, name in enumerate(GROUPS, start=1)}


def results_of(run: dict[str, Any], network: nn.Module, study: dict[str, Any], ablation: Path) -> list[Result]:
    """The overlaps of every subject of one run."""
    print(f"{run['arm']}, {run['volumes']} volumes, seed {run['seed']}", flush=True)
    folder, test = ablation / run["folder"], study["test"]
    done = json.loads((folder / "done.json").read_text())
    if f"convert DIR/{test['mr']} " not in done["commands"][0]:
        raise UserError(
            f"{folder}: its converted heads are of another test set; run scripts/ablation.py {study['study']} again"
        )
    results = []
    for subject in done["subjects"]:
        sct, labels = folder / "sct" / f"{subject}_sct.nii.gz", ablation / test["mask"] / f"{subject}.nii.gz"
        results.append(Result(run["arm"], run["volumes"], run["seed"], subject, overlaps(network, sct, labels)))
    return results


def upper_bound(network: nn.Module, study: dict[str, Any], ablation: Path) -> list[Result]:
    """The overlaps of the true CTs, repeated for every run of the reference."""
    folders = (ablation / study["test"][kind] for kind in ("ct", "mask"))
    pairs = zip(*(volumes_of(folder) for folder in folders), strict=True)
    values = {case_id(labels): overlaps(network, ct, labels) for ct, labels in pairs}
    beside = [run for run in study["runs"] if run["arm"] == study["reference"]]
    return [Result(TRUE, run["volumes"], run["seed"], name, each) for run in beside for name, each in values.items()]


if __name__ == "__main__":
    sys.exit(main())
