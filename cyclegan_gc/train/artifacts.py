"""Name, config and artifacts of a training in W&B: later runs can be traced to them."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.checkpoint import State, load_checkpoint, save_checkpoint
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cases import Cases
from cyclegan_gc.model_files import BEST, LAST
from cyclegan_gc.tracking import Artifact, Pseudonyms, code_sha256

LEFT_OUT = {"optimizers": {}, "schedulers": {}, "scaler": {}, "pools": [], "meter": {}, "monitor": {}}
"""Parts of a checkpoint that a model artifact leaves empty: the pools hold pictures of patients, the rest only serves
to resume."""


def run_name(config: TrainConfig) -> str:
    """Beginning of the run's name: the settings in which runs of one project usually differ."""
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
    """Config shown in W&B: public settings, numbers of volumes, hashes of data and code; no path and no name."""
    return {
        **facts["config"],
        "init_sha256": facts["init_sha256"],
        "trained_on": {
            name: len({stack.name for stack in each})
            for name, each in (("mr", cases.mr), ("ct", cases.ct), ("pairs", cases.pairs))
        },
        "data_sha256": _sha256(facts["fingerprint"]),
        "code": {"version": __version__, "sha256": code_sha256(), "torch": torch.__version__},
    }


def data_artifact(folder: Path, facts: Mapping[str, Any], cases: Cases, pseudonyms: Pseudonyms) -> Artifact:
    """Manifest of the data set, written below RUN/wandb: pseudonyms, hashes of contents, statistics; no path."""
    known: dict[str, dict[str, Any]] = {}
    parts = {
        "train": {"mr": cases.mr, "ct": cases.ct, "pair": cases.pairs},
        "validation": {"mr": cases.validation_mr, "ct": cases.validation_ct},
    }
    for part, modalities in parts.items():
        for modality, stacks in modalities.items():
            for stack in stacks:
                facts_of_case = {"modality": modality, "sha256": stack.content, "parts": []}
                # A pair has the name of its MR, which may be listed on its own as well.
                name = f"{pseudonyms.of(stack.name)}{' with its CT' if modality == 'pair' else ''}"
                entry = known.setdefault(name, {**facts_of_case, **stack.statistics["case"]})
                entry["parts"] = list(dict.fromkeys([*entry["parts"], part]))
    sha256 = _sha256(facts["fingerprint"])
    manifest = {"fingerprint": facts["fingerprint"], "fingerprint_sha256": sha256, "cases": known}
    file = _artifact_file(folder, "data.json")
    write_text(file, json.dumps(manifest, indent=1) + "\n")
    metadata = {"fingerprint_sha256": sha256, "cases": len(known)}
    return Artifact(f"data-{sha256[:16]}", "dataset", file, "data.json", metadata)


def model_artifacts(
    folder: Path, run_id: str | None, figures_until: Callable[[int], Mapping[str, float | None]]
) -> Iterator[Artifact]:
    """The best and the last model of a run, the newest last; one artifact if both are of the same step.

    Args:
        folder: run folder.
        run_id: W&B id of the run, which names the artifacts.
        figures_until: gives the newest figures up to a step.
    """
    files = [name for name in (BEST, LAST) if (folder / name).exists()]
    states = {name: {**load_checkpoint(folder / name), **LEFT_OUT} for name in files}
    aliases = {BEST: ["best"], LAST: ["latest"]}
    if len(states) == 2 and states[BEST]["step"] == states[LAST]["step"]:
        del states[BEST]
        aliases[LAST].append("best")
    for name, state in states.items():
        step = state["step"]
        file, metadata = _write_model(folder / name, state, figures_until(step))
        yield Artifact(f"model-{run_id}", "model", file, "model.pt", metadata, [*aliases[name], f"step-{step}"])


def _write_model(checkpoint: Path, state: State, figures: Mapping[str, float | None]) -> tuple[Path, dict[str, Any]]:
    """Networks and settings of a checkpoint in a file below RUN/wandb that later steps do not change."""
    file = _artifact_file(checkpoint.parent, f"model_step{state['step']:07d}.pt")
    save_checkpoint(file, {name: value for name, value in state.items() if name != "format"})
    return file, {
        "step": state["step"],
        "best_score": state["best_score"] if math.isfinite(state["best_score"]) else None,
        "config": state["config"],
        "figures": dict(figures),
        "checkpoint_sha256": file_sha256([checkpoint]),
        "file_sha256": file_sha256([file]),
        "data_sha256": _sha256(state["fingerprint"]),
        "code_sha256": code_sha256(),
    }


def _artifact_file(folder: Path, name: str) -> Path:
    file = folder / "wandb" / "logged" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _sha256(value: Any) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
