"""Names of cases and their subjects, and the subjects held out for validation."""

import hashlib
import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from cyclegan_gc.formats.files import case_id


def names_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Each file's path relative to the folder that all share."""
    shared = Path(os.path.commonpath([path.absolute().parent for path in paths]))
    if shared == Path(shared.anchor):  # relative to the root, it would be the whole path
        return {path: f"{number} {path.name}" for number, path in enumerate(paths, start=1)}
    return {path: path.absolute().relative_to(shared).as_posix() for path in paths}


def subjects_of(paths: Sequence[Path]) -> dict[Path, str]:
    """Each file's subject: ``sub-XX`` of a BIDS name, else the file's name without its suffix.

    Where names repeat (``p1/T1.nii``, ``p2/T1.nii``) it is the first folder in which the paths differ.
    """
    names = [case_id(path) for path in paths]
    if len(set(names)) < len(names):
        whole = [path.absolute() for path in paths]
        shared = len(Path(os.path.commonpath([path.parent for path in whole])).parts)
        names = [
            case if case.startswith("sub-") else path.parts[shared] for case, path in zip(names, whole, strict=True)
        ]
    return {path: subject_of(name) for path, name in zip(paths, names, strict=True)}


def subject_of(name: str) -> str:
    """``sub-XX`` of a BIDS name, else the whole name."""
    return name.split("_")[0] if name.startswith("sub-") else name


def held_out_subjects(mr: set[str], ct: set[str], fraction: float, never: Collection[str] = ()) -> set[str]:
    """Subjects for validation: enough for ``fraction`` of each modality, never one subject on both sides.

    The choice depends on the subjects' names alone, so that added volumes move few others. Subjects in ``never`` are
    trained on in any case.
    """
    subjects = (mr - set(never), ct - set(never))
    wanted = [math.ceil(fraction * len(each)) for each in subjects]
    held_out: set[str] = set()
    for subject in sorted(
        subjects[0] | subjects[1], key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    ):
        counts = [len(held_out & each) for each in subjects]
        if any(subject in each and n < want for each, n, want in zip(subjects, counts, wanted, strict=True)):
            held_out.add(subject)
    return held_out
