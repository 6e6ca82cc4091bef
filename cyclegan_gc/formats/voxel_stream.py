"""The voxels of a file as bytes: unpacked, verified to the end of the file, and never more than it can hold.

Errors give cause and cure, and the caller adds the file name.
"""

import bz2
import gzip
from collections.abc import Iterable, Iterator
from typing import IO, Literal, TypeAlias

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError

Encoding: TypeAlias = Literal["raw", "deflate", "bzip2"]

CHUNK, PACKED_CHUNK = 2**20, 2**16
MAX_EXTRA_BYTES = 2**26
"""More bytes than this before or after the voxels (extensions, padding) mean a broken header or a gzip bomb."""
MOST_RATIO: dict[Encoding, int] = {"raw": 1, "deflate": 1032, "bzip2": 2**21}
"""Largest compression ratio; bzip2's was measured on zeros (1.1 million)."""
GZIP, BZIP2 = b"\x1f\x8b", b"BZh"
"""First bytes of a stream to which others may be joined; a zlib stream, as in MetaImage, is alone."""


def check_claim(expected: int, packed: int, encoding: Encoding) -> None:
    """Raise a :class:`VolumeError` if ``packed`` bytes of a file cannot hold as many as its header says."""
    if packed * MOST_RATIO[encoding] < expected:
        raise VolumeError(f"voxel data shorter than the header says ({expected} bytes); copy the file again")


def gathered(chunks: Iterable[bytes], expected: int) -> tuple[NDArray[np.uint8], list[str]]:
    """The first ``expected`` bytes, and a note on those after them; all are read, because a checksum is at the end.

    The memory is allocated at once, so that :func:`check_claim` comes before.

    Raises:
        VolumeError: if there are too few, or far too many.
    """
    buffer, size = np.empty(expected, np.uint8), 0
    for chunk in chunks:
        part = np.frombuffer(chunk, np.uint8)[: max(0, expected - size)]
        buffer[size : size + len(part)] = part
        size += len(chunk)
        if size > expected + MAX_EXTRA_BYTES:
            raise VolumeError("the file continues far past the voxels of its header; export it again")
    if size < expected:
        raise VolumeError(f"voxel data shorter than the header says ({size} of {expected} bytes); copy the file again")
    return buffer, [f"{size - expected} bytes after the last voxel were ignored."] if size > expected else []


def chunks_of(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """The rest of a file that is open for reading."""
    while chunk := file.read(CHUNK):
        yield chunk


def unpacked(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a zlib, gzip or bzip2 stream and of those joined to it; other bytes after them are ignored.

    Raises:
        VolumeError: if a stream is cut off or its checksum is wrong.
    """
    packed, first = file.read(PACKED_CHUNK), True
    try:
        while first or packed.startswith((GZIP, BZIP2)):
            stream, first = _decompressor(packed), False
            yield stream.decompress(packed, CHUNK)
            while not stream.eof:
                packed = file.read(PACKED_CHUNK) if stream.needs_input else b""
                if stream.needs_input and not packed:
                    raise VolumeError("the compressed voxels are cut off; copy the file again from its source")
                yield stream.decompress(packed, CHUNK)
            packed = stream.unused_data
            if len(packed) < len(BZIP2):
                packed += file.read(PACKED_CHUNK)
    except (igzip_lib.IsalError, OSError):  # pyright: ignore[reportGeneralTypeIssues]
        raise VolumeError("the compressed voxels are corrupt (checksum); copy the file again from its source") from None


def _decompressor(packed: bytes) -> bz2.BZ2Decompressor | igzip_lib.IgzipDecompressor:
    if packed.startswith(BZIP2):
        return bz2.BZ2Decompressor()
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP if packed.startswith(GZIP) else igzip_lib.DECOMP_ZLIB)
