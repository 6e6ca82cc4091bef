"""Grouping DICOM files into series, and a series into its pictures (echoes, water and fat, stacks)."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.frames import frames_of, read_headers
from cyclegan_gc.formats.dicom.geometry import Frame, stack
from cyclegan_gc.formats.dicom.header import open_dicom, text_of, whole_of
from cyclegan_gc.formats.dicom.read import without_copies

SERIES_TAGS = (
    *("SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("SeriesDescription", "ProtocolName", "ImageType", "EchoTime", "NumberOfFrames", "Rows"),
)
LOCALIZER = re.compile(r"(?<![a-z])(locali[sz]er|loc|scout|survey)(?![a-z])", re.IGNORECASE)
"""Words in the image type or the description of a series by which others are planned."""
DICOMDIR = "1.2.840.10008.1.3.10"
LONGEST_WORDS = 40


@dataclass(frozen=True)
class DicomSeries:
    """The files of one series, or of one picture of it."""

    uid: str
    number: int | None
    files: tuple[Path, ...]
    kind: str = ""
    """Modality, or "localizer"; empty if unknown."""
    fault: str | None = None
    """Reason why the series cannot be read, if already known."""
    frames: tuple[int, ...] = ()
    """Indices of the picture's frames among those of all files; empty for all."""
    patient: str = ""
    """Hash of the PatientID; empty without one."""
    description: str = ""
    protocol: str = ""
    picture: str = ""
    """What tells this picture from the others of the series, for names: the parts of frame type or image type, echo
    time (``TE15``) and stack (``stack2``) in which they differ, joined by ``_``; or its number. Empty for a whole
    series."""


@dataclass(frozen=True)
class _Found:
    """What a look at a file tells."""

    path: Path
    fault: str | None = None
    uid: str = ""
    owner: tuple[str, str] = ("", "")
    """Study and patient."""
    number: int | None = None
    kind: str = ""
    """Modality, or "localizer"; empty if unknown."""
    description: str = ""
    protocol: str = ""
    contrast: tuple[str, ...] = ()
    """Differs between files that may belong to different pictures."""


def group_series(files: Sequence[Path]) -> tuple[list[DicomSeries], list[tuple[Path, str]]]:
    """Group DICOM files into image series; also returns the objects without an image, each with its modality.

    A series may lie in several folders. A damaged file is the fault of its series, or of the only series of its
    folder; otherwise it becomes a series with a fault, so that a batch reports it and continues.
    """
    looked = [(path, _look(path)) for path in sorted(files)]
    series: dict[str, list[_Found]] = defaultdict(list)
    beside: dict[Path, set[str]] = defaultdict(set)
    for path, found in looked:
        if isinstance(found, _Found) and not found.fault:
            series[found.uid or str(path.parent)].append(found)
            beside[path.parent].add(found.uid or str(path.parent))
    others: list[tuple[Path, str]] = []
    alone: list[DicomSeries] = []
    for path, found in looked:
        if isinstance(found, str):
            others.append((path, found))
        elif found.fault:
            around = [found.uid] if found.uid in series else list(beside[path.parent])
            if len(around) == 1:
                series[around[0]].append(found)
            else:
                alone.append(DicomSeries("", None, (path,), fault=found.fault))
    grouped = [each for members in series.values() for owned in _by_owner(members) for each in _pictures(owned)]
    return [*grouped, *alone], others


def _look(path: Path) -> _Found | str:
    """What is known of an image or a damaged file; else the modality of the object."""
    try:
        header = open_dicom(path, tags=SERIES_TAGS)
    except VolumeError as error:
        return _Found(path, str(error))
    if text_of(header.file_meta, "MediaStorageSOPClassUID") == DICOMDIR:
        return "DICOMDIR"
    uid, fault = text_of(header, "SeriesInstanceUID"), None
    if "Rows" not in header:
        if uid and "Image Storage" not in UID(text_of(header, "SOPClassUID")).name:
            return text_of(header, "Modality") or "unknown"
        fault = f"{path.name} is not a readable DICOM file (no image in it, or cut off); fetch it again"
    return _Found(
        path=path,
        fault=fault,
        uid=uid,
        owner=(text_of(header, "StudyInstanceUID"), text_of(header, "PatientID")),
        number=whole_of(header, "SeriesNumber"),
        kind=_kind(header),
        description=text_of(header, "SeriesDescription").strip(),
        protocol=text_of(header, "ProtocolName").strip(),
        contrast=(
            *(text_of(header, "ImageType"), text_of(header, "EchoTime"), str(path.parent)),
            # The frames of a multi-frame object are looked at one by one.
            "" if whole_of(header, "NumberOfFrames") in (None, 1) else str(path),
        ),
    )


def _kind(header: Dataset) -> str:
    words = f"{text_of(header, 'ImageType')} {text_of(header, 'SeriesDescription')}"
    return "localizer" if LOCALIZER.search(words) else text_of(header, "Modality")


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
    files = tuple(found.path for found in members)
    fault = next((found.fault for found in members if found.fault), None)
    whole = DicomSeries(
        first.uid,
        first.number,
        files,
        first.kind,
        fault,
        patient=_hash(first.owner[1]),
        description=first.description,
        protocol=first.protocol,
    )
    contrasts = {found.contrast for found in members}
    if fault or (len(contrasts) == 1 and not first.contrast[-1]):
        return [whole]
    try:
        frames = frames_of(read_headers(files), files)
    except VolumeError as error:
        return [replace(whole, fault=str(error))]
    kinds = {found.path: found.kind for found in members}
    parts = [
        _part(whole, frames, indices, words)
        for together in _by_folder(frames)
        for words, indices in _by_contrast(frames, together).items()
    ]
    return [replace(part, kind=kinds[part.files[0]]) for part in parts]


def _by_folder(frames: Sequence[Frame]) -> list[list[int]]:
    """All frames, or those of each folder if two folders hold different slices of one place and contrast."""
    slices: dict[tuple[object, ...], dict[tuple[object, ...], Path]] = defaultdict(dict)
    folders: dict[Path, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        slices[frame.position, frame.orientation, frame.contrast].setdefault(frame.identity, frame.path.parent)
        folders[frame.path.parent].append(index)
    overlap = any(len(set(where.values())) > 1 for where in slices.values())
    return list(folders.values()) if overlap else [list(range(len(frames)))]


def _by_contrast(frames: Sequence[Frame], together: Sequence[int]) -> dict[str, list[int]]:
    """The frames of each contrast under its words, if they are not one stack but a contrast alone is.

    Slices in one direction, no two at one place, are one stack, even if one of them is missing.
    """
    parts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in together:
        parts[frames[index].contrast].append(index)
    places = {(frames[index].position, frames[index].orientation) for index in together}
    directions = {(frames[index].orientation, frames[index].contrast[2]) for index in together}
    one_stack = len(places) == len(together) and len(directions) == 1
    if (
        len(parts) == 1
        or one_stack
        or _fits(frames, together)
        or not any(_fits(frames, part) for part in parts.values())
    ):
        return {"": list(together)}
    return dict(zip(_words(list(parts)), parts.values(), strict=True))


def _fits(frames: Sequence[Frame], indices: Sequence[int]) -> bool:
    """Whether frames make one regular stack of several slices."""
    kept, _ = without_copies([frames[index] for index in indices])
    try:
        stack(kept)
    except VolumeError:
        return False
    return len(kept) > 1


def _words(contrasts: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each contrast: the fewest of frame type, echo time and stack that tell all apart."""
    for count in range(1, 4):
        tokens = [_tokens(*contrast[:count]) for contrast in contrasts]
        common = set.intersection(*map(set, tokens))
        names = ["_".join(token for token in each if token not in common)[:LONGEST_WORDS] for each in tokens]
        if len(set(names)) == len(names):
            return names
    return [str(number) for number in range(1, len(contrasts) + 1)]


def _tokens(types: str, echo: str = "", in_stack: str = "") -> list[str]:
    tokens = [*types.split("\\"), f"TE{echo}" if echo else "", f"stack{in_stack}" if in_stack else ""]
    return [word for token in tokens if (word := re.sub(r"[^0-9A-Za-z._-]", "", token))]


def _part(whole: DicomSeries, frames: Sequence[Frame], indices: Sequence[int], words: str) -> DicomSeries:
    """The series of some of the frames, and their indices among the frames of its own files."""
    files = dict.fromkeys(frames[index].path for index in indices)
    among = [index for index, frame in enumerate(frames) if frame.path in files]
    places = {index: place for place, index in enumerate(among)}
    chosen = () if len(among) == len(indices) else tuple(places[index] for index in indices)
    return replace(whole, files=tuple(files), frames=chosen, picture=words)
