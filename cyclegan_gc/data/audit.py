"""The audit of two training sets: what is wrong with a volume, within a domain, and between the two."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.audit_checks import LEVELS, Finding, Level, check_facts
from cyclegan_gc.data.audit_facts import Facts
from cyclegan_gc.data.audit_domains import between_domains, within_domain
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


def judge(cases: Sequence[Audited], settings: PreprocessConfig) -> list[Finding]:
    """Everything that is found, worst first; a case without a finding passes."""
    found: list[Finding] = []
    for case in cases:
        here = {"domain": case.modality, "case": case.name}
        if case.failure is not None:
            found.append(Finding("fail", "unusable", case.failure, **here))
        else:
            remarks = check_facts(case.facts or {}, case.modality, settings.ct_window_hu)
            found += [Finding(level, check, text, **here) for level, check, text in remarks]
    found += _copies([case for case in cases if case.facts is not None])
    whole = [case for case in cases if case.failure is None and case.facts is not None]
    mr, ct = (
        {case.name: case.facts for case in whole if case.modality == modality and case.facts}
        for modality in ("mr", "ct")
    )
    found += [*within_domain(mr, "mr", settings), *within_domain(ct, "ct", settings), *between_domains(mr, ct, settings)]
    return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def level_of(found: Sequence[Finding]) -> Level:
    """The worst level."""
    return min((finding.level for finding in found), key=LEVELS.index, default="pass")


def _copies(cases: Sequence[Audited]) -> Iterator[Finding]:
    """Volumes that are one, whatever their files look like, and pictures so alike that one is made from the other."""
    thumbnails = [_thumbnail(case.facts or {}) for case in cases]
    for (one, first), (other, second) in combinations(zip(cases, thumbnails, strict=True), 2):
        pair = {"domain": other.modality, "case": other.name}
        if one.facts and other.facts and one.facts["content"] == other.facts["content"]:
            yield replace(_same_content(one, other), **pair)
        elif first is not None and second is not None and one.modality == other.modality:
            alike = float((first * second).mean())
            if alike > SAME_PICTURE:
                split = " (one of them held out for validation)" if one.held_out != other.held_out else ""
                text = f"the same picture as {one.name}, resampled (correlation {alike:.3f}){split}; leave one out"
                yield Finding("warn", "near duplicate", text, **pair)


def _same_content(one: Audited, other: Audited) -> Finding:
    if one.modality != other.modality:
        return Finding("fail", "leak", f"the same voxels as {one.modality}/{one.name}; a volume is MR or CT, not both")
    if one.held_out != other.held_out:
        return Finding(
            "fail",
            "leak",
            f"the same voxels as {one.name}, and only one of them is held out for validation; leave one out",
        )
    return Finding("warn", "duplicate", f"the same voxels as {one.name}; leave one out")


def _thumbnail(facts: Facts) -> NDArray | None:
    """Of mean 0 and variance 1."""
    if "thumbnail" not in facts:
        return None
    values = np.frombuffer(bytes.fromhex(facts["thumbnail"]), np.uint8).astype(float)
    return (values - values.mean()) / max(float(values.std()), 1e-6)
