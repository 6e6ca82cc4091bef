"""MetaImage and NRRD files in and out, every checksum verified; errors give cause and cure, without the file name."""

import bz2
import zlib
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, same_grid
from cyclegan_gc.formats.itk_header import ItkHeader, read_itk_header
from cyclegan_gc.formats.nifti import MAX_EXTRA_BYTES

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
ANY_STREAM = 32 + zlib.MAX_WBITS
"""Tells zlib to accept its own streams, as in MetaImage, and gzip's, as in NRRD."""
BEGINNINGS = (b"\x1f\x8b", b"BZh")
"""First bytes of a further gzip or bzip2 stream; the others are joined to none."""


def is_itk(path: Path) -> bool:
    """Whether the name is that of a MetaImage or NRRD file."""
    return path.name.lower().endswith(SUFFIXES)


def itk_grid(path: Path, max_voxels: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (X, Y, Z) and affine to RAS in mm, read from the header only."""
    header = read_itk_header(path, max_voxels)
    return header.shape, header.affine


def read_itk(path: Path, max_voxels: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Values (X, Y, Z), affine to RAS in mm, and warnings."""
    header = read_itk_header(path, max_voxels)
    expected = prod(header.shape) * header.dtype.itemsize
    with header.file.open("rb") as file:
        voxels, extra = (_stored if header.encoding == "raw" else _unpacked)(file, header, expected)
    if len(voxels) < expected:
        raise VolumeError(
            f"voxel data shorter than the header says ({len(voxels)} of {expected} bytes); copy the file again"
        )
    notes = [*header.notes, *([f"{extra} bytes after the last voxel were ignored."] if extra else [])]
    return np.frombuffer(voxels, header.dtype).reshape(header.shape, order="F"), header.affine, notes


def _stored(file: IO[bytes], header: ItkHeader, expected: int) -> tuple[bytes, int]:
    """Uncompressed voxels, as many as there are, and the number of bytes after them."""
    size = header.file.stat().st_size
    start = max(0, size - expected) if header.start < 0 else header.start
    file.seek(start)
    return file.read(min(expected, max(0, size - start))), max(0, size - start - expected)


def _unpacked(file: IO[bytes], header: ItkHeader, expected: int) -> tuple[bytes, int]:
    """Voxels of a compressed stream, read to its end, where its checksum is, and the number of bytes after them."""
    file.seek(max(0, header.start))
    packed, voxels, most = file.read(header.packed_bytes), b"", expected + MAX_EXTRA_BYTES
    try:
        while packed and len(voxels) <= most and (not voxels or packed.startswith(BEGINNINGS)):
            stream = bz2.BZ2Decompressor() if header.encoding == "bzip2" else zlib.decompressobj(ANY_STREAM)
            voxels += stream.decompress(packed, most + 1 - len(voxels))
            if not stream.eof and len(voxels) <= most:
                raise VolumeError("the compressed voxels are cut off; copy the file again from its source")
            packed = stream.unused_data
    except (zlib.error, OSError):
        raise VolumeError("the compressed voxels are corrupt (checksum); copy the file again from its source") from None
    if len(voxels) > most:
        raise VolumeError("the file continues far past the voxels of its header; export it again")
    return voxels[:expected], max(0, len(voxels) - expected) + len(packed)


def write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write (X, Y, Z) with its affine to RAS in mm, whole or not at all; it is read again before it gets its name.

    Raises:
        VolumeError: if it cannot be written or differs when read again.
    """
    import SimpleITK

    lps = LPS_TO_RAS @ affine
    spacing_mm = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        with TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder:
            temporary = Path(folder) / f"volume{path.suffix.lower()}"
            SimpleITK.WriteImage(image, str(temporary), useCompression=True)
            values, written, _ = read_itk(temporary, array.size)
            if not np.array_equal(values, array) or not same_grid(values.shape, written, array.shape, affine):
                raise VolumeError("the written file differs from the array in memory; check the disk")
            temporary.replace(path)
    except (OSError, RuntimeError) as error:
        raise VolumeError(f"cannot be written ({_cause(error)}); free or choose a disk") from None


def _cause(error: Exception) -> str:
    """The last line of ITK's message, which states the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-200:] if lines else "no reason given"
