"""MetaImage and NRRD files in and out, every checksum verified; errors give cause and cure, without the file name."""

from math import prod
from pathlib import Path

import numpy as np

from cyclegan_gc.atomic import temporary_folder
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, same_grid, voxel_sizes
from cyclegan_gc.formats.itk_header import read_itk_header
from cyclegan_gc.formats.voxel_stream import check_claim, chunks_of, gathered, unpacked

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")


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
    size = header.file.stat().st_size
    start = max(0, size - expected) if header.start < 0 else header.start
    check_claim(expected, size - start, header.encoding)
    with header.file.open("rb") as file:
        file.seek(start)
        chunks = chunks_of(file) if header.encoding == "raw" else unpacked(file)
        voxels, notes = gathered(chunks, expected)
    array = voxels.view(header.dtype).reshape(header.shape, order="F")
    return array, header.affine, [*header.notes, *notes]


def write_itk(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write (X, Y, Z) with its affine to RAS in mm, whole or not at all; it is read again before it gets its name.

    Raises:
        VolumeError: if it cannot be written or differs when read again.
    """
    import SimpleITK

    lps = LPS_TO_RAS @ affine
    spacing_mm = voxel_sizes(lps)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing_mm.tolist())
    image.SetDirection((lps[:3, :3] / spacing_mm).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    try:
        with temporary_folder(path) as folder:
            temporary = folder / f"volume{path.suffix.lower()}"
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
