"""Names of cases and their subjects, and the subjects held out for validation."""

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import Path

from cyclegan_gc.formats.names import KINDS, stem_of
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
    """Each case's subject: the identifier of BIDS or SynthRAD in its path, the patient of a series, else its name.

    Names count without a kind at their end (``p1_mr``, ``p1_ct``); that of a series is its folder. Where they repeat
    (``p1/T1.nii``, ``p2/T1.nii``) the subject is the first folder in which the paths differ.
    """
    whole = [source.path.absolute() for source in sources]
    paths = [
        path if source.series else path.with_name(stem_of(source.name))
        for path, source in zip(whole, sources, strict=True)
    ]
    paths = [path.parent if path.name.lower() in KINDS and len(paths) == 1 else path for path in paths]
    shared = len(Path(os.path.commonpath([path.parent for path in paths])).parts) if len(paths) > 1 else 0
    repeated = len({path.name for path in paths}) < len(paths)
    subjects = []
    for source, path in zip(sources, paths, strict=True):
        identifiers = SUBJECT.findall(Path(*path.parts[shared:]).as_posix())
        patient = source.series.patient if source.series else ""
        name = path.parts[shared] if repeated else path.name
        subjects.append(identifiers[-1] if identifiers else patient or name)
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
