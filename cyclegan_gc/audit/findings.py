"""Faults of two training sets: in single volumes, within a domain, and between the two domains."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.audit.checks import LEVELS, Finding, Level, Remark, check_facts
from cyclegan_gc.audit.domains import between_domains, centred, turned_heads, within_domain
from cyclegan_gc.audit.facts import Facts, thumbnail_of
from cyclegan_gc.config import PreprocessConfig, SliceAxis
from cyclegan_gc.prepare.modality import Modality

SAME_PICTURE = 0.98
"""Correlation of thumbnails: a head resampled to 2 mm has above 0.99, two people (or phantoms) at most 0.96."""


@dataclass(frozen=True)
class Audited:
    """One volume of a training set."""

    name: str
    """Path relative to its set; findings use this name."""
    modality: Modality
    held_out: bool = False
    """Whether it is held out for validation."""
    facts: Facts | None = None
    """:func:`cyclegan_gc.audit.facts.measure_case`; fewer where it cannot be prepared, None where it cannot be read."""
    failure: str | None = None
    """Reason why it cannot be used."""
    notes: tuple[str, ...] = ()
    """Warnings of its reader."""


def find_faults(
    cases: Sequence[Audited], settings: PreprocessConfig, planes: Sequence[SliceAxis] = ("axial",)
) -> list[Finding]:
    """All findings about both sets, worst first; a case without a finding passes."""
    found: list[Finding] = []
    for case in cases:
        remarks: list[Remark] = [("warn", "file", note.rstrip(".")) for note in case.notes]
        if case.failure is not None:
            remarks.append(("fail", "unusable", case.failure))
        elif case.facts is not None:
            remarks += check_facts(case.facts, case.modality, settings.ct_window_hu, planes)
        found += [Finding(level, check, text, case.modality, case.name) for level, check, text in remarks]
    found += _copies([case for case in cases if case.facts is not None])
    usable = [case for case in cases if case.failure is None]
    mr, ct = (
        {case.name: case.facts for case in usable if case.modality == each and case.facts} for each in ("mr", "ct")
    )
    found += within_domain(mr, "mr", settings)
    found += within_domain(ct, "ct", settings)
    found += between_domains(mr, ct, settings)
    found += turned_heads(mr, ct)
    return sorted(found, key=_badness)


def level_of(found: Sequence[Finding]) -> Level:
    """The worst level; ``pass`` where nothing was found."""
    return min(found, key=_badness).level if found else "pass"


def _badness(finding: Finding) -> int:
    return LEVELS.index(finding.level)


def _copies(cases: Sequence[Audited]) -> Iterator[Finding]:
    """Volumes with equal voxels, however they are stored, and pictures so similar that they show the same scan."""
    before: dict[str, list[Audited]] = {}
    for other in cases:
        same = before.setdefault(_content(other), [])
        if same:  # the worst pair of several copies
            yield min((_same_content(one, other) for one in same), key=_badness)
        same.append(other)
    for modality in ("mr", "ct"):
        seen = [case for case in cases if case.modality == modality and "thumbnail" in (case.facts or {})]
        yield from _near_copies(seen)


def _near_copies(cases: Sequence[Audited]) -> Iterator[Finding]:
    """The first earlier case that looks the same as another; copies by content are reported elsewhere."""
    pictures = np.array([_thumbnail(case.facts or {}) for case in cases])
    for number, other in enumerate(cases[1:], start=1):
        if any(_content(one) == _content(other) for one in cases[:number]):
            continue
        alike = pictures[:number] @ pictures[number]
        if alike.max() > SAME_PICTURE:
            one = cases[int(np.argmax(alike > SAME_PICTURE))]
            split = ", and only one of them is held out for validation" if one.held_out != other.held_out else ""
            text = f"almost the same picture as {one.name} (correlation {alike.max():.3f}){split}; leave one out"
            yield Finding("warn", "near duplicate", text, other.modality, other.name)


def _content(case: Audited) -> str:
    return (case.facts or {})["content"]


def _same_content(one: Audited, other: Audited) -> Finding:
    level: Level = "warn" if (one.modality, one.held_out) == (other.modality, other.held_out) else "fail"
    check, cure = "leak", "only one of them is held out for validation; leave one out"
    if one.modality != other.modality:
        cure = "a volume is MR or CT, not both"
    elif level == "warn":
        check, cure = "duplicate", "leave one out"
    text = f"the same voxels as {one.modality}/{one.name}; {cure}"
    return Finding(level, check, text, other.modality, other.name)


def _thumbnail(facts: Facts) -> NDArray:
    """Thumbnail with mean 0 and length 1."""
    return centred(thumbnail_of(facts)).ravel()
