"""Artifacts of W&B: what a run leaves to later ones, and what it builds on itself."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from cyclegan_gc.tracking.records import Artifact


def log_artifact(run: Any, artifact: Artifact) -> None:
    """Add a file to the run's output, without a copy of it."""
    import wandb

    logged = wandb.Artifact(artifact.name, artifact.kind, metadata=dict(artifact.metadata))
    # "mutable" would leave a whole copy in W&B's data folder.
    logged.add_file(str(artifact.file), name=artifact.stored_as, policy="immutable")
    run.log_artifact(logged, aliases=list(artifact.aliases))


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash of the package's own source files, names and contents in order: which code a run ran, without git."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
