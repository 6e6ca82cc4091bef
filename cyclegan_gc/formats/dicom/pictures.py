"""A series and its pictures: echoes, water and fat, stacks, and projections of its slices."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.frames import frames_of, read_headers
from cyclegan_gc.formats.dicom.geometry import Contrast, Frame, stack
from cyclegan_gc.formats.dicom.read import without_copies

LOCALIZER = re.compile(r"(?<![a-z])(locali[sz]er|loc|scout|survey)(?![a-z])", re.IGNORECASE)
"""Words in the image type or the description of a series by which others are planned."""
PROJECTION = re.compile(r"(?<![a-z])(mip|minip|mnip|min_ip|projection|maximum|minimum)(?![a-z])", re.IGNORECASE)
"""Words in the type of an image whose pixels are each the brightest or darkest of a line through a volume."""
NO_SLICES = ("localizer", "projection")
"""Kinds of pictures that are no volume, whatever their modality."""
LONGEST_WORDS = 40


@dataclass(frozen=True)
class DicomSeries:
    """The files of one series, or of one picture of it."""

    uid: str
    number: int | None
    files: tuple[Path, ...]
    kind: str = ""
    """Modality, or one of ``NO_SLICES``; empty if unknown."""
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
    place: int = 0
    """Number of this picture among those of the series, from 0."""


def kind_of_picture(types: str, description: str, modality: str) -> str:
    """The modality, or what the image types and the description say of a picture that is no volume."""
    if LOCALIZER.search(f"{types} {description}"):
        return "localizer"
    return "projection" if PROJECTION.search(types) else modality


def pictures_of(whole: DicomSeries, kinds: Mapping[Path, str]) -> list[DicomSeries]:
    """The pictures of a series, with the ``kinds`` of their files; the series itself if it is one or has a fault."""
    try:
        frames = frames_of(read_headers(whole.files), whole.files)
    except VolumeError as error:
        return [replace(whole, fault=str(error))]
    parts = []
    for together in _by_folder(frames):
        projected = [index for index in together if PROJECTION.search(frames[index].contrast.types)]
        if slices := sorted(set(together).difference(projected)):
            named = [_part(whole, frames, each, words) for words, each in _by_contrast(frames, slices).items()]
            parts += [replace(part, kind=kinds[part.files[0]]) for part in named]
        if projected:
            parts.append(replace(_part(whole, frames, projected, "projection"), kind="projection"))
    return [replace(part, place=place) for place, part in enumerate(parts)]


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
    parts: dict[Contrast, list[int]] = defaultdict(list)
    for index in together:
        parts[frames[index].contrast].append(index)
    places = {(frames[index].position, frames[index].orientation) for index in together}
    directions = {(frames[index].orientation, frames[index].contrast.stack) for index in together}
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


def _words(contrasts: Sequence[Contrast]) -> list[str]:
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
