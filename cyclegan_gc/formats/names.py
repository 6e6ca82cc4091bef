"""Which files of two sources belong to one case, told from their names and folders.

Files have the case's name (``p1_sct.nii.gz`` and ``p1.nii.gz``), lie in its folder (``p1/mr.mha`` and ``p1/ct.mha``) or
have the same BIDS entities (``sub-1_T1w.nii.gz`` and ``sub-1_ct.nii.gz``); DICOM series are of one patient.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan_gc.errors import plain
from cyclegan_gc.formats.files import BIDS_RESULT

KINDS = {
    **dict.fromkeys(("mr", "mri", "t1w", "t2w", "pdw", "flair", "t2starw", "unit1", "inplanet1", "inplanet2"), "mr"),
    **{"ct": "ct", "cbct": "cbct", "sct": "sct", "mask": "mask"},
    **dict.fromkeys(("labels", "seg", "dseg"), "labels"),
}
"""Last word of a name, in small letters -> what the file holds."""
PLAIN_KINDS = ("mr", "ct", "mask", "labels")
"""Kinds that are no part of a case's name."""
ENTITIES = ("sub", "ses", "run")
"""BIDS entities of a case; the others, such as ``space`` and ``desc``, tell its files apart."""


@dataclass(frozen=True)
class CaseName:
    """What the names of a file and its folders say about the case."""

    parts: tuple[str, ...]
    """Folders and name from the outside inwards, without what all files of the source share."""
    key: tuple[str, ...]
    """The name if no other file of the source has it, else all ``parts``."""
    by_folder: bool
    """Whether all files have one name or such names as ``ct``, so that the folders name the cases."""
    entities: dict[str, str]
    """BIDS entities; empty for any other name."""
    patient: str = ""
    """Hash of the PatientID of a DICOM series; empty if unknown."""

    @property
    def id(self) -> str:
        """The case for people and tables."""
        return plain("/".join(self.key))


def kind_of(name: str) -> str | None:
    """What a file holds by the last word of its name without suffix; None if the name does not say.

    A BIDS name always says it; what is no kind of ours is its own word, such as ``bold``.
    """
    if name.endswith(BIDS_RESULT):
        return "sct"
    word = name.rpartition("_")[2].lower()
    bids = name.startswith("sub-") and "-" not in word and not word.isdecimal()
    return KINDS.get(word, word if bids else None)


def contrast_of(name: str) -> str:
    """The last word of the name of an MR, such as ``T1w``; empty if it names no kind."""
    return name.rpartition("_")[2] if kind_of(name) == "mr" else ""


def stem_of(name: str) -> str:
    """A name without its kind at the end (``_mr``, ``_ct``, ``_sct``, ``_mask``, ``_labels``) and nnU-Net's ``_0000``.

    A BIDS name stays as it is but for ``_sct``.
    """
    name = name.removesuffix("_sct").removesuffix("_0000")
    stem, _, word = name.rpartition("_")
    bids = name.startswith("sub-") or "_desc-" in name
    return name if word.lower() not in PLAIN_KINDS or bids else stem or name


def case_names(places: Sequence[tuple[Path, str]], patients: Sequence[str] = ()) -> list[CaseName]:
    """The case of each file of a source.

    Names are compared in Unicode's form NFC, as :func:`stem_of` gives them.

    Args:
        places: folder of each file, and its name without suffix.
        patients: hash of each one's PatientID, empty for none; all empty by default.
    """
    folders = [Path(unicodedata.normalize("NFC", str(folder.absolute()))) for folder, _ in places]
    names = [unicodedata.normalize("NFC", stem_of(name)) for _, name in places]
    # A single file shares everything with itself, so all its folders may name it.
    shared = len(Path(os.path.commonpath(folders)).parts) if len(folders) > 1 else 0
    whole = [(*folder.parts[shared:], name) for folder, name in zip(folders, names, strict=True)]
    end = _shared_end(whole)
    parts = [each[: len(each) - end] for each in whole]
    alone = len(parts) == 1 or (end == 0 and len(set(names)) == len(names))
    return [
        CaseName(each, each[-1:] if alone else each, end > 0, _entities(name), patient)
        for each, name, patient in zip(parts, names, patients or [""] * len(names), strict=True)
    ]


def places_of(case: CaseName, names: Sequence[CaseName]) -> list[int]:
    """Places in ``names``, those of another source, of all files that belong to the case.

    Where both sides have a PatientID it decides, and the name among several of a patient.
    """
    alike = [place for place, name in enumerate(names) if _within(case, name) or _within(name, case)]
    alike = alike or [place for place, name in enumerate(names) if _agree(case.entities, name.entities)]
    same = [place for place, name in enumerate(names) if name.patient == case.patient != ""]
    unknown = [place for place in alike if not (case.patient and names[place].patient)]
    return [place for place in alike if place in same] or same or unknown


def _shared_end(whole: Sequence[tuple[str, ...]]) -> int:
    """How many parts at the end are no case's own: a name as ``ct``, or names and folders that all files have."""
    end = int(all(each[-1].lower() in KINDS for each in whole))
    longest = min(map(len, whole)) - 1
    while len(whole) > 1 and end < longest and len({each[-1 - end] for each in whole}) == 1:
        end += 1
    return end if end <= longest else 0


def _within(name: CaseName, other: CaseName) -> bool:
    """Whether the other file has this key at its end or, if folders name the case, in its folders."""
    size, last = len(name.key), len(other.parts) - len(name.key)
    starts = range(last + 1) if name.by_folder else range(max(last, 0), last + 1)
    return any(other.parts[start : start + size] == name.key for start in starts)


def _entities(name: str) -> dict[str, str]:
    pairs = dict(word.split("-", 1) for word in name.split("_") if "-" in word)
    return {entity: pairs[entity] for entity in ENTITIES if entity in pairs} if name.startswith("sub-") else {}


def _agree(first: dict[str, str], second: dict[str, str]) -> bool:
    """Whether both are BIDS names and no entity differs that both have."""
    return bool(first and second) and all(first[entity] == second[entity] for entity in first.keys() & second.keys())
