"""Volumes in memory: read with checks, with their geometry in mm, and written on the same grid.

Unusable volumes, such as an all-NaN image, a mask given as MR or a singular affine, raise a one-line error with the
file, the cause and the cure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from isal import igzip

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.errors import VolumeError, named
from cyclegan_gc.formats.files import WRITABLE, reading
from cyclegan_gc.formats.geometry import same_grid
from cyclegan_gc.formats.itk import is_itk, itk_grid, read_itk, write_itk
from cyclegan_gc.formats.nifti import Header, geometry_header, read_header, read_nifti, slope_and_intercept, write_nifti
from cyclegan_gc.formats.nifti_affine import affine_mm

MAX_VOXELS = 2**31
LABEL_ROUNDING = 0.1
"""Largest difference between a scaled label and a whole number."""
MAX_LABEL = 65535


@dataclass(frozen=True)
class Volume:
    """One image on its own grid; ``warnings`` are sentences that the caller logs."""

    array: np.ndarray
    """(X, Y, Z) float32 in the file's axis order, slope and intercept applied, finite."""
    affine: np.ndarray
    """(4, 4) float64, voxel index to RAS position in mm."""
    header: Header
    """The source's header; only its geometry is used."""
    warnings: tuple[str, ...] = ()
    further: tuple[np.ndarray, ...] = ()
    """Other contrasts on the same grid, like ``array``."""

    @property
    def contrasts(self) -> tuple[np.ndarray, ...]:
        """All contrasts, beginning with ``array``."""
        return (self.array, *self.further)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the three array axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_volume(path: Path, *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read one NIfTI, MetaImage or NRRD file; a gzip checksum is verified to the end of the stream.

    NaN and infinite voxels are set to the smallest finite value, which is background in MR and CT (0 HU would be
    water). If sform and qform disagree, the sform is used. Metres and micrometres are converted to mm. A header that
    declares more than ``max_voxels`` is refused before memory is allocated.

    Raises:
        VolumeError: if the volume cannot be used; one line with the path, the cause and the cure.
    """
    with reading(path):
        stored = _read_stored(path, max_voxels)
        array, notes = _scaled_values(stored.header, stored.array)
    return replace(stored, array=array, warnings=(*stored.warnings, *notes))


def read_contrasts(paths: Sequence[Path], *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read several contrasts as one volume; raises also if their grids differ."""
    return joined_contrasts([read_volume(path, max_voxels=max_voxels) for path in paths], paths)


def joined_contrasts(volumes: Sequence[Volume], names: Sequence[Path | str]) -> Volume:
    """Several contrasts as one volume; raises a VolumeError with a name if their grids differ."""
    first, *others = volumes
    for name, other in zip(names[1:], others, strict=True):
        if not same_grid(other.array.shape, other.affine, first.array.shape, first.affine):
            raise VolumeError(f"{name}: not on the grid of {Path(names[0]).name}; resample the contrasts to one grid")
    notes = [f"Contrast {number}: {note}" for number, other in enumerate(others, start=2) for note in other.warnings]
    return replace(first, further=tuple(other.array for other in others), warnings=(*first.warnings, *notes))


def volume_grid(path: Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Shape (X, Y, Z) and affine (4, 4) in mm, read and checked from the header only."""
    with reading(path):
        if is_itk(path):
            return itk_grid(path, MAX_VOXELS)
        header, shape = read_header(path, MAX_VOXELS)
        return shape, affine_mm(header, shape)[0]


def volume_on_grid(values: np.ndarray, affine: np.ndarray, notes: Sequence[str] = ()) -> Volume:
    """A volume (X, Y, Z) from another format than NIfTI, with checked values and a new header.

    Raises:
        VolumeError: if there is no signal (without the file name, which the caller adds).
    """
    with np.errstate(over="ignore"):
        array, value_notes = _checked_values(np.array(values, np.float32, order="F"), values)
    return Volume(array, np.asarray(affine, np.float64), geometry_header(affine), (*notes, *value_notes))


def read_mask(path: Path) -> Volume:
    """Read a mask or label map by :func:`as_mask`."""
    with reading(path):
        return as_mask(_read_stored(path))


def read_labels(path: Path) -> Volume:
    """Read a label map by :func:`as_labels`; raises also as :func:`read_volume`."""
    with reading(path):
        return as_labels(_read_stored(path))


def as_mask(stored: Volume) -> Volume:
    """A volume of stored numbers as uint8: 1 where they are not 0, and 0 for NaN. It may be constant."""
    values, rounding = _values_and_rounding(stored)
    return replace(stored, array=(np.abs(values) > rounding).astype(np.uint8))


def as_labels(stored: Volume) -> Volume:
    """A volume of stored numbers as a label map, uint8 or uint16. It may be constant.

    Raises:
        VolumeError: if a voxel is not a whole number from 0 to 65535 (without the file name, which the caller adds).
    """
    values, rounding = _values_and_rounding(stored)
    # Written as "not" so that NaN is refused too.
    if not (values.min() >= -rounding and values.max() <= MAX_LABEL):
        raise VolumeError(f"labels run from {values.min():g} to {values.max():g}; give a map of 0 to {MAX_LABEL}")
    labels = np.rint(values).astype(np.uint8 if values.max() < 255.5 else np.uint16)
    if np.abs(labels - values).max() > min(rounding, LABEL_ROUNDING):
        raise VolumeError("not a label map: it holds values that are not whole numbers; give the label map")
    return replace(stored, array=labels)


def _values_and_rounding(stored: Volume) -> tuple[np.ndarray, float]:
    """The values with slope and intercept applied, and their largest rounding error (half a step)."""
    slope, intercept = slope_and_intercept(stored.header)
    if (slope, intercept) == (1, 0):
        return stored.array, 0.0
    return stored.array * slope + intercept, abs(slope) / 2


def _read_stored(path: Path, max_voxels: int = MAX_VOXELS) -> Volume:
    """The stored numbers of a file, without slope, intercept or checks."""
    if is_itk(path):
        voxels, affine, notes = read_itk(path, max_voxels)
        return Volume(voxels, affine, geometry_header(affine), tuple(notes))
    header, shape, voxels, notes = read_nifti(path, max_voxels)
    affine, geometry_notes = affine_mm(header, shape)
    return Volume(voxels, affine, header, (*notes, *geometry_notes))


def write_volume(path: Path, array: np.ndarray, like: Volume) -> None:
    """Write ``array`` on the grid of ``like``; if anything fails, an older file at ``path`` is kept.

    Before the file gets its name, it is read again and compared with the array and the grid. The header is new. Only
    sform, qform, their codes and the units are copied from the source, so no description or extension can carry a
    name. Equal input gives equal bytes.

    ``path`` ends in .nii, .nii.gz, .mha or .nrrd; ``array`` is (X, Y, Z) int16, uint8 or float32, in the shape of
    ``like``.

    Raises:
        ValueError: if shape, data type or suffix is wrong.
        VolumeError: if the file cannot be written (disk full, read-only).
    """
    if array.shape != like.array.shape:
        raise ValueError(f"{path}: array of shape {array.shape} does not fit the grid {like.array.shape}")
    if array.dtype not in (np.int16, np.uint8, np.float32):
        raise ValueError(f"{path}: cannot write {array.dtype}; use int16, uint8 or float32")
    if not path.name.lower().endswith(WRITABLE):
        raise ValueError(f"{path}: a volume's name ends in .nii, .nii.gz, .mha or .nrrd")
    if is_itk(path):
        with named(path):
            return write_itk(path, array, like.affine)
    try:
        with named(path), atomic_write(path, check=lambda written: _verify(written, array, like)) as file:
            if path.name.lower().endswith(".gz"):
                with igzip.IGzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                    write_nifti(stream, array, like.header)
            else:
                write_nifti(file, array, like.header)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error}); free or choose a disk") from error


def _verify(written: Path, array: np.ndarray, like: Volume) -> None:
    """Read a file again with its checksum and compare it with what was written."""
    header, shape, voxels, _ = read_nifti(written, array.size)
    affine, _ = affine_mm(header, shape)
    expected, _ = affine_mm(like.header, array.shape)
    if shape != array.shape or not np.array_equal(voxels, array):
        raise VolumeError("the written file differs from the array in memory; check the disk")
    if not np.array_equal(affine, expected):
        raise VolumeError("the geometry of the written file differs from the source's; please report this")


def _scaled_values(header: Header, voxels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Finite float32 values with slope and intercept applied."""
    slope, intercept = slope_and_intercept(header)
    with np.errstate(over="ignore", invalid="ignore"):
        if (slope, intercept) == (1.0, 0.0):
            return _checked_values(voxels.astype(np.float32, order="F"), voxels)
        array = np.empty(voxels.shape, np.float32, order="F")
        for z in range(voxels.shape[2]):
            array[..., z] = voxels[..., z].astype(np.float64) * slope + intercept
    return _checked_values(array, voxels)


def _checked_values(array: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The array with NaN and infinite values replaced in place; raises for an image without signal.

    ``stored`` tells values that are infinite in the file from those that only float32 cannot hold.
    """
    notes, but = [], ""
    low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        finite = np.isfinite(array)
        bad = finite.size - int(np.count_nonzero(finite))
        kind = "too large (beyond 3.4e38)" if (np.isfinite(stored) > finite).any() else "NaN or infinite"
        if bad == finite.size:
            raise VolumeError(f"no signal: every voxel is {kind}; export the file again")
        low, high = float(array[finite].min()), float(array[finite].max())
        array[~finite] = low
        notes.append(f"{bad} {kind} voxels ({100 * bad / finite.size:.2g} %) were set to the minimum {low:g}.")
        but = f" or {kind}"
    if low == high:
        raise VolumeError(f"no signal: every voxel is {low:g}{but}; check the export")
    if not any(np.any((plane != low) & (plane != high)) for plane in np.moveaxis(array, 2, 0)):
        raise VolumeError(f"binary: only the values {low:g} and {high:g}, as in a mask; give the image")
    return array, notes
