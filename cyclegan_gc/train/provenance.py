"""What a training tells of itself: its name, its config, and the artifacts that later runs are traced back to."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.checkpoint import State, load_checkpoint, save_checkpoint
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cases import Cases
from cyclegan_gc.formats.content import contents_hash
from cyclegan_gc.tracking import Artifact, Pseudonyms, code_sha256
from cyclegan_gc.train.checkpoints import BEST, LAST

LEFT_OUT = {"optimizers": {}, "schedulers": {}, "scaler": {}, "pools": [], "meter": {}, "monitor": {}}
"""Of a checkpoint in a model artifact: the pools hold pictures of the training's patients, the rest is for going on."""


def run_name(config: TrainConfig) -> str:
    """What tells runs of one project apart at a glance."""
    loss, optimizer = config.loss, config.optimizer
    if config.objective == "paired":
        own = config.paired
        return (
            f"paired-l1{own.l1:g}-gc{own.gradient:g}-{own.adversarial}-lr{optimizer.learning_rate:g}-seed{config.seed}"
        )
    gradient = f"gc{loss.gradient:g}{'-signed' if loss.gradient_mode == 'signed' else ''}"
    depth = f"-depth{loss.depth_histogram:g}" if loss.depth_histogram else ""
    pairs = f"-pairs-l1{config.paired.l1:g}" if config.data.pairs is not None else ""
    rest = f"lr{optimizer.learning_rate:g}-seed{config.seed}"
    return f"cycle{loss.cycle:g}-{gradient}-id{loss.identity:g}{depth}{pairs}-{rest}"


def run_settings(facts: Mapping[str, Any], cases: Cases) -> dict[str, Any]:
    """The public settings with what was trained on and with which code; no path and no name."""
    return {
        **facts["config"],
        "init_sha256": facts["init_sha256"],
        "trained_on": {
            name: len({stack.sources for stack in each})
            for name, each in (("mr", cases.mr), ("ct", cases.ct), ("pairs", cases.pairs))
        },
        "data_sha256": hash_of(facts["fingerprint"]),
        "code": {"version": __version__, "sha256": code_sha256(), "torch": torch.__version__},
    }


def data_artifact(
    folder: Path, cache: Path, facts: Mapping[str, Any], cases: Cases, pseudonyms: Pseudonyms
) -> Artifact:
    """The data set as a manifest of hashes, written below ``folder``/wandb: pseudonyms, contents, figures; no path."""
    known: dict[str, dict[str, Any]] = {}
    parts = {
        "train": {"mr": cases.mr, "ct": cases.ct, "pair": cases.pairs},
        "validation": {"mr": cases.validation_mr, "ct": cases.validation_ct},
    }
    for part, modalities in parts.items():
        for modality, stacks in modalities.items():
            for stack in stacks:
                facts_of_case = {"modality": modality, "sha256": contents_hash(stack.sources, cache), "parts": []}
                # A pair bears the name of its MR, which may stand here alone as well.
                name = f"{pseudonyms.of(stack.name)}{' with its CT' if modality == 'pair' else ''}"
                entry = known.setdefault(name, {**facts_of_case, **stack.statistics["case"]})
                entry["parts"] = list(dict.fromkeys([*entry["parts"], part]))
    sha256 = hash_of(facts["fingerprint"])
    manifest = {"fingerprint": facts["fingerprint"], "fingerprint_sha256": sha256, "cases": known}
    file = folder / "wandb" / "left" / "data.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(manifest, indent=1) + "\n")
    metadata = {"fingerprint_sha256": sha256, "cases": len(known)}
    return Artifact(f"data-{sha256[:16]}", "dataset", file, "data.json", metadata)


def model_artifacts(folder: Path) -> dict[Path, list[str]]:
    """The checkpoints that a run leaves, the newest last, with their aliases; one file where both are the same step."""
    steps = {name: load_checkpoint(folder / name)["step"] for name in (BEST, LAST) if (folder / name).exists()}
    known_as = {BEST: ["best"], LAST: ["latest"]}
    if steps.get(BEST) == steps.get(LAST):
        steps.pop(BEST, None)
        known_as[LAST].append("best")
    return {folder / name: [*known_as[name], f"step-{step}"] for name, step in steps.items()}


def model_artifact(
    folder: Path,
    checkpoint: Path,
    aliases: list[str],
    run_id: str | None,
    figures_until: Callable[[int], Mapping[str, float | None]],
) -> Artifact:
    """Networks and settings of a checkpoint, written below ``folder``/wandb so that the file stays what it is."""
    state: State = load_checkpoint(checkpoint)
    file = folder / "wandb" / "left" / f"model_step{state['step']:07d}.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(file, {name: value for name, value in {**state, **LEFT_OUT}.items() if name != "format"})
    metadata = {
        "step": state["step"],
        "best_score": state["best_score"] if math.isfinite(state["best_score"]) else None,
        "config": state["config"],
        "figures": dict(figures_until(state["step"])),
        "checkpoint_sha256": file_sha256([checkpoint]),
        "file_sha256": file_sha256([file]),
        "data_sha256": hash_of(state["fingerprint"]),
        "code_sha256": code_sha256(),
    }
    return Artifact(f"model-{run_id}", "model", file, "model.pt", metadata, aliases)


def hash_of(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
