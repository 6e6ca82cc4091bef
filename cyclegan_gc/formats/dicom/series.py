"""Grouping DICOM files into series, and telling images from other and damaged objects."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.datadict import tag_for_keyword
from pydicom.uid import UID

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.header import open_dicom, text_of, whole_of
from cyclegan_gc.formats.dicom.pictures import DicomSeries, kind_of_picture, pictures_of

SERIES_TAGS = (
    *("SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("SeriesDescription", "ProtocolName", "ImageType", "EchoTime", "NumberOfFrames", "Rows"),
)
ROWS = tag_for_keyword("Rows") or 0
DICOMDIR = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class _Found:
    """What a look at a file tells."""

    path: Path
    fault: str | None = None
    other: str = ""
    """Modality of an object that has no image, or with a ``fault`` of one that may have lost it."""
    uid: str = ""
    owner: tuple[str, str] = ("", "")
    """Study and patient."""
    number: int | None = None
    kind: str = ""
    description: str = ""
    protocol: str = ""
    contrast: tuple[str, ...] = ()
    """Differs between files that may belong to different pictures."""
    multi_frame: bool = False
    """Whether the file may hold several pictures by itself."""


def group_series(files: Sequence[Path]) -> tuple[list[DicomSeries], list[tuple[Path, str]]]:
    """Group DICOM files into image series; also returns the objects without an image, each with its modality.

    A series may lie in several folders. A damaged file is the fault of its series, or of the only series of its
    folder; otherwise it becomes a series with a fault, so that a batch reports it and continues.
    """
    looked = [_look(path) for path in sorted(files)]
    series: dict[str, list[_Found]] = defaultdict(list)
    beside: dict[Path, set[str]] = defaultdict(set)
    for found in looked:
        if not found.fault and not found.other:
            series[found.uid or str(found.path.parent)].append(found)
            beside[found.path.parent].add(found.uid or str(found.path.parent))
    others: list[tuple[Path, str]] = []
    alone: list[DicomSeries] = []
    for found in looked:
        if found.other and not (found.fault and found.uid in series):
            others.append((found.path, found.other))
        elif found.fault:
            around = [found.uid] if found.uid in series else list(beside[found.path.parent])
            if len(around) == 1:
                series[around[0]].append(found)
            else:
                alone.append(DicomSeries("", None, (found.path,), fault=found.fault))
    grouped = [each for members in series.values() for owned in _by_owner(members) for each in _pictures(owned)]
    return [*grouped, *alone], others


def _look(path: Path) -> _Found:
    """What is known of an image, a damaged file or an object without an image."""
    try:
        header = open_dicom(path, tags=SERIES_TAGS)
    except VolumeError as error:
        return _Found(path, str(error))
    if text_of(header.file_meta, "MediaStorageSOPClassUID") == DICOMDIR:
        return _Found(path, other="DICOMDIR")
    uid, sop_class = text_of(header, "SeriesInstanceUID"), UID(text_of(header, "SOPClassUID"))
    description, modality = text_of(header, "SeriesDescription"), text_of(header, "Modality")
    fault, other = None, ""
    if "Rows" not in header:
        other = modality or "unknown" if uid and "Image Storage" not in sop_class.name else ""
        # The name of an unknown class is its number.
        if not other or (sop_class.name == sop_class and _ends_before_rows(path)):
            fault = f"{path.name} is not a readable DICOM file (no image in it, or cut off); fetch it again"
    return _Found(
        path=path,
        fault=fault,
        other=other,
        uid=uid,
        owner=(text_of(header, "StudyInstanceUID"), text_of(header, "PatientID")),
        number=whole_of(header, "SeriesNumber"),
        kind=kind_of_picture(text_of(header, "ImageType"), description, modality),
        description=description,
        protocol=text_of(header, "ProtocolName"),
        contrast=(text_of(header, "ImageType"), text_of(header, "EchoTime"), str(path.parent)),
        multi_frame=whole_of(header, "NumberOfFrames") not in (None, 1),
    )


def _ends_before_rows(path: Path) -> bool:
    """Whether a file has no tag that follows Rows, as if it were cut off."""
    try:
        return max(open_dicom(path).keys(), default=ROWS) < ROWS
    except VolumeError:
        return True


def _hash(patient: str) -> str:
    return hashlib.sha256(patient.strip().encode(errors="replace")).hexdigest()[:16] if patient.strip() else ""


def _by_owner(members: Sequence[_Found]) -> list[list[_Found]]:
    """The files of a series apart by patient and study, if its identifier was used again in other folders."""
    owners: dict[tuple[str, str], list[_Found]] = defaultdict(list)
    for found in members:
        owners[found.owner].append(found)
    folders = [{found.path.parent for found in owned} for owned in owners.values()]
    if sum(map(len, folders)) == len(set().union(*folders)):
        return list(owners.values())
    return [list(members)]


def _pictures(members: Sequence[_Found]) -> list[DicomSeries]:
    """The series, or each of its pictures if it has several."""
    first = members[0]
    fault = next((found.fault for found in members if found.fault), None)
    whole = DicomSeries(
        first.uid,
        first.number,
        tuple(found.path for found in members),
        first.kind,
        fault,
        patient=_hash(first.owner[1]),
        description=first.description,
        protocol=first.protocol,
    )
    alike = len({found.contrast for found in members}) == 1
    if fault or (alike and not any(found.multi_frame for found in members)):
        return [whole]
    return pictures_of(whole, {found.path: found.kind for found in members})
