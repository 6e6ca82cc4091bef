"""Match the files of each case by name, folder or BIDS entities."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.measures import BASELINES, COMPARED, SCT
from cyclegan_gc.formats.files import named_path, read_sidecar, uncertainty_name
from cyclegan_gc.formats.names import CaseName, places_of
from cyclegan_gc.formats.selection import Holds, find_kind, left_out_lines, names_of
from cyclegan_gc.formats.sources import Source

NAMES_SHOWN = 5
TAKEN = (SCT, *BASELINES, "synthetic", "true")
"""Names of methods and pictures that a compared method cannot have."""
METHOD_NAME = re.compile(r"(\w[\w .+-]*)=(.+)")
"""``NAME=SOURCE``; a name holds letters, digits, spaces and ``_ . + -``."""


@dataclass(frozen=True)
class Sources:
    """The files of all cases: each source is a file, a DICOM series, a folder, a glob or a text list, or None.

    :mod:`cyclegan_gc.formats.names` says which files belong to one case.
    """

    predicted: str
    """Synthetic CTs in HU, made by any program."""
    reference: str
    """True CTs in HU."""
    mr: str | None = None
    """The MRs that were converted."""
    mask: str | None = None
    """Body masks, not 0 inside."""
    compare: Mapping[str, str] = field(default_factory=dict)
    """Method -> its synthetic CTs."""
    labels: str | None = None
    """Label maps of the true CTs."""
    predicted_labels: str | None = None
    """Label maps of the synthetic CTs."""
    compared_labels: Mapping[str, str] = field(default_factory=dict)
    """Method -> label maps of its synthetic CTs."""


@dataclass(frozen=True)
class CaseFiles:
    """The volumes and series of one case; None for a source that was not given."""

    id: str
    sct: Source
    ct: Source
    mr: Source | None = None
    mask: Source | None = None
    labels: Source | None = None
    """Label map of the true CT."""
    sct_labels: Source | None = None
    compared: Mapping[str, Source] = field(default_factory=dict)
    """Method -> its synthetic CT."""
    compared_labels: Mapping[str, Source] = field(default_factory=dict)
    """Method -> label map of its synthetic CT."""

    @property
    def sources(self) -> list[Source]:
        """All volumes and series of the case."""
        given = [self.sct, self.ct, self.mr, self.mask, self.labels, self.sct_labels]
        return [each for each in (*given, *self.compared.values(), *self.compared_labels.values()) if each]


class _Found(NamedTuple):
    """What a source holds of one kind."""

    kind: str
    source: str
    files: list[Source]
    names: list[CaseName]
    """Of each file."""
    left_out: list[str]
    """A sentence for each reason for which files were left out."""

    @property
    def single(self) -> bool:
        """Whether the user named one file or the folder of one series."""
        path = named_path(self.source)
        return len(self.files) == 1 and (path.is_file() or path == self.files[0].path)

    def file_of(self, case: CaseName, single: bool) -> Source:
        """The case's own file; with a single prediction the single file of the source, whatever its name."""
        if single and self.single:
            return self.files[0]
        found = [self.files[place] for place in places_of(case, self.names)]
        kind = f"{self.kind} in {Path(self.source).name}"
        if not found:
            raise VolumeError(f"no {kind} named {case.id}; give it the same name or folder, except for _sct")
        if len(found) > 1:
            raise VolumeError(
                f"{len(found)} files are a {kind} named {case.id} ({found[0].label}, {found[1].label}); keep one"
            )
        return found[0]


def named_sources(words: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=SOURCE`` words as method -> source; a single word without a name is the method "compared".

    A word that exists as a path is a source, even where it holds "=".

    Raises:
        UserError: if several words have no name, or a name is used twice or belongs to the evaluation itself.
    """
    sources: dict[str, str] = {}
    for word in words:
        found = None if named_path(word).exists() else METHOD_NAME.fullmatch(word)
        name, source = found.groups() if found else (COMPARED, word)
        if found is None and len(words) > 1:
            raise UserError(f"{option} {word}: several sources need names; write {option} NAME={word}")
        if name in sources or name in TAKEN:
            raise UserError(f"{option} {word}: the name {name} is taken; choose another one")
        sources[name] = source
    return sources


def match_cases(sources: Sources) -> tuple[list[CaseFiles], list[str], list[str]]:
    """The cases, ``case: reason`` of each prediction that lacks a file, and a sentence on what was left out.

    A single predicted file belongs to a single other file whatever their names.

    Raises:
        UserError: if a source holds no volume, or no prediction has a reference; the message lists what was found.
    """
    kinds: dict[str, tuple[str, Holds, str | None]] = {
        "sct": ("prediction", "sct", sources.predicted),
        "ct": ("true CT", "ct", sources.reference),
        "mr": ("MR", "mr", sources.mr),
        "mask": ("mask", "mask", sources.mask),
        "labels": ("true label map", "labels", sources.labels),
        "sct_labels": ("predicted label map", "labels", sources.predicted_labels),
    }
    found = {name: _found(kind, holds, source) for name, (kind, holds, source) in kinds.items() if source}
    compared = {method: _found(_kind("CT", method), "sct", source) for method, source in sources.compare.items()}
    labels = {
        method: _found(_kind("label map", method), "labels", source)
        for method, source in sources.compared_labels.items()
    }
    scts, cts = found["sct"], found["ct"]
    single = scts.single
    cases, failures = [], []
    for case, sct in zip(scts.names, scts.files, strict=True):
        try:
            files = {name: each.file_of(case, single) for name, each in found.items() if name != "sct"}
            cases.append(
                CaseFiles(
                    case.id,
                    sct,
                    **files,
                    compared={method: each.file_of(case, single) for method, each in compared.items()},
                    compared_labels={method: each.file_of(case, single) for method, each in labels.items()},
                )
            )
        except VolumeError as error:
            failures.append(f"{case.id}: {error}")
    known = {place for case in scts.names for place in places_of(case, cts.names)}
    if not single and not known:
        raise UserError(
            f"{sources.predicted}: no synthetic CT ({_some(scts)}) has a true CT of its name or folder in "
            f"{sources.reference} ({_some(cts)}); they must be equal except for _sct"
        )
    notes = [note for each in (*found.values(), *compared.values(), *labels.values()) for note in each.left_out]
    unmatched = [] if single else sorted(name.id for place, name in enumerate(cts.names) if place not in known)
    if unmatched:
        notes.append(f"True CTs without a synthetic one, left out: {', '.join(unmatched)}.")
    cases, doubled = _once_each(cases)
    return cases, failures + doubled, notes


def sidecar_of(sct: Source) -> dict[str, Any]:
    """The JSON file that a conversion writes beside its result; empty for a CT made by another program."""
    sidecar = read_sidecar(sct.path.with_name(f"{sct.name}.json"))
    return sidecar if isinstance(sidecar.get("settings"), dict) else {}


def _once_each(cases: list[CaseFiles]) -> tuple[list[CaseFiles], list[str]]:
    """The cases whose true CT is no other's too, and ``case: reason`` of the others, so that none counts twice."""
    times = Counter(case.ct for case in cases)
    doubled = [
        f"{case.id}: {case.sct.label} is one of {times[case.ct]} predictions of {case.ct.label}; keep one"
        for case in cases
        if times[case.ct] > 1
    ]
    return [case for case in cases if times[case.ct] == 1], doubled


def _kind(kind: str, method: str) -> str:
    return f"compared {kind}" if method == COMPARED else f"{kind} of {method}"


def _found(kind: str, holds: Holds, source: str) -> _Found:
    """The volumes and series of a source that hold one kind, without uncertainty maps beside results."""
    files, others = find_kind(source, holds)
    uncertain = {file.path.with_name(uncertainty_name(file.name)) for file in files}
    files = [file for file in files if file.path.with_name(file.name) not in uncertain]
    left_out = [f"{kind}: {line}" for line in left_out_lines(others)]
    return _Found(kind, source, files, names_of(files), left_out)


def _some(found: _Found) -> str:
    names = sorted(name.id for name in found.names)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
