"""SHA-256 of volume files, cached by path, size and time of change, so that no file is read twice."""

import glob
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.files import reading
from cyclegan_gc.formats.itk import is_itk
from cyclegan_gc.formats.itk_fields import read_fields, voxel_file

PAIRS = (".hdr", ".hdr.gz")
"""Suffixes of NIfTI headers whose voxels are in another file of the same stem."""


def contents_hash(paths: Sequence[Path], folder: Path) -> str:
    """:func:`content_hash` of one or several volumes, in order."""
    return _joined([content_hash(path, folder) for path in paths])


def known_contents(paths: Sequence[Path], folder: Path) -> str | None:
    """:func:`known_hash` of one or several volumes, in order; None if one is missing."""
    known = [each for path in paths if (each := known_hash(path, folder))]
    return _joined(known) if len(known) == len(paths) else None


def content_hash(path: Path, folder: Path) -> str:
    """Hash of a volume's bytes, its separate voxel file included.

    ``folder`` is the cache; its files are named by hashes of the paths, never by the paths.

    Raises:
        VolumeError: if the file cannot be read; one line.
        OSError: if ``folder`` cannot be written.
    """
    known = known_hash(path, folder)
    if known is not None:
        return known
    with reading(path):
        stamp, content = _stamp(path), bytes_hash([path])
    folder.mkdir(parents=True, exist_ok=True)
    write_text(_note(path, folder), json.dumps({"stamp": stamp, "content": content}))
    return content


def known_hash(path: Path, folder: Path) -> str | None:
    """Cached :func:`content_hash`; None if the volume is not in the cache or has changed since."""
    try:
        known = json.loads(_note(path, folder).read_text())
        return known["content"] if known["stamp"] == _stamp(path) else None
    except (OSError, ValueError):  # missing or damaged cache file
        return None


def bytes_hash(paths: Sequence[Path]) -> str:
    """SHA-256 of the bytes of volumes or DICOM files, their separate voxel files included; not cached."""
    return file_sha256(file for path in paths for file in (path, *_companions(path)))


def _companions(path: Path) -> list[Path]:
    """The other files of a volume with separate header and voxel files; empty for a single file."""
    if is_itk(path):
        with suppress(VolumeError):  # the volume will be refused for the same reason
            return [file] if (file := voxel_file(path, read_fields(path)[0])) != path else []
        return []
    suffix = next((each for each in PAIRS if path.name.lower().endswith(each)), None)
    if suffix is None:
        return []
    stem = path.name[: -len(suffix)] + "."
    return sorted(other for other in path.parent.glob(f"{glob.escape(stem)}*") if other != path and other.is_file())


def _joined(contents: Sequence[str]) -> str:
    return contents[0] if len(contents) == 1 else _hash(" ".join(contents))


def _note(path: Path, folder: Path) -> Path:
    return folder / f"{_hash(str(path.resolve()))[:32]}.hash"


def _stamp(path: Path) -> str:
    """Hash of size and time of change of all files of the volume."""
    facts = [(file.stat().st_size, file.stat().st_mtime_ns) for file in (path, *_companions(path))]
    return _hash(json.dumps(facts))


def _hash(words: str) -> str:
    return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()
