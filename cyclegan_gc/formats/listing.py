"""The files that an input names: a folder, a glob pattern, a text list or a single file."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import READABLE, WRITABLE, is_special, named_path, not_a_file, suffix_of

Accept = Callable[[Path], bool]


def list_files(source: str | Path, accept: Accept) -> tuple[Path, list[Path]]:
    """The root of a folder (with its subfolders), a glob pattern, a text list or one file; and what ``accept`` takes.

    The files are sorted. Hidden files and folders are skipped. A folder reached twice through links is read once. A
    list holds one path per line, relative to the folder of the list; empty lines and lines that begin with ``#`` are
    ignored. Folders in a list or matched by a pattern are searched too.

    Raises:
        UserError: if nothing is taken or a listed file is missing; the message says what was found instead.
    """
    path = named_path(source)
    if path.is_dir():
        return path, _accepted(_walk(path), accept, f"{source}: no volume in this folder")
    if path.is_file():
        if accept(path) or suffix_of(path):
            return path.parent, [path]
        return path.parent, _read_list(path, accept)
    if glob.has_magic(str(path)):
        root, found = _expand(path)
        return root, _accepted(found, accept, f"{source}: the pattern matches no volume")
    raise UserError(f"{source}: {not_a_file(path) if path.exists() else 'no such file or folder; check the path'}")


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below ``folder`` that is not hidden; links are followed, and each real folder is read once."""
    seen = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        folders[:] = [] if real in seen else sorted(f for f in folders if not f.startswith("."))
        yield from (Path(name) / f for f in files if real not in seen and not f.startswith("."))
        seen.add(real)


def _expand(pattern: Path) -> tuple[Path, list[Path]]:
    """Root and files of a pattern. Uses pathlib because ``**`` in glob follows loops of links without end."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = [
        path
        for path in root.glob(str(Path(*pattern.parts[fixed:])))
        if not any(part.startswith(".") for part in path.relative_to(root).parts)
    ]
    return root, [file for path in found for file in (_walk(path) if path.is_dir() else [path])]


def _accepted(files: Iterator[Path] | list[Path], accept: Accept, complaint: str) -> list[Path]:
    files = sorted(set(files))
    volumes = [file for file in files if not file.name.startswith(".") and accept(file)]
    if volumes:
        return volumes
    found = Counter(file.suffix or "no suffix" for file in files).most_common(5)
    known = ", ".join(s for s in READABLE if not s.startswith(".img"))
    found_text = ", ".join(f"{n} x {s}" for s, n in found) or "no files at all"
    raise UserError(f"{complaint} ({known}); found {found_text}")


def listed_paths(path: Path) -> dict[Path, int]:
    """The paths in a text list and the number of each one's line."""
    content = path.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: the list is in UTF-16; save it in UTF-8")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: neither a volume nor a text list of volumes in UTF-8; give {', '.join(WRITABLE)}"
        ) from None
    return {
        path.parent / named_path(line.strip()): number
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    }


def _read_list(path: Path, accept: Accept) -> list[Path]:
    volumes: set[Path] = set()
    listed = listed_paths(path)
    for volume, number in listed.items():
        found = list(_walk(volume)) if volume.is_dir() else [volume] if volume.is_file() else []
        accepted = [file for file in found if accept(file)]
        if not accepted:
            state = "not a volume" if found else _not_found(volume)
            if number == min(listed.values()) and len(listed) > 1 and not (volume.exists() or suffix_of(volume)):
                raise UserError(f"{path}: line {number}: {volume}: {state}; looks like a header: remove or correct it")
            raise UserError(f"{path}: line {number}: {volume}: {state}; correct the list")
        volumes.update(accepted)
    if not volumes:
        raise UserError(f"{path}: the list names no file; write one path per line")
    return sorted(volumes)


def _not_found(listed: Path) -> str:
    """Reason why a line of a list names no file."""
    if is_special(listed):
        return "a pipe or a device"
    marks = {
        '"': "quotes, which belong to no path",
        "\\": "backslashes instead of /",
        ",": "a comma; one path per line",
    }
    found = [words for mark, words in marks.items() if mark in str(listed)]
    return "no such file" + (f" (the line has {found[0]})" if found else "")
