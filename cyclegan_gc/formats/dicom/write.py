"""Writing a synthetic CT as a series in the source's study, on its grid or an axial one, and reading it again."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from cyclegan_gc.atomic import temporary_folder
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.ct_image import SeriesLabel, common_attributes, slice_object
from cyclegan_gc.formats.dicom.geometry import Frame, aligned
from cyclegan_gc.formats.dicom.header import text_of
from cyclegan_gc.formats.dicom.read import read_frames, read_slices
from cyclegan_gc.formats.geometry import LPS_TO_RAS, is_axial, resample_axially, voxel_sizes

AXIAL_DEGREES = 1.0
"""Most planning systems import CT slices only if they are axial."""


def write_ct_series(
    folder: Path,
    hu: NDArray[np.int16],
    affine: NDArray[np.float64],
    reference: Sequence[Path],
    label: SeriesLabel,
    chosen: Sequence[int] = (),
    axial_outside_hu: int | None = None,
) -> list[str]:
    """Write a synthetic CT as a series into ``folder``, whole or not at all; an older folder is replaced.

    Returns warnings on what a planning system may refuse or not find, and a remark on resampling.

    Before the folder gets its name, the series is read again and compared with the voxels and their grid.

    Args:
        folder: folder of the series, with the files 0001.dcm and so on.
        hu: (X, Y, Z).
        affine: (4, 4) voxel index to RAS in mm; the grid of the reference, up to order and direction of the axes.
        reference: files of the source series.
        label: content of descriptions and identifiers.
        chosen: indices of the frames of the source among those of its files; empty for all.
        axial_outside_hu: resample to a new, axial grid, with this value outside the source; None keeps the source's
            grid, and so does a source that is axial with square pixels.

    Raises:
        VolumeError: if the reference cannot be used, the grids differ or the disk is full (without the folder's name).
    """
    source = read_slices(reference, chosen)
    grid, voxels = source.grid, aligned(hu, affine, source.grid.shape, source.grid.affine)
    frames, affine, remarks = [source.frames[index] for index in grid.order], grid.affine, []
    if grid.fitted:
        frames = _placed(frames, affine)
    if axial_outside_hu is not None and not is_axial(voxels.shape, affine):
        voxels, affine = resample_axially(voxels, affine, outside=axial_outside_hu)
        frames = _axial_frames(frames[0], affine, voxels.shape[2])
        sizes = " x ".join(f"{mm:.3g}" for mm in voxel_sizes(affine))
        remarks = [f"Resampled linearly to axial slices with voxels of {sizes} mm; air outside the source."]
    voxels = np.ascontiguousarray(voxels)
    label = replace(label, derivation=" ".join([*remarks, label.derivation]))
    common = common_attributes(source.first, label, voxels)
    distance_mm = float(np.linalg.norm(affine[:3, 2]))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder) as temporary:
            series = temporary / "series"
            series.mkdir()
            for z, frame in enumerate(frames):
                dataset = slice_object(common, voxels[..., z].T, frame, z + 1, distance_mm)
                _save(dataset, series / f"{z + 1:04d}.dcm")
            _verify(series, voxels, affine)
            _take_name(series, folder)
    except OSError as error:
        raise VolumeError(f"cannot be written ({error.strerror or error}); free or choose a disk") from error
    return [*_warnings(source.first, affine), *remarks]


def _warnings(source: Dataset, affine: NDArray[np.float64]) -> list[str]:
    """Sentences on a new study and on slices that are not axial."""
    missing = [name for name in ("StudyInstanceUID", "FrameOfReferenceUID") if not text_of(source, name)]
    notes = [f"The source has no {name}; a new one was made, so the series stands alone." for name in missing]
    notes += [] if text_of(source, "PatientID") else ["The source has no PatientID, and neither has the series."]
    normal = np.abs(np.cross(affine[:3, 0], affine[:3, 1]))
    degrees = np.degrees(np.arccos(min(1.0, normal[2] / np.linalg.norm(normal))))
    if degrees > AXIAL_DEGREES:
        plane = ("sagittal", "coronal", "oblique")[int(normal.argmax())]
        notes.append(
            f"The CT series is {plane} ({degrees:.0f} degrees from axial); planning systems refuse such a CT. "
            "--resample axial writes one that they take."
        )
    return notes


def _axial_frames(first: Frame, affine: NDArray[np.float64], count: int) -> list[Frame]:
    """The slices of an axial grid like that of :func:`cyclegan_gc.formats.geometry.resample_axially`.

    None of them is a slice of the source, whose ``first`` they are like otherwise.
    """
    to_lps = LPS_TO_RAS @ affine
    directions, spacing = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (float(to_lps[1, 1]), float(to_lps[0, 0]))
    like = replace(first, sop_instance="", orientation=directions, pixel_spacing=spacing)
    return _placed([like] * count, affine)


def _placed(frames: Sequence[Frame], affine: NDArray[np.float64]) -> list[Frame]:
    """The slices at the positions of a grid, given by its affine to RAS."""
    to_lps = LPS_TO_RAS @ affine
    positions = to_lps[:3, 3] + np.arange(len(frames))[:, None] * to_lps[:3, 2]
    return [replace(frame, position=tuple(place.tolist())) for frame, place in zip(frames, positions, strict=True)]


def _save(dataset: Dataset, path: Path) -> None:
    with path.open("xb") as file:
        dataset.save_as(file, enforce_file_format=True)
        file.flush()
        os.fsync(file.fileno())


def _verify(folder: Path, voxels: NDArray[np.int16], affine: NDArray[np.float64]) -> None:
    values, written_affine, _ = read_frames(sorted(folder.iterdir()), voxels.size)
    if not np.allclose(written_affine, affine, atol=1e-3):
        raise VolumeError("the geometry of the written series differs from the source's; please report this")
    if not np.array_equal(values, voxels):
        raise VolumeError("the written series differs from the array in memory; check the disk")


def _take_name(series: Path, folder: Path) -> None:
    """Give the finished folder its name; an older one takes its place in the temporary folder."""
    older = series.with_name("older")
    if folder.exists():
        others = [path.name for path in folder.iterdir() if not re.fullmatch(r"\d+\.dcm", path.name)]
        if others:
            raise VolumeError(f"the folder holds other files, such as {others[0]}; choose another output folder")
        folder.rename(older)
    try:
        series.rename(folder)
    except BaseException:  # Control-C too
        if older.exists():
            older.rename(folder)
        raise
