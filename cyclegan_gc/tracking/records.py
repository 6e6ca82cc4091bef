"""What can be shown beside figures: pictures, tables, and files that later runs build on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A picture as it is to be seen; windowing to uint8 is the caller's task.

    Raises:
        ValueError: if it is not uint8, which W&B would cast without scaling.
    """

    pixels: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    caption: str = ""
    """Without any name of a case but its pseudonym."""

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8:
            raise ValueError(f"a picture must be uint8, got {self.pixels.dtype}: W&B would cast without scaling")


Cell = float | int | str | Picture | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Artifact:
    """A file that later runs build on, with what must be known of it."""

    name: str
    kind: Literal["model", "dataset"]
    file: Path
    """Stays as it is until the run is sent."""
    stored_as: str
    """Name of the file in the artifact."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain values without any path."""
    aliases: Sequence[str] = ()


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
