"""Which volumes a user means: a folder, a glob pattern, a text list or one file."""

import glob
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from cyclegan_gc.errors import UserError

SUFFIXES = (".nii", ".nii.gz")


def case_id(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    name = path.name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def find_volumes(source: str | Path) -> list[Path]:
    """All NIfTI files of a folder (with its subfolders), a glob pattern, a text list or one file, sorted.

    Hidden files and folders are skipped; a folder reached twice through links is read once. A list holds one path
    a line, relative to the list's own folder; empty lines and lines that begin with ``#`` do not count.

    Raises:
        UserError: if nothing is there, or a listed file is missing; says what was found instead.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _volumes_among(list(_walk(path)), f"{source}: no .nii or .nii.gz file in this folder")
    if path.is_file():
        return [path] if path.name.lower().endswith(SUFFIXES) else _read_list(path)
    if glob.has_magic(str(path)):
        return _volumes_among(_expand(path), f"{source}: the pattern matches no .nii or .nii.gz file")
    raise UserError(f"{source}: no such file or folder; check the path")


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below ``folder`` that is not hidden; links are followed, each real folder once."""
    seen = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        folders[:] = [] if real in seen else sorted(f for f in folders if not f.startswith("."))
        yield from (Path(name) / f for f in files if real not in seen and not f.startswith("."))
        seen.add(real)


def _expand(pattern: Path) -> list[Path]:
    """Files that match; pathlib's ``**`` stays out of linked folders, glob's follows a loop of links for ever."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = root.glob(str(Path(*pattern.parts[fixed:])))
    return [f for f in found if f.is_file() and not any(p.startswith(".") for p in f.relative_to(root).parts)]


def _volumes_among(files: list[Path], complaint: str) -> list[Path]:
    volumes = sorted(f for f in files if f.name.lower().endswith(SUFFIXES) and not f.name.startswith("."))
    if volumes:
        return volumes
    found = Counter(f.suffix or "no suffix" for f in files).most_common(5)
    raise UserError(f"{complaint}; found {', '.join(f'{n} x {s}' for s, n in found) or 'no files at all'}")


def _read_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: neither NIfTI nor a text list of files; give .nii or .nii.gz") from None
    volumes = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        volume = path.parent / Path(line.strip()).expanduser()
        if not volume.is_file() or not volume.name.lower().endswith(SUFFIXES):
            state = "not a .nii or .nii.gz file" if volume.is_file() else "no such file"
            raise UserError(f"{path}: line {number}: {line.strip()}: {state}; correct the list")
        volumes.append(volume)
    if not volumes:
        raise UserError(f"{path}: the list names no file; write one path a line")
    return sorted(set(volumes))
