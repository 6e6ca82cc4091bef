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
    project: str = "cyclegan-gc"
    """W&B project of the run."""
    group: str | None = None
    """W&B group of the run, to compare seeds or settings."""
    images: bool = False
    """Log pictures in W&B too, offline as well. A face can be rebuilt from an MR of the head, so without this pictures
    are only in the folder panels."""
