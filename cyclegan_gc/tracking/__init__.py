"""Where a run's figures go: always into its own metrics.jsonl, and into Weights & Biases where that is on.

W&B is a sink: it never prompts, its failure never stops anything, and nothing that identifies a person or a machine is
handed to it: no path, host, command line, console output or git remote.
"""

from cyclegan_gc.tracking.privacy import wandb_mode
from cyclegan_gc.tracking.pseudonyms import Pseudonyms
from cyclegan_gc.tracking.records import Artifact, Picture, Table, code_sha256
from cyclegan_gc.tracking.sink import WandbRun, opened
from cyclegan_gc.tracking.tracker import Tracker

__all__ = [
    "Artifact",
    "Picture",
    "Pseudonyms",
    "Table",
    "Tracker",
    "WandbRun",
    "code_sha256",
    "opened",
    "wandb_mode",
]
