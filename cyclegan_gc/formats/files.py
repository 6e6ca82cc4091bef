"""Finding volume files in a folder, a glob pattern, a text list or a single file; making the folder of results."""

import glob
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclegan_gc.errors import UserError, VolumeError, named

NIFTI = (".nii", ".nii.gz")
WRITABLE = (*NIFTI, ".mha", ".nrrd")
"""Suffixes of volume files that can be written."""
READABLE = (*WRITABLE, ".hdr", ".hdr.gz", ".img", ".img.gz", ".mhd", ".nhdr")
"""Suffixes of volume files that can be read; an .img is read through its .hdr."""
MOST_SIDECAR_BYTES = 2**24
BIDS_RESULT = "_desc-synthetic_ct"
"""End of the name of a synthetic CT in a BIDS folder."""

Accept = Callable[[Path], bool]


def check_file(path: Path) -> None:
    """Raise a :class:`VolumeError` (without the file name) unless ``path`` is a file with content."""
    if not path.is_file():
        raise VolumeError(not_a_file(path))
    if path.stat().st_size == 0:
        raise VolumeError("the file is empty (0 bytes); copy it again from its source")


def not_a_file(path: Path) -> str:
    """Reason why ``path`` is no regular file; a pipe or a device is never opened, because reading might not end."""
    if path.is_dir():
        return "not a file but a folder; give a volume file"
    return "not a regular file but a pipe or a device; give a file" if path.exists() else "no such file; check the path"


def named_path(words: str | Path) -> Path:
    """The path that a user wrote, ``~`` expanded where it stands for a home.

    Raises:
        UserError: if no file can have such a name (too long, a NUL).
    """
    try:
        path = Path(words).expanduser()
    except RuntimeError:  # "~x" is a name where there is no user x
        path = Path(words)
    try:
        path.exists()
    except (OSError, ValueError) as error:
        raise UserError(f"{str(words)[:60]!r}: no file can have this name ({error.args[-1]}); check it") from None
    return path


def is_special(path: Path) -> bool:
    """Whether ``path`` is a pipe, a device or a link to one."""
    return path.exists() and not (path.is_file() or path.is_dir())


def make_folder(output: Path) -> None:
    """Make a folder for results and try to write in it, before hours of work.

    Raises:
        UserError: if it cannot be made or written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another output folder") from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Put the file's name before the message of an error; errors of the system become :class:`VolumeError`."""
    try:
        with named(path):
            yield
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error


def case_id(path: Path) -> str:
    """File name without its volume suffix."""
    suffix = _suffix(path)
    return path.name[: -len(suffix)] if suffix else path.name


def uncertainty_name(name: str) -> str:
    """Name of the uncertainty map beside a result of that name; both without suffix."""
    if name.endswith(BIDS_RESULT):
        return f"{name.removesuffix(BIDS_RESULT)}_desc-uncertainty_ct"
    return f"{name}_uncertainty"


def result_of_uncertainty(name: str) -> str | None:
    """Name of the result that an uncertainty map belongs to, without suffix; None for the name of another file."""
    for mapped, result in (("_desc-uncertainty_ct", BIDS_RESULT), ("_uncertainty", "")):
        if name.endswith(mapped):
            return name.removesuffix(mapped) + result
    return None


def read_sidecar(path: Path, most_bytes: int = MOST_SIDECAR_BYTES) -> dict[str, Any]:
    """A JSON file that this program wrote beside a result; empty if it is missing or another program's."""
    try:
        if not path.is_file() or path.stat().st_size > most_bytes:
            return {}
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) and str(known.get("tool", "")).startswith("cyclegan-gc ") else {}


def is_volume(path: Path) -> bool:
    """Whether the name is that of a volume file; the .img of a .hdr/.img pair does not count."""
    suffix = _suffix(path)
    if suffix is None or not suffix.startswith(".img"):
        return suffix is not None
    stem = path.name[: -len(suffix)].lower()
    return not {stem + ".hdr", stem + ".hdr.gz"} & {other.name.lower() for other in path.parent.iterdir()}


def join_contrasts(volumes: Sequence[Path], contrasts: Sequence[str], source: str) -> dict[Path, dict[str, Path]]:
    """Group volumes into cases of several contrasts, without files that are none.

    Volumes of one case are in one folder and their names differ only in the ending (without suffix). The path without
    the ending names the case; if the name is then empty, the folder names it. ``source`` is named in messages.

    Raises:
        UserError: if no name has one of the endings, or a case has two files of one contrast.
    """
    cases: dict[Path, dict[str, Path]] = {}
    for path in volumes:
        name = case_id(path)
        ending = max((each for each in contrasts if name.endswith(each)), key=len, default=None)
        if ending is None:
            continue
        known = cases.setdefault(path.parent / name.removesuffix(ending), {})
        if ending in known:
            raise UserError(f"{path}: second file of this case and contrast, beside {known[ending].name}; remove one")
        known[ending] = path
    if not cases:
        raise UserError(f"{source}: no name ends in {' or '.join(contrasts)}; correct --data.contrasts or the input")
    return dict(sorted(cases.items()))


def missing_contrasts(known: Mapping[str, Path], contrasts: Sequence[str]) -> str | None:
    """Message on the contrasts that a case lacks; None if it is complete."""
    missing = [ending for ending in contrasts if ending not in known]
    return f"has no {', '.join(missing)}; add or remove it" if missing else None


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
        if accept(path) or _suffix(path):
            return path.parent, [path]
        return path.parent, _read_list(path, accept)
    if glob.has_magic(str(path)):
        root, found = _expand(path)
        return root, _accepted(found, accept, f"{source}: the pattern matches no volume")
    raise UserError(f"{source}: {not_a_file(path) if path.exists() else 'no such file or folder; check the path'}")


def _suffix(path: Path) -> str | None:
    name = path.name.lower()
    # Longest first.
    return next((s for s in sorted(READABLE, key=len, reverse=True) if name.endswith(s)), None)


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
    for volume, number in listed_paths(path).items():
        found = list(_walk(volume)) if volume.is_dir() else [volume] if volume.is_file() else []
        accepted = [file for file in found if accept(file)]
        if not accepted:
            state = "not a volume" if found else _not_found(volume)
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
