"""Names of volume files and of results, and files that can be read or written at all."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclegan_gc.errors import UserError, VolumeError, named

NIFTI = (".nii", ".nii.gz")
WRITABLE = (*NIFTI, ".mha", ".nrrd")
"""Suffixes of volume files that can be written."""
READABLE = (*WRITABLE, ".hdr", ".hdr.gz", ".img", ".img.gz", ".mhd", ".nhdr")
"""Suffixes of volume files that can be read; an .img is read through its .hdr."""
HALVES = tuple(
    tuple(name + zipped for zipped in ("", ".gz", ".GZ") for name in names)
    for names in ((".hdr", ".HDR", ".Hdr"), (".img", ".IMG", ".Img"))
)
"""Suffixes of the header and of the voxels of a pair, in the order in which they are looked for."""
MOST_SIDECAR_BYTES = 2**24
BIDS_RESULT = "_desc-synthetic_ct"
"""End of the name of a synthetic CT in a BIDS folder."""


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
        unread = f"cannot be read ({error.strerror or error}); check its permissions"
        raise VolumeError(f"{path}: {not_a_file(path) if is_special(path) else unread}") from error


def case_id(path: Path) -> str:
    """File name without its volume suffix."""
    suffix = suffix_of(path)
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
    suffix = suffix_of(path)
    return suffix is not None and (not suffix.startswith(".img") or pair_of(path)[0] is None)


def pair_of(path: Path) -> tuple[Path | None, Path | None]:
    """The header and the voxel file of a .hdr/.img pair, None for one that is missing; any other file is both."""
    if not (suffix_of(path) or "").startswith((".hdr", ".img")):
        return path, path
    header, voxels = (
        next((file for suffix in suffixes if os.path.lexists(file := path.with_name(case_id(path) + suffix))), None)
        for suffixes in HALVES
    )
    return header, voxels


def suffix_of(path: Path) -> str | None:
    """The suffix of a volume file in small letters; None for any other name."""
    name = path.name.lower()
    # Longest first.
    return next((s for s in sorted(READABLE, key=len, reverse=True) if name.endswith(s)), None)
