"""Atomic file writing: under a temporary name, flushed to disk, then renamed."""

import errno
import glob
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no such locks, so leftovers of killed processes stay
    fcntl = None


@contextmanager
def atomic_write(path: Path, check: Callable[[Path], None] | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing that becomes ``path`` only if the block succeeds; otherwise ``path`` is unchanged.

    ``check`` is called with the finished temporary file; if it raises, ``path`` is unchanged too.

    Raises:
        OSError: if the disk is full or read-only, or a folder has this name.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"a folder is named {path.name}; rename it", str(path))
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            with suppress(OSError):  # a file system without locks
                _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically; names that are not UTF-8 are escaped.

    Raises:
        OSError: if the disk is full or read-only.
    """
    with atomic_write(path) as file:
        file.write(text.encode(errors="backslashreplace"))


def link_over(file: Path, name: Path) -> None:
    """Give ``file`` a second name, replacing an older file; a copy if the file system has no hard links.

    Raises:
        OSError: if the disk is full or read-only; ``name`` is then unchanged.
    """
    temporary = _temporary(name)
    try:
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
        temporary.replace(name)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files for ``path`` left by killed processes; files still being written are locked and stay."""
    if fcntl is None:
        return
    for leftover in path.parent.glob(f".{glob.escape(_short(path.name))}.{'?' * 12}.part"):
        try:
            with leftover.open("rb") as file:
                _lock(file)
            leftover.unlink(missing_ok=True)
        except OSError:
            continue


def file_sha256(paths: Iterable[Path]) -> str:
    """SHA-256 of the bytes of all files in order, in hexadecimal.

    Raises:
        OSError: if a file cannot be read or is no regular file; reading a pipe might not end.
    """
    digest = hashlib.sha256()
    for path in paths:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()


def _temporary(path: Path) -> Path:
    # Not mkstemp, whose mode 0600 would keep colleagues from reading the result.
    return path.with_name(f".{_short(path.name)}.{uuid.uuid4().hex[:12]}.part")


def _short(name: str) -> str:
    """The beginning of a name; the whole name may have at most 255 bytes."""
    return os.fsencode(name)[:180].decode(errors="ignore")


def _lock(file: IO[bytes]) -> None:
    """Lock a file until it is closed or its process ends; an OSError if another process holds the lock."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
