"""Reading MetaImage and NRRD files with SimpleITK; errors give cause and cure, and the caller adds the file name."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan_gc.errors import VolumeError

if TYPE_CHECKING:
    import SimpleITK

SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
MIN_IN_PLANE = 16
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def is_itk(path: Path) -> bool:
    """Whether the name is that of a MetaImage or NRRD file."""
    return path.name.lower().endswith(SUFFIXES)


def itk_grid(path: Path, max_voxels: int) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (X, Y, Z) and affine to RAS in mm, read from the header only."""
    reader = _read_information(path)
    return _checked_shape(reader, max_voxels), _affine(reader)


def read_itk(path: Path, max_voxels: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Values (X, Y, Z), affine to RAS in mm, and warnings."""
    reader = _read_information(path)
    shape = _checked_shape(reader, max_voxels)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise VolumeError(f"the voxels cannot be read ({_cause(error)}); copy the file again from its source") from None
    import SimpleITK

    values = SimpleITK.GetArrayFromImage(image).reshape(shape[::-1]).transpose(2, 1, 0)
    return values, _affine(reader), _orientation_notes(reader)


def _read_information(path: Path) -> "SimpleITK.ImageFileReader":
    import SimpleITK

    if not path.is_file():
        raise VolumeError("not a file; give a volume file" if path.exists() else "no such file; check the path")
    if path.stat().st_size == 0:
        raise VolumeError("the file is empty (0 bytes); copy it again from its source")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise VolumeError(f"not a readable MetaImage or NRRD file ({_cause(error)}); export it again") from None
    return reader


def _checked_shape(reader: "SimpleITK.ImageFileReader", max_voxels: int) -> tuple[int, ...]:
    sizes = reader.GetSize()
    text = " x ".join(map(str, sizes))
    if len(sizes) < 3 or min(sizes) < 1:
        raise VolumeError(f"a {len(sizes)}-D image ({text}); give a 3-D volume")
    if max(sizes[3:], default=1) > 1:
        raise VolumeError(f"{len(sizes)}-D data ({text}); choose one volume and save it as a 3-D file")
    if reader.GetNumberOfComponents() > 1:
        raise VolumeError(
            f"{reader.GetNumberOfComponents()} values per voxel (colour or vectors); give one real number per voxel"
        )
    if np.prod(sizes, dtype=object) > max_voxels:
        raise VolumeError(
            f"the header declares {text} voxels, more than {max_voxels}; the header is broken or the volume too large"
        )
    if sum(n < MIN_IN_PLANE for n in sizes[:3]) >= 2:
        raise VolumeError(f"too small ({text}); two axes need at least {MIN_IN_PLANE} voxels")
    return tuple(sizes[:3])


def _affine(reader: "SimpleITK.ImageFileReader") -> np.ndarray:
    """Affine to RAS in mm; ITK uses LPS."""
    dimensions = reader.GetDimension()
    direction = np.array(reader.GetDirection()).reshape(dimensions, dimensions)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = LPS_TO_RAS @ direction * np.array(reader.GetSpacing()[:3])
    affine[:3, 3] = LPS_TO_RAS @ np.array(reader.GetOrigin()[:3])
    if not np.isfinite(affine).all() or np.linalg.cond(affine[:3, :3]) > 1e6:
        raise VolumeError("the orientation is singular or not a number; export the file again with its orientation")
    return affine


def _orientation_notes(reader: "SimpleITK.ImageFileReader") -> list[str]:
    directions = np.array(reader.GetDirection()).reshape(reader.GetDimension(), -1)[:3, :3]
    if np.abs(directions.T @ directions - np.eye(3)).max() > 1e-3:
        return ["The axes are not at right angles; slices were used as stored."]
    return []


def _cause(error: RuntimeError) -> str:
    """The last line of ITK's message, which states the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-200:] if lines else "no reason given"
