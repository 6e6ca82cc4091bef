"""Atomic file writing: under a temporary name, flushed to disk, then renamed."""

import errno
import hashlib
import os
import platform
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows has no such locks, so leftovers of killed processes stay
    fcntl = None

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.part", re.DOTALL)
"""Names of temporary folders."""
LOCK = "lock"
"""File in a temporary folder that is locked while its process lives; network drives lock files but not folders."""
MACHINE = hashlib.sha256(platform.node().encode()).digest()
"""Content of that file, because some network drives show a lock only on the machine that holds it."""
OLD_S = 24 * 3600
"""Age from which a temporary folder of another machine counts as left over."""


@contextmanager
def atomic_write(path: Path, check: Callable[[Path], None] | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing that becomes ``path`` only if the block succeeds; otherwise ``path`` is unchanged.

    ``check`` is called with the finished temporary file; if it raises, ``path`` is unchanged too.

    Raises:
        OSError: if the disk is full or read-only, or a folder has this name.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"a folder is named {path.name}; rename it", str(path))
    with temporary_folder(path) as folder:
        temporary = folder / "file"
        with temporary.open("xb") as file:  # not mkstemp, whose mode 0600 would keep colleagues from reading the result
            yield file
            file.flush()
            os.fsync(file.fileno())
        if check is not None:
            check(temporary)
        temporary.replace(path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Make a folder beside ``path`` to prepare it in; it is removed at the end of the block.

    Raises:
        OSError: if the disk is full or read-only.
    """
    folder = path.with_name(f".{_short(path.name)}.{uuid.uuid4().hex[:12]}.part")
    try:
        folder.mkdir()
        with (folder / LOCK).open("xb") as lock:
            with suppress(OSError):  # a file system without locks
                _lock(lock, wait=True)  # another process may just be asking whether this one lives
            lock.write(MACHINE)
            lock.flush()
            if fcntl is None:
                lock.close()  # Windows could not remove the folder otherwise
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    with temporary_folder(name) as folder:
        temporary = folder / "file"
        try:
            os.link(file, temporary)
        except OSError:
            shutil.copyfile(file, temporary)
        temporary.replace(name)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary folders that killed processes left in ``folder``; what is being written stays.

    Those of another machine are removed after a day.
    """
    for leftover in folder.glob(".*"):
        is_ours = TEMPORARY.fullmatch(leftover.name) and leftover.is_dir() and not leftover.is_symlink()
        if is_ours and _is_dead(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


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


def _short(name: str) -> str:
    """The beginning of a name; the whole name may have at most 255 bytes."""
    return os.fsencode(name)[:180].decode(errors="ignore")


def _is_dead(leftover: Path) -> bool:
    """Whether the process that made a temporary folder has ended."""
    if fcntl is None:
        return False
    try:
        with (leftover / LOCK).open("r+b") as file:
            _lock(file, wait=False)
            if file.read() == MACHINE:
                return True
    except FileNotFoundError:  # not locked yet, or killed before
        pass
    except OSError:
        return False
    try:
        return time.time() - leftover.stat().st_mtime > OLD_S
    except FileNotFoundError:  # gone in the meantime
        return False


def _lock(file: IO[bytes], *, wait: bool) -> None:
    """Lock a file until it is closed or its process ends; without waiting an OSError if another process holds it."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
