"""The audit of two training sets: what is wrong with a volume, within a domain, and between the two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.audit_checks import LEVELS, Finding, Level, Remark, check_facts
from cyclegan_gc.data.audit_domains import between_domains, within_domain
from cyclegan_gc.data.audit_facts import Facts
from cyclegan_gc.data.preprocess import Modality

SAME_PICTURE = 0.98
"""Correlation of thumbnails: one head resampled to 2 mm has above 0.99, two people (or phantoms) at most 0.96."""


@dataclass(frozen=True)
class Audited:
    """One volume of a training set."""

    name: str
    """Relative to its set; what findings call it."""
    modality: Modality
    held_out: bool = False
    """Whether it is for validation."""
    facts: Facts | None = None
    """:func:`cyclegan_gc.data.audit_facts.measure_case`; fewer where it cannot be prepared, None where not be read."""
    failure: str | None = None
    """Why it cannot be used."""
    notes: tuple[str, ...] = ()
    """What its reader doubted."""


def judge(cases: Sequence[Audited], settings: PreprocessConfig) -> list[Finding]:
    """Everything that is found, worst first; a case without a finding passes."""
    found: list[Finding] = []
    for case in cases:
        remarks: list[Remark] = [("warn", "file", note.rstrip(".")) for note in case.notes]
        if case.failure is not None:
            remarks.append(("fail", "unusable", case.failure))
        elif case.facts is not None:
            remarks += check_facts(case.facts, case.modality, settings.ct_window_hu)
        found += [Finding(level, check, text, case.modality, case.name) for level, check, text in remarks]
    found += _copies([case for case in cases if case.facts is not None])
    mr, ct = (_usable(cases, "mr"), _usable(cases, "ct"))
    for domain in (within_domain(mr, "mr", settings), within_domain(ct, "ct", settings)):
        found += domain
    found += between_domains(mr, ct, settings)
    return sorted(found, key=_badness)


def _usable(cases: Sequence[Audited], modality: Modality) -> dict[str, Facts]:
    return {
        case.name: case.facts
        for case in cases
        if case.modality == modality and case.failure is None and case.facts is not None
    }


def level_of(found: Sequence[Finding]) -> Level:
    """The worst level; what nothing was found of passes."""
    return min(found, key=_badness).level if found else "pass"


def _badness(finding: Finding) -> int:
    return LEVELS.index(finding.level)


def _copies(cases: Sequence[Audited]) -> Iterator[Finding]:
    """Volumes that are one, whatever their files look like, and pictures so alike that one is made from the other."""
    thumbnails = [_thumbnail(case.facts or {}) for case in cases]
    for number, other in enumerate(cases):
        before = [one for one in cases[:number] if _content(one) == _content(other)]
        if before:
            # Of many copies the worst pair is told.
            yield min((_same_content(one, other) for one in before), key=_badness)
            continue
        for one, first in zip(cases[:number], thumbnails, strict=False):
            second = thumbnails[number]
            if first is None or second is None or one.modality != other.modality:
                continue
            alike = float((first * second).mean())
            if alike > SAME_PICTURE:
                split = ", and only one of them is held out for validation" if one.held_out != other.held_out else ""
                text = f"almost the same picture as {one.name} (correlation {alike:.3f}){split}; leave one out"
                yield Finding("warn", "near duplicate", text, other.modality, other.name)
                break


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


def _thumbnail(facts: Facts) -> NDArray | None:
    """Of mean 0 and variance 1."""
    if "thumbnail" not in facts:
        return None
    values = np.frombuffer(bytes.fromhex(facts["thumbnail"]), np.uint8).astype(float)
    return (values - values.mean()) / max(float(values.std()), 1e-6)
