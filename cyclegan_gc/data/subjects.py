"""Names of cases and their subjects, and the subjects held out for validation."""

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from cyclegan_gc.formats.names import stem_of
from cyclegan_gc.formats.sources import Source

SUBJECT = re.compile(r"sub-[^_/]+|(?<![^/])[12](?:B|P|AB|HN|TH)[A-E]\d{3}(?![^/_])")
"""Identifier of a subject of BIDS, or of SynthRAD 2023 and 2025, in a path."""


def relative_names(sources: Sequence[Source]) -> list[str]:
    """Each case's path relative to the folder that all share."""
    places = [source.place.absolute() for source in sources]
    shared = Path(os.path.commonpath([place.parent for place in places]))
    if shared == Path(shared.anchor):  # relative to the root, it would be the whole path
        return [f"{number} {place.name}" for number, place in enumerate(places, start=1)]
    return [place.relative_to(shared).as_posix() for place in places]


def subjects_of(sources: Sequence[Source]) -> list[str]:
    """Each case's subject: the patient of a series, the identifier of BIDS or SynthRAD in its path, else its name.

    Names count without a kind at their end (``p1_mr``, ``p1_ct``). Where they repeat (``p1/T1.nii``, ``p2/T1.nii``)
    the subject is the first folder in which the paths differ.
    """
    names = [stem_of(source.name) for source in sources]
    parents = [source.path.parent.absolute() for source in sources]
    shared = len(Path(os.path.commonpath(parents)).parts) if len(sources) > 1 else 0
    repeated = len(set(names)) < len(names)
    subjects = []
    for source, name, parent in zip(sources, names, parents, strict=True):
        path = Path(*parent.parts[shared:], source.name)
        identifiers = SUBJECT.findall(path.as_posix())
        patient = source.series.patient if source.series else ""
        subjects.append(patient or (identifiers[-1] if identifiers else path.parts[0] if repeated else name))
    return [unicodedata.normalize("NFC", subject) for subject in subjects]


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
