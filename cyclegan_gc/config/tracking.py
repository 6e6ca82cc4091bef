"""Settings of tracking in Weights & Biases."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases options.

    A training writes its local metrics.jsonl in any case.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """How the run is tracked: auto follows the variable WANDB_MODE and is offline without it. online
    without an API key becomes offline."""
    entity: str | None = None
    """W&B user or team that owns the run. Default: WANDB_ENTITY, otherwise the account's own."""
    project: str | None = None
    """W&B project of the run. Default: WANDB_PROJECT, otherwise cyclegan-gc."""
    group: str | None = None
    """W&B group of the run, to compare seeds or settings. Default: WANDB_RUN_GROUP."""
    name: str | None = None
    """W&B name of the run. Default: WANDB_NAME, otherwise the main settings, or the model that is used, and the run's
    id."""
    tags: tuple[str, ...] = ()
    """W&B tags of the run. Default: WANDB_TAGS, separated by commas."""
    notes: str | None = None
    """W&B notes on the run. Default: WANDB_NOTES."""
    images: bool = False
    """Log pictures in W&B too, offline as well. A face can be rebuilt from an MR of the head, so without
    this option no image goes to W&B."""
    system: bool = True
    """Log curves of the use of GPU, CPU, memory and network. They contain no path and no name."""
