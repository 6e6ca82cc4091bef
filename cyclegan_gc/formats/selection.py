"""Choosing the cases of one kind in an input: by modality, by file name and by the names of series."""

import os
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.dicom.ct_image import is_synthetic_ct
from cyclegan_gc.formats.dicom.pictures import NO_SLICES
from cyclegan_gc.formats.names import CaseName, case_names, contrast_of, kind_of
from cyclegan_gc.formats.sources import LeftOut, Source, find_sources

Holds = Literal["mr", "ct", "sct", "mask", "labels"]
"""What a case holds: an MR, a true CT, a synthetic CT, a mask or a label map."""
MODALITIES: dict[Holds, str] = {"mr": "MR", "ct": "CT", "sct": "CT"}
"""Modality of a DICOM series of each kind; maps may have any."""
SERIES_SHOWN = 8

Chosen = tuple[list[Source], list[LeftOut]]


def find_kind(source: str, holds: Holds) -> Chosen:
    """The cases of one kind in a file, a folder, a glob pattern or a text list, and everything else in it.

    Raises:
        UserError: if there is no such case.
    """
    return _only(find_sources(source), holds, source)


def find_both(mr: str, ct: str, contrasts: Sequence[str] = ()) -> tuple[Chosen, Chosen]:
    """The MRs and the CTs, each as :func:`find_kind` gives them; an input that is given for both is searched once.

    ``contrasts`` are the endings of the names of the volume files that make up an MR; these files are no CT.
    """
    found = find_sources(mr, contrasts)
    of_mr = _only(found, "mr", mr)
    if not contrasts:
        return of_mr, _only(found if ct == mr else find_sources(ct), "ct", ct)
    taken = {os.path.realpath(path) for case in of_mr[0] for path in case.files}
    cases, left_out = find_sources(ct)
    others = [case for case in cases if taken.isdisjoint(map(os.path.realpath, case.files))]
    left_out += [LeftOut(case.label, "contrast of an MR") for case in cases if case not in others]
    return of_mr, _only((others, left_out), "ct", ct)


def of_series(cases: Sequence[Source], pattern: str | None, source: str, option: str) -> Chosen:
    """The cases that the pattern of an option names, in any case, and all others; without a pattern all.

    Raises:
        UserError: if no case has such a name; the message lists the names.
    """
    if pattern is None:
        return list(cases), []
    chosen = [case for case in cases if is_called(case, pattern)]
    if not chosen:
        names = list(dict.fromkeys(title_of(case) or case.name for case in cases))
        known = ", ".join(names[:SERIES_SHOWN]) + (" ..." if len(names) > SERIES_SHOWN else "")
        raise UserError(f"{option} {pattern}: no such series or file in {source}; it has {known}")
    return chosen, [LeftOut(case.label, f"case that {option} does not name") for case in cases if case not in chosen]


def is_called(case: Source, pattern: str) -> bool:
    """Whether a series has this description (with or without the words of its picture), protocol, picture or UID, or a
    file this name; a pattern with ``*`` and ``?``, in any case."""
    names = [case.name]
    if series := case.series:
        names = [title_of(case), series.description, series.protocol, series.picture, series.uid]
    return any(name.lower() == pattern.lower() or fnmatchcase(name.lower(), pattern.lower()) for name in names)


def title_of(case: Source) -> str:
    """Description of a series and the words of its picture, or the contrast in a file's name; may be empty."""
    if case.series is None:
        return contrast_of(case.name)
    return " ".join(filter(None, (case.series.description, case.series.picture)))


def check_apart(mrs: Sequence[Source], cts: Sequence[Source], cure: str) -> None:
    """Raise a :class:`UserError` with this cure if a readable file is given as MR and as CT."""
    sides = [
        {os.path.realpath(path) for case in cases if not case.fault for path in case.files} for cases in (mrs, cts)
    ]
    if shared := sides[0] & sides[1]:
        raise UserError(
            f"{min(shared)}: given as MR and as CT ({len(shared)} such files), and neither Modality nor name tells; "
            f"{cure}"
        )


def of_kind(cases: Sequence[Source], holds: Holds) -> Chosen:
    """The cases of one kind, and the others.

    A series of another modality is never one. A case whose name says another kind (``p1_mask``, ``p1/ct``) is left out
    if there is a case whose name says the wanted one.
    """
    reasons = [_other_modality(case, holds) for case in cases]
    said = [_said(case) for case in cases]
    if holds in said:
        reasons = [
            reason or (f"{_words(what)}, not {_words(holds)}" if what not in (holds, None) else None)
            for reason, what in zip(reasons, said, strict=True)
        ]
    both = list(zip(cases, reasons, strict=True))
    return [case for case, reason in both if not reason], [LeftOut(case.label, why) for case, why in both if why]


def of_kind_or_named(cases: Sequence[Source], holds: Holds, pattern: str | None) -> Chosen:
    """As :func:`of_kind`, but a series whose UID is the pattern is taken whatever its modality.

    A localizer or projection within that series is left out, unless the pattern is its picture.
    """
    if not pattern:
        return of_kind(cases, holds)
    series = [case for case in cases if case.series and case.series.uid == pattern]
    named = [case for case in series if case.kind not in NO_SLICES] or series
    others = [(case, case.series.picture) for case in cases if case.series and case.kind in NO_SLICES]
    named += [case for case, picture in others if picture.lower() == pattern.lower()]
    chosen, left_out = of_kind([case for case in cases if case not in named], holds)
    return [*named, *chosen], left_out


def _other_modality(case: Source, holds: Holds) -> str | None:
    """What a series is, without an article, if it is not of the modality of a kind; else None."""
    if holds not in MODALITIES or case.kind in ("", MODALITIES[holds]):
        return None
    return case.kind if case.kind in NO_SLICES else f"{case.kind} series"


def names_of(sources: Sequence[Source]) -> list[CaseName]:
    """What the names, folders and PatientIDs of cases say."""
    patients = [source.series.patient if source.series else "" for source in sources]
    return case_names([(source.path.parent, source.name) for source in sources], patients)


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """A line for each reason: how many were left out, and an example."""
    counts = Counter(each.reason for each in left_out)
    examples = {each.reason: each.label for each in reversed(left_out)}
    return [f"left out: {count} x {reason}, such as {examples[reason]}" for reason, count in counts.items()]


def _only(found: Chosen, holds: Holds, source: str) -> Chosen:
    """The cases of one kind among all those of an input."""
    chosen, others = of_kind(found[0], holds)
    left_out = [*found[1], *others]
    if not chosen:
        why = "; ".join(left_out_lines(left_out))
        raise UserError(f"{source}: holds no {holds.upper()} ({why}); choose another input")
    return chosen, left_out


def _said(case: Source) -> str | None:
    """The kind that a case's name or modality says; None if it says none."""
    if case.series is None:  # several files are the contrasts of an MR
        return "mr" if len(case.files) > 1 else kind_of(case.name)
    if case.kind == "CT":
        return "sct" if is_synthetic_ct(case.files[0]) else "ct"
    return case.kind.lower() or None


def _words(kind: str | None) -> str:
    return {"sct": "synthetic CT", "mask": "mask", "labels": "label map"}.get(kind or "", str(kind).upper())
