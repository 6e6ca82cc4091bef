"""MetaImage and NRRD files in and out, with SimpleITK; errors give cause and cure, the caller adds the file name."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.files import check_file
from cyclegan_gc.formats.geometry import LPS_TO_RAS, check_affine, checked_shape, same_grid, shear_notes

if TYPE_CHECKING:
    import SimpleITK

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")


def is_itk(path: Path) -> bool:
    """Whether the name is that of a MetaImage or NRRD file."""
    return path.name.lower().endswith(SUFFIXES)


def itk_grid(path: Path, max_voxels: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (X, Y, Z) and affine to RAS in mm, read from the header only."""
    reader = _read_information(path)
    return _shape(reader, max_voxels), _affine(reader)


def read_itk(path: Path, max_voxels: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Values (X, Y, Z), affine to RAS in mm, and warnings."""
    reader = _read_information(path)
    shape, affine = _shape(reader, max_voxels), _affine(reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(f"the voxels cannot be read ({_cause(error)}); copy the file again from its source") from None
    import SimpleITK

    values = SimpleITK.GetArrayFromImage(image).reshape(shape[::-1]).transpose(2, 1, 0)
    return values, affine, shear_notes(affine)


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


def _read_information(path: Path) -> "SimpleITK.ImageFileReader":
    import SimpleITK

    check_file(path)
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(f"not a readable MetaImage or NRRD file ({_cause(error)}); export it again") from None
    return reader


def _shape(reader: "SimpleITK.ImageFileReader", max_voxels: int) -> tuple[int, ...]:
    values = reader.GetNumberOfComponents()
    if values > 1:
        raise VolumeError(f"{values} values per voxel (colour or vectors); give one real number per voxel")
    return checked_shape(reader.GetSize(), max_voxels)


def _affine(reader: "SimpleITK.ImageFileReader") -> np.ndarray:
    """Affine to RAS in mm; ITK uses LPS."""
    dimensions = reader.GetDimension()
    affine = np.eye(4)
    affine[:3, :3] = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:3, :3] * reader.GetSpacing()[:3]
    affine[:3, 3] = reader.GetOrigin()[:3]
    check_affine(affine)
    return LPS_TO_RAS @ affine


def _cause(error: Exception) -> str:
    """The last line of ITK's message, which states the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-200:] if lines else "no reason given"
