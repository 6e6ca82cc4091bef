"""Identity of a W&B run: owner, project, group, name, tags and notes, from options or W&B's own variables."""

import os
from collections.abc import Sequence
from typing import Any

from cyclegan_gc.config import WandbConfig

PROJECT = "cyclegan-gc"


def identity(config: WandbConfig, name: str) -> dict[str, Any]:
    """Arguments of ``wandb.init``: the options; without one, W&B's variable; without both, ``name`` and ``PROJECT``.

    The variables reach W&B because their purpose is to name a run. All others of the environment stay here.
    """
    given = os.environ.get
    return {
        "entity": config.entity or given("WANDB_ENTITY") or None,
        "project": config.project or given("WANDB_PROJECT") or PROJECT,
        "group": config.group or given("WANDB_RUN_GROUP") or None,
        "name": config.name or given("WANDB_NAME") or name,
        "tags": config.tags or tuple(tag.strip() for tag in given("WANDB_TAGS", "").split(",") if tag.strip()),
        "notes": config.notes or given("WANDB_NOTES") or None,
    }


def name_after(job_type: str, artifacts: Sequence[str], hashes: Sequence[str]) -> str:
    """Name of a run that uses a model: ``convert-model-1a2b3c4d-step-3000``, or how many models it uses.

    Args:
        job_type: convert or evaluate.
        artifacts: the models in W&B, each as ``name:alias``.
        hashes: SHA-256 of the models; they name those that are not in W&B.
    """
    names = [each.replace(":", "-") for each in artifacts] or [f"model-{each[:8]}" for each in hashes]
    model = names if len(names) < 2 else [f"{len(names)}-models"]
    return "-".join([job_type, *model])


def model_of(artifacts: Sequence[str]) -> str | None:
    """The artifact that a training and the runs of its model share, ``model-ID``; None without a single one."""
    names = {each.partition(":")[0] for each in artifacts}
    return names.pop() if len(names) == 1 else None
