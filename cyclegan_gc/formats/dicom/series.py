"""Grouping DICOM files into series, and a series into its pictures (echoes, water and fat, stacks)."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.frames import frames_of, read_headers
from cyclegan_gc.formats.dicom.geometry import Frame, stack
from cyclegan_gc.formats.dicom.header import has_dicom_content, open_dicom, text_of, whole_of
from cyclegan_gc.formats.dicom.read import without_copies

SERIES_TAGS = (
    *("SOPClassUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "Modality"),
    *("ImageType", "EchoTime", "NumberOfFrames", "Rows"),
)
DICOMDIR = "1.2.840.10008.1.3.10"
LONGEST_WORDS = 40


@dataclass(frozen=True)
class DicomSeries:
    """The files of one series, or of one picture of it."""

    uid: str
    number: int | None
    files: tuple[Path, ...]
    fault: str | None = None
    """Reason why the series cannot be read, if already known."""
    frames: tuple[int, ...] = ()
    """Indices of the picture's frames among those of all files; empty for all."""
    picture: str = ""
    """Words that tell this picture from the others of the series; empty if it has one."""


@dataclass
class _Found:
    """What a look at its files tells of a series."""

    uid: str
    number: int | None
    files: list[Path] = field(default_factory=list)
    contrasts: set[tuple[str, ...]] = field(default_factory=set)
    fault: str | None = None

    @property
    def may_be_several(self) -> bool:
        """Whether the series may have several pictures, or lies in several folders."""
        return len(self.contrasts) > 1


def group_series(files: Sequence[Path]) -> tuple[list[DicomSeries], list[str]]:
    """Group DICOM files into image series; also returns a sentence on objects that were left out.

    A series may lie in several folders. A damaged file is its series' fault; where the series is not known, it
    becomes a series with a fault of its own, so that a batch reports it and continues.
    """
    found: dict[tuple[str, ...], _Found] = {}
    damaged: list[tuple[Path, str]] = []
    others: list[str] = []
    for path in sorted(files):
        try:
            header = open_dicom(path, tags=SERIES_TAGS)
        except VolumeError as error:
            damaged.append((path, str(error)))
            continue
        if text_of(header.file_meta, "MediaStorageSOPClassUID") == DICOMDIR:
            continue
        key = _key(header, path)
        if "Rows" in header:
            _add(found.setdefault(key, _Found(key[0], whole_of(header, "SeriesNumber"))), path, header)
        elif key in found or _is_image(header) or not key[0]:
            damaged.append((path, f"{path.name} is not a readable DICOM file (no image in it); fetch it again"))
        else:
            others.append(text_of(header, "Modality") or "unknown")
    broken = _blame(damaged, list(found.values()))
    kinds = ", ".join(sorted(set(others)))
    notes = [f"{len(others)} DICOM objects without an image ({kinds}) were left out."] if others else []
    return [each for series in found.values() for each in _pictures(series)] + broken, notes


def _key(header: Dataset, path: Path) -> tuple[str, ...]:
    """Equal for the files of one series. The patient and the study belong to it, because identifiers may be reused."""
    uid, study, patient = (text_of(header, name) for name in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID"))
    return (uid, study, patient) if uid else (uid, str(path.parent))


def _is_image(header: Dataset) -> bool:
    return "Image Storage" in UID(text_of(header, "SOPClassUID")).name


def _add(series: _Found, path: Path, header: Dataset) -> None:
    series.files.append(path)
    contrast = (text_of(header, "ImageType"), text_of(header, "EchoTime"), str(path.parent))
    series.contrasts.add(contrast)
    if whole_of(header, "NumberOfFrames") not in (None, 1):
        series.contrasts.add((*contrast, "of each frame"))


def _blame(damaged: Sequence[tuple[Path, str]], found: Sequence[_Found]) -> list[DicomSeries]:
    """Give each damaged DICOM file to the only series of its folder; the others become series of their own."""
    alone = []
    for path, fault in damaged:
        beside = [series for series in found if any(file.parent == path.parent for file in series.files)]
        if len(beside) == 1 and _has_content(path):
            beside[0].fault = beside[0].fault or fault
        else:
            alone.append(DicomSeries("", None, (path,), fault))
    return alone


def _has_content(path: Path) -> bool:
    try:
        return has_dicom_content(path)
    except OSError:
        return False


def _pictures(found: _Found) -> list[DicomSeries]:
    """The series, or each of its pictures if it has several."""
    whole = DicomSeries(found.uid, found.number, tuple(found.files), found.fault)
    if found.fault or not found.may_be_several:
        return [whole]
    try:
        frames = frames_of(read_headers(found.files), found.files)
    except VolumeError as error:
        return [replace(whole, fault=str(error))]
    return [
        _part(whole, frames, indices, words)
        for together in _by_folder(frames)
        for words, indices in _by_contrast(frames, together).items()
    ]


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
    """The frames of each contrast under its words, if they are not one regular stack but a contrast alone is."""
    parts: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index in together:
        parts[frames[index].contrast].append(index)
    if len(parts) == 1 or _fits(frames, together) or not any(_fits(frames, part) for part in parts.values()):
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
    return [word for token in tokens if (word := re.sub(r"[^0-9A-Za-z.]", "", token))]


def _part(whole: DicomSeries, frames: Sequence[Frame], indices: Sequence[int], words: str) -> DicomSeries:
    """The series of some of the frames, and their indices among the frames of its own files."""
    files = dict.fromkeys(frames[index].path for index in indices)
    among = [index for index, frame in enumerate(frames) if frame.path in files]
    places = {index: place for place, index in enumerate(among)}
    chosen = () if len(among) == len(indices) else tuple(places[index] for index in indices)
    return replace(whole, files=tuple(files), frames=chosen, picture=words)
