"""Log entries other than figures: pictures, tables, and artifacts (files that later runs build on)."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """A picture in its final grey values or colours; the caller has windowed it to uint8.

    Raises:
        ValueError: if it is not uint8, which W&B would cast without scaling.
    """

    pixels: NDArray[np.uint8]
    """(H, W) or (H, W, 3)."""
    caption: str = ""
    """May contain pseudonyms of cases, never their names."""

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8:
            raise ValueError(f"a picture must be uint8, got {self.pixels.dtype}: W&B would cast without scaling")


Cell = float | int | str | Picture | Callable[[], Picture] | None
"""A function draws its picture only if pictures are logged."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Artifact:
    """A file that later runs build on, and its description."""

    name: str
    kind: Literal["model", "dataset"]
    file: Path
    """Must not change until the run is sent."""
    stored_as: str
    """Name of the file in the artifact."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Plain values without any path."""
    aliases: Sequence[str] = ()


def as_wandb(values: Mapping[str, Cell | Table], *, images: bool) -> dict[str, Any]:
    """The values as W&B logs them; without ``images`` no picture and no table column that holds one."""
    kept = {name: value for name, value in values.items() if images or not _is_picture(value)}
    return {name: _table(value, images) if isinstance(value, Table) else _cell(value) for name, value in kept.items()}


def log_artifact(artifact: Artifact, run: Any) -> None:
    """Add a file to the output of a W&B run; the file is not copied."""
    import wandb

    logged = wandb.Artifact(artifact.name, artifact.kind, metadata=dict(artifact.metadata))
    # "mutable" would leave a whole copy in W&B's data folder.
    logged.add_file(str(artifact.file), name=artifact.stored_as, policy="immutable")
    run.log_artifact(logged, aliases=list(artifact.aliases))


@lru_cache(maxsize=1)
def code_sha256() -> str:
    """Hash of the names and contents of the package's source files: identifies the code without git."""
    package, digest = Path(__file__).parents[1], hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _table(table: Table, images: bool) -> Any:
    import wandb

    with_pictures = {n for row in table.rows for n, cell in enumerate(row) if _is_picture(cell)}
    kept = [n for n in range(len(table.columns)) if images or n not in with_pictures]
    rows = [[_cell(row[n]) for n in kept] for row in table.rows]
    return wandb.Table(columns=[table.columns[n] for n in kept], data=rows)


def _is_picture(value: Cell | Table) -> bool:
    return isinstance(value, Picture) or callable(value)


def _cell(value: Cell) -> Any:
    import wandb

    if callable(value):
        value = value()
    return wandb.Image(value.pixels, caption=value.caption) if isinstance(value, Picture) else value
