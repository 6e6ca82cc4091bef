"""Logging of a run: always into its own metrics.jsonl, and into Weights & Biases unless that is disabled.

W&B never prompts, its failure never stops a run, and it gets nothing that identifies a person or a machine: no path,
host, command line, console output or git remote, and pictures only if ``wandb.images`` is set. Name, tags and notes of
a run are what the user makes them.
"""

from cyclegan_gc.tracking.account import wandb_mode
from cyclegan_gc.tracking.identity import model_of, name_after
from cyclegan_gc.tracking.keys import wandb_key
from cyclegan_gc.tracking.pseudonyms import Pseudonyms
from cyclegan_gc.tracking.records import Artifact, Picture, Table, code_sha256
from cyclegan_gc.tracking.tracker import Line, Tracker
from cyclegan_gc.tracking.wandb_run import WandbRun

__all__ = [
    "Artifact",
    "Line",
    "Picture",
    "Pseudonyms",
    "Table",
    "Tracker",
    "WandbRun",
    "code_sha256",
    "model_of",
    "name_after",
    "wandb_key",
    "wandb_mode",
]
