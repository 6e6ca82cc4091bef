"""What is in a file, by its SHA-256; remembered by place, size and time of change, so that no file is read twice."""

import glob
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.errors import VolumeError

HEADERS = (".hdr", ".hdr.gz", ".mhd", ".nhdr")
"""Suffixes of files whose voxels lie in another one, of the same name or named in them."""
VOXELS_IN = re.compile(r"^(?:ElementDataFile *=|data ?file:) *(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
"""Of a MetaImage and an NRRD header, the file of the voxels; not of those that list one file a slice."""
HEADER_CHARACTERS = 65536


def contents_hash(paths: Sequence[Path], folder: Path) -> str:
    """Hash of one or several volumes' bytes, in their order; errors as :func:`content_hash`."""
    return _joined([content_hash(path, folder) for path in paths])


def known_contents(paths: Sequence[Path], folder: Path) -> str | None:
    """The same without reading a volume; None where one is not remembered or has changed since."""
    known = [each for path in paths if (each := known_hash(path, folder))]
    return _joined(known) if len(known) == len(paths) else None


def content_hash(path: Path, folder: Path) -> str:
    """Hash of a volume's bytes, its separate voxel file included.

    Args:
        path: of the volume.
        folder: where hashes are remembered, under hashes of the paths, never the paths themselves.

    Raises:
        VolumeError: if the file cannot be read; one line.
        OSError: if ``folder`` cannot be written.
    """
    known = known_hash(path, folder)
    if known is not None:
        return known
    try:
        stamp, content = _stamp(path), file_sha256([path, *companions(path)])
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_text(_note(path, folder), json.dumps({"stamp": stamp, "content": content}))
    return content


def known_hash(path: Path, folder: Path) -> str | None:
    """The same without reading the volume; None where it is not remembered or the file has changed since."""
    try:
        known = json.loads(_note(path, folder).read_text())
        return known["content"] if known["stamp"] == _stamp(path) else None
    except (OSError, ValueError):  # not there, or a note that is not whole
        return None


def companions(path: Path) -> list[Path]:
    """The other files of a volume whose voxels lie apart from its header; none of any other."""
    suffix = next((each for each in HEADERS if path.name.lower().endswith(each)), None)
    if suffix is None:
        return []
    stem = path.name[: -len(suffix)] + "."
    with path.open(encoding="utf-8", errors="replace") as file:
        named = [path.parent / name for name in VOXELS_IN.findall(file.read(HEADER_CHARACTERS))]
    others = {*path.parent.glob(f"{glob.escape(stem)}*"), *named} - {path}
    return sorted(other for other in others if other.is_file())


def _joined(contents: Sequence[str]) -> str:
    return contents[0] if len(contents) == 1 else _hash(" ".join(contents))


def _note(path: Path, folder: Path) -> Path:
    return folder / f"{_hash(str(path.resolve()))[:32]}.hash"


def _stamp(path: Path) -> str:
    """Changes with the size or the time of any of the volume's files."""
    facts = [(file.stat().st_size, file.stat().st_mtime_ns) for file in (path, *companions(path))]
    return _hash(json.dumps(facts))


def _hash(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()
