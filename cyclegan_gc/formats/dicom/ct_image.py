"""The objects of a synthetic CT: one CT Image Storage for each slice (DICOM PS3.3 A.3).

Only the tags listed here are copied from the source; they keep the patient and the study, by design.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, config
from pydicom.dataset import FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds, validate_value

from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.geometry import Frame
from cyclegan_gc.formats.dicom.header import open_dicom, text_of, whole_of

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
SERIES_NUMBER_OFFSET, PICTURE_OFFSET = 9000, 1000
"""Series 5 becomes series 9005, and the further pictures of it 10005, 11005 and so on."""
MANUFACTURER = "cyclegan_gc"
SERIES_DESCRIPTION = "Synthetic CT, research only"
LONGEST_DESCRIPTION = 64
SOFT_TISSUE_WINDOW_HU = (40, 400)
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
    picture: str = ""
    """What tells the picture from the others of its series; stands in the series description."""
    place: int = 0
    """Number of the picture among those of its series, from 0; belongs to the series number."""
    mark: str = ""
    """Word of warning at the end of the series description, which viewers list."""
    comment: str = ""
    """Image comments of every slice."""


def is_synthetic_ct(path: Path) -> bool:
    """Whether a DICOM file was written by this program."""
    tags = ("Manufacturer", "SeriesDescription")
    try:
        header = open_dicom(path, tags=tags)
    except VolumeError:
        return False
    maker, description = (text_of(header, tag) for tag in tags)
    return maker == MANUFACTURER and description.startswith(SERIES_DESCRIPTION)


def common_attributes(source: Dataset, label: SeriesLabel, voxels: NDArray[np.int16]) -> Dataset:
    """The attributes that all slices share; ``source`` is an object of the source series."""
    common = Dataset()
    for name in (name for name in PATIENT_AND_STUDY if name in source):
        if name in REQUIRED or _is_valid(source, name):
            common[name] = _element(source, name)
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
    common.SeriesInstanceUID = _uid(label.key, voxels.tobytes())
    number = (whole_of(source, "SeriesNumber") or 0) % PICTURE_OFFSET
    common.SeriesNumber = SERIES_NUMBER_OFFSET + PICTURE_OFFSET * label.place + number
    common.SeriesDescription = _description(label)
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


def slice_object(common: Dataset, pixels: NDArray[np.int16], frame: Frame, number: int, distance_mm: float) -> Dataset:
    """The object of one slice; ``pixels`` are (rows, columns)."""
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


def _description(label: SeriesLabel) -> str:
    """The series description; the words of the picture are cut where it would be too long."""
    mark = f", {label.mark}" if label.mark else ""
    picture = f", {label.picture}" if label.picture else ""
    return SERIES_DESCRIPTION + picture[: LONGEST_DESCRIPTION - len(SERIES_DESCRIPTION + mark)] + mark


def _reference_to(frame: Frame) -> Dataset:
    purpose, item = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = PURPOSE
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class, frame.sop_instance
    if frame.number is not None:
        item.ReferencedFrameNumber = frame.number
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item


def _element(source: Dataset, name: str) -> DataElement:
    try:
        return source[name]
    except Exception:  # pydicom raises many types for values that violate the standard
        raise VolumeError(f"the {name} of the source cannot be read; export the source again") from None


def _is_valid(source: Dataset, name: str) -> bool:
    try:
        element = source[name]
        for value in element.value if isinstance(element.value, MultiValue) else [element.value]:
            validate_value(element.VR, str(value), config.RAISE)
    except Exception:  # pydicom raises many types for values that violate the standard
        return False
    return True


def _uid(name: str, content: bytes) -> str:
    """A UID under 2.25 (DICOM PS3.5 B.2), the same for equal content."""
    digest = hashlib.sha256(name.encode() + b"\0" + content).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def _decimals(values: Sequence[float] | None) -> list[str]:
    return [format_number_as_ds(value) for value in values or ()]
