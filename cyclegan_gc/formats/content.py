"""SHA-256 of volumes and series, cached by path, size and time of change, so that no file is read twice."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.files import pair_of, reading
from cyclegan_gc.formats.itk import is_itk
from cyclegan_gc.formats.itk_fields import read_fields, voxel_file
from cyclegan_gc.formats.sources import Source, path_of


def contents_hash(sources: Sequence[Source], folder: Path) -> str:
    """One hash of several cases, in order."""
    return _joined([_of_frames(content_hash(files, folder), each) for each in sources for files in _parts(each)])


def known_contents(sources: Sequence[Source], folder: Path) -> str | None:
    """:func:`contents_hash` without reading a volume; None if one is not in the cache or has changed since."""
    known = [(_known_hash(files, folder), source) for source in sources for files in _parts(source)]
    found = [_of_frames(content, source) for content, source in known if content is not None]
    return _joined(found) if len(found) == len(known) else None


def case_hashes(source: Source, folder: Path) -> dict[str, Path]:
    """The hash of each contrast of a case, or of its frames in a DICOM series, and its file or folder."""
    return {_of_frames(content_hash(files, folder), source): path_of(files) for files in _parts(source)}


def content_hash(files: Sequence[Path], folder: Path) -> str:
    """Hash of the bytes of a volume file, its separate voxel file included, or of the files of a series.

    ``folder`` is the cache; its files are named by hashes of the paths, never by the paths.

    Raises:
        VolumeError: if a file cannot be read; one line.
        OSError: if ``folder`` cannot be written.
    """
    known = _known_hash(files, folder)
    if known is not None:
        return known
    with reading(files[0]):
        stamp, content = _stamp(files), bytes_hash(files)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(_note(files, folder), json.dumps({"stamp": stamp, "content": content}))
    return content


def bytes_hash(paths: Sequence[Path]) -> str:
    """SHA-256 of the bytes of volumes or DICOM files, their separate voxel files included; not cached."""
    return file_sha256(file for path in paths for file in (path, *_companions(path)))


def _companions(path: Path) -> list[Path]:
    """The other files of a volume with separate header and voxel files; empty for a single file."""
    if is_itk(path):
        with suppress(VolumeError):  # the volume will be refused for the same reason
            return [file] if (file := voxel_file(path, read_fields(path)[0])) != path else []
        return []
    return [file for file in pair_of(path) if file and file != path]


def _parts(source: Source) -> list[tuple[Path, ...]]:
    """The files of each contrast, or of the series."""
    return [(path,) for path in source.files] if source.series is None else [source.files]


def _of_frames(content: str, source: Source) -> str:
    """The hash of the case's frames among those of its files."""
    return _hash(f"{content} {source.frames}") if source.frames else content


def _known_hash(files: Sequence[Path], folder: Path) -> str | None:
    """Cached :func:`content_hash`; None if it is not in the cache or a file has changed since."""
    try:
        known = json.loads(_note(files, folder).read_text())
        return known["content"] if known["stamp"] == _stamp(files) else None
    except (OSError, ValueError):  # missing or damaged cache file
        return None


def _joined(contents: Sequence[str]) -> str:
    return contents[0] if len(contents) == 1 else _hash(" ".join(contents))


def _note(files: Sequence[Path], folder: Path) -> Path:
    return folder / f"{_hash(' '.join(os.path.realpath(path) for path in files))[:32]}.hash"


def _stamp(files: Sequence[Path]) -> str:
    """Hash of size and time of change of all files, their separate voxel files included."""
    every = [file for path in files for file in (path, *_companions(path))]
    return _hash(json.dumps([(file.stat().st_size, file.stat().st_mtime_ns) for file in every]))


def _hash(words: str) -> str:
    return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()
