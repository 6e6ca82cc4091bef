"""What can be shown beside figures: pictures, tables, and files that later runs build on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
