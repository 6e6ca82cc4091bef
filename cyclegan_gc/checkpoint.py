"""Checkpoint files: training state as plain types and tensors, read without running any code from the file."""

import errno
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.errors import UserError

FORMAT = 4
LAST, BEST = "last.pt", "best.pt"
"""Checkpoints of a run folder: the newest, and the one with the best validation score."""
TRAINED = {"networks", "ema", "optimizers", "schedulers", "scaler", "pools", "rng", "meter", "monitor"}
PROGRESS = {"step", "stale", "suspect", "stream", "best_score", "run_id"}
PARTS = {"config", "fingerprint", "init_sha256"} | TRAINED | PROGRESS

State = dict[str, Any]


def save_checkpoint(path: Path, state: State, *, written: Callable[[Path], None] | None = None) -> None:
    """Write ``state`` under ``path``, whole or not at all.

    Args:
        path: of the checkpoint.
        state: plain types and tensors.
        written: called with the finished file before it takes the name ``path``.

    Raises:
        TypeError: if the state holds what could not be read back.
        OSError: if the disk is full or read-only; an earlier file of that name stays as it was.
    """
    _check_plain(state, "state")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, check=written) as file:
        try:
            torch.save({"format": FORMAT, **state}, file)
        except RuntimeError as error:  # raised by the archive's writer on a full disk
            raise OSError(errno.ENOSPC, str(error).splitlines()[0], str(path)) from error


def _check_plain(value: Any, place: str) -> None:
    """NumPy numbers and paths look like plain ones, are written and cannot be read."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{place}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(item, place)
    elif not isinstance(value, torch.Tensor) and type(value) not in (int, float, bool, str, type(None)):
        raise TypeError(f"{place} is of {type(value)}; a checkpoint holds plain types and tensors only")


def checkpoint_in(path: Path) -> Path:
    """The checkpoint file that ``path`` stands for: last.pt of a run folder, otherwise ``path`` itself.

    Raises:
        UserError: if a folder has no last.pt; one line.
    """
    if not path.is_dir():
        return path
    if not (path / LAST).is_file():
        raise UserError(f"{path}: no {LAST} in this folder; give a run folder or a checkpoint file")
    return path / LAST


def load_checkpoint(path: Path) -> State:
    """Read a checkpoint's state with its tensors on the CPU.

    Raises:
        UserError: if the file is missing, damaged, foreign or of another format; one line.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give a run folder or its {LAST}")
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads on over flipped bytes
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"{damaged}: wrong checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign pickle can raise anything
        raise UserError(f"{path}: not a readable checkpoint; give a run folder or its {LAST}") from error
    if isinstance(state, dict) and state.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"{path}: a checkpoint of format {state['format']}, but cyclegan-gc {__version__} reads format {FORMAT}; "
            "use the version of cyclegan-gc that wrote it, or train again"
        )
    if not isinstance(state, dict) or not state.keys() >= PARTS:
        raise UserError(f"{path}: not a checkpoint of cyclegan-gc; give a run folder or its {LAST}")
    return state


def averaged_weights(state: State, name: str) -> State:
    """The moving average of a generator under the names of the network itself."""
    averaged = state["ema"][name].items()
    return {key.removeprefix("module."): value for key, value in averaged if key != "n_averaged"}


def public_name(path: Path) -> str:
    """The name of a checkpoint with that of its run folder, such as "RUN/last.pt".

    Any other folder may be named after a person, and stays private with the rest of the path.
    """
    file = path.absolute()
    return f"{file.parent.name}/{file.name}" if (file.parent / "config.json").is_file() else file.name
