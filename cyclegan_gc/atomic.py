"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that takes the name ``path`` only when the block ends well; else ``path`` is untouched.

    Raises:
        OSError: if the disk is full or read-only.
    """
    # Opened by name and not by mkstemp, whose 0600 would lock colleagues out of the result.
    temporary = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all.

    Raises:
        OSError: if the disk is full or read-only.
    """
    with atomic_write(path) as file:
        file.write(text.encode())
