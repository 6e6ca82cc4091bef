"""Where trained models lie: the checkpoints of a run folder, and the models of the package."""

from pathlib import Path

from cyclegan_gc.errors import UserError

LAST, BEST = "last.pt", "best.pt"
"""Checkpoints of a run folder: the newest, and the one with the best validation score."""
PRETRAINED = Path(__file__).parent / "pretrained"
"""The trained models of the package, as weights files."""


def checkpoint_in(path: Path) -> Path:
    """The file that ``path`` stands for: last.pt of a run folder, a model of the package by its name, else ``path``.

    Raises:
        UserError: if a folder has no last.pt; one line.
    """
    if not path.is_dir():
        pretrained = PRETRAINED / f"{path.name}.safetensors"
        return pretrained if path == Path(path.name) and not path.exists() and pretrained.is_file() else path
    if not (path / LAST).is_file():
        raise UserError(f"{path}: no {LAST} in this folder; give a run folder or a checkpoint file")
    return path / LAST


def public_name(path: Path) -> str:
    """The name of a checkpoint with that of its run folder, such as "RUN/last.pt".

    Any other folder may be named after a person, and stays private with the rest of the path.
    """
    file = path.absolute()
    return f"{file.parent.name}/{file.name}" if (file.parent / "config.json").is_file() else file.name
