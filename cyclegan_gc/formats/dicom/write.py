"""Writing a synthetic CT as a series in the source's study: one CT Image Storage object per slice (DICOM PS3.3 A.3).

Only the tags listed here are copied from the source; they keep the patient and the study, by design.
"""

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, config
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds, validate_value

from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.geometry import Frame, aligned, axial_frames
from cyclegan_gc.formats.dicom.header import open_dicom, text_of, whole_of
from cyclegan_gc.formats.dicom.read import read_frames, read_slices
from cyclegan_gc.formats.geometry import resample_axially, same_grid

PATIENT_AND_STUDY = (
    *("SpecificCharacterSet", "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
    *("PatientAge", "PatientSize", "PatientWeight", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
    *("StudyDescription", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition", "Laterality"),
    *("BodyPartExamined", "SeriesDate", "SeriesTime", "ContentDate", "ContentTime"),
)
"""Tags copied from the first object of the source; no other tag is copied."""
EMPTY_WHERE_MISSING = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("ReferringPhysicianName", "AccessionNumber", "PositionReferenceIndicator", "Laterality"),
)
"""Type 2 attributes: they must be present, but may be empty."""
REQUIRED = (*EMPTY_WHERE_MISSING, "SpecificCharacterSet", "StudyInstanceUID", "FrameOfReferenceUID")
"""Copied even if the value violates the standard, because another value would mean another patient or study."""
SERIES_NUMBER_OFFSET = 9000
MANUFACTURER = "cyclegan_gc"
SERIES_DESCRIPTION = "Synthetic CT, research only"
SOFT_TISSUE_WINDOW_HU = (40, 400)
AXIAL_DEGREES = 1.0
"""Most planning systems import CT slices only if they are axial."""
PURPOSE = ("121322", "DCM", "Source image for image processing operation")
"""Context group 7202."""


@dataclass(frozen=True)
class SeriesLabel:
    """How the series was made."""

    key: str
    """Hash of source, model and settings; identifiers are derived from it and from the pixels."""
    derivation: str
    """Text on model and settings."""
    software: str
    """Name and version of this program."""
    mark: str = ""
    """Word of warning at the end of the series description, which viewers list."""
    comment: str = ""
    """Image comments of every slice."""


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
    if axial_outside_hu is not None:
        resampled, axial = resample_axially(voxels, affine, outside=axial_outside_hu)
        if not same_grid(resampled.shape, axial, voxels.shape, affine):
            voxels, affine, frames = resampled, axial, axial_frames(frames[0], axial, resampled.shape[2])
            remarks = [f"Resampled linearly to axial slices with voxels of {_sizes(axial)} mm; air outside the source."]
    voxels = np.ascontiguousarray(voxels)
    label = replace(label, derivation=" ".join([*remarks, label.derivation]))
    common = _common(source.first, label, _uid(label.key, voxels.tobytes()))
    distance_mm = float(np.linalg.norm(affine[:3, 2]))
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        temporary.mkdir(parents=True)
        for z, frame in enumerate(frames):
            dataset = _slice(common, voxels[..., z].T, frame, z + 1, distance_mm)
            _save(dataset, temporary / f"{z + 1:04d}.dcm")
        _verify(temporary, voxels, affine)
        _take_name(temporary, folder)
    except OSError as error:
        raise VolumeError(f"cannot be written ({error.strerror or error}); free or choose a disk") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [*_warnings(source.first, affine), *remarks]


def is_synthetic_ct(path: Path) -> bool:
    """Whether a DICOM file was written by this program."""
    tags = ("Manufacturer", "SeriesDescription")
    try:
        header = open_dicom(path, tags=tags)
    except VolumeError:
        return False
    maker, description = (text_of(header, tag) for tag in tags)
    return maker == MANUFACTURER and description.startswith(SERIES_DESCRIPTION)


def _common(source: Dataset, label: SeriesLabel, series_uid: str) -> Dataset:
    """The attributes that all slices share."""
    common = Dataset()
    for name in (name for name in PATIENT_AND_STUDY if name in source):
        if name in REQUIRED or _is_valid(source, name):
            common[name] = source[name]
    for name in EMPTY_WHERE_MISSING:
        if name not in common:
            setattr(common, name, "")
    if not common.get("StudyInstanceUID"):
        common.StudyInstanceUID = _uid("study", label.key.encode())
    if not common.get("FrameOfReferenceUID"):
        common.FrameOfReferenceUID = _uid("frame of reference", label.key.encode())
    if not common.get("PatientPosition"):
        common.PatientPosition = ""
    common.SOPClassUID = CTImageStorage
    common.Modality = "CT"
    common.SeriesInstanceUID = series_uid
    common.SeriesNumber = SERIES_NUMBER_OFFSET + (whole_of(source, "SeriesNumber") or 0) % 1000
    common.SeriesDescription = f"{SERIES_DESCRIPTION}, {label.mark}" if label.mark else SERIES_DESCRIPTION
    if label.comment:
        common.ImageComments = label.comment[:10240]
    common.Manufacturer = common.ManufacturerModelName = MANUFACTURER
    common.SoftwareVersions = label.software
    common.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    common.DerivationDescription = f"Synthetic CT from MR. {DISCLAIMER} {label.derivation}"[:1024]
    common.BurnedInAnnotation = "NO"
    common.AcquisitionNumber = common.KVP = None
    common.SamplesPerPixel, common.PhotometricInterpretation = 1, "MONOCHROME2"
    common.BitsAllocated = common.BitsStored = 16
    common.HighBit, common.PixelRepresentation = 15, 1
    common.RescaleIntercept, common.RescaleSlope, common.RescaleType = 0, 1, "HU"
    common.WindowCenter, common.WindowWidth = SOFT_TISSUE_WINDOW_HU
    return common


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


def _sizes(affine: NDArray[np.float64]) -> str:
    return " x ".join(f"{mm:.3g}" for mm in np.linalg.norm(affine[:3, :3], axis=0))


def _is_valid(source: Dataset, name: str) -> bool:
    try:
        element = source[name]
        for value in element.value if isinstance(element.value, MultiValue) else [element.value]:
            validate_value(element.VR, str(value), config.RAISE)
    except Exception:  # pydicom raises many types for values that violate the standard
        return False
    return True


def _slice(common: Dataset, pixels: NDArray[np.int16], frame: Frame, number: int, distance_mm: float) -> Dataset:
    dataset = Dataset()
    dataset.update(common)
    dataset.SOPInstanceUID = UID(_uid(str(common.SeriesInstanceUID), str(number).encode()))
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = _decimals(frame.position)
    dataset.ImageOrientationPatient = _decimals(frame.orientation)
    dataset.PixelSpacing = _decimals(frame.pixel_spacing)
    dataset.SliceThickness = format_number_as_ds(distance_mm)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    if frame.sop_class and frame.sop_instance:
        dataset.SourceImageSequence = [_reference_to(frame)]
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _reference_to(frame: Frame) -> Dataset:
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = PURPOSE
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class, frame.sop_instance
    if frame.number is not None:
        item.ReferencedFrameNumber = frame.number
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


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


def _take_name(temporary: Path, folder: Path) -> None:
    """Give the finished folder its name and remove an older one."""
    old = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.old")
    if folder.exists():
        others = [path.name for path in folder.iterdir() if not re.fullmatch(r"\d+\.dcm", path.name)]
        if others:
            raise VolumeError(f"the folder holds other files, such as {others[0]}; choose another output folder")
        folder.rename(old)
    temporary.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _uid(name: str, content: bytes) -> str:
    """A UID under 2.25 (DICOM PS3.5 B.2), the same for equal content."""
    digest = hashlib.sha256(name.encode() + b"\0" + content).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _decimals(values: Sequence[float] | None) -> list[str]:
    return [format_number_as_ds(value) for value in values or ()]
