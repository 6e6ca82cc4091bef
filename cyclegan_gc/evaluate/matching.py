"""Match the files of each case by name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.measures import BASELINES, COMPARED, SCT
from cyclegan_gc.formats.files import case_id, find_volumes, read_sidecar, uncertainty_name

NAMES_SHOWN = 5
TAKEN = (SCT, *BASELINES, "synthetic", "true")
"""Names of methods and pictures that a compared method cannot have."""
METHOD_NAME = re.compile(r"(\w[\w .+-]*)=(.+)")
"""``NAME=SOURCE``; a name holds letters, digits, spaces and ``_ . + -``."""


@dataclass(frozen=True)
class Sources:
    """The files of all cases: each source is a file, a folder, a glob or a text list, or None.

    Files of one case have one name, the ending ``_sct`` aside.
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
    """The files of one case; None for a source that was not given."""

    id: str
    sct: Path
    ct: Path
    mr: Path | None = None
    mask: Path | None = None
    labels: Path | None = None
    """Label map of the true CT."""
    sct_labels: Path | None = None
    compared: Mapping[str, Path] = field(default_factory=dict)
    """Method -> its synthetic CT."""
    compared_labels: Mapping[str, Path] = field(default_factory=dict)


class _Found(NamedTuple):
    """A source with its volumes by case."""

    kind: str
    source: str
    by_case: dict[str, list[Path]]

    def file_of(self, case: str, single: bool) -> Path:
        """The case's own file; with a single prediction the only file of the source, whatever its name."""
        alone = single and len(self.by_case) == 1 and Path(self.source).is_file()
        paths = next(iter(self.by_case.values())) if alone else self.by_case.get(case, [])
        kind = f"{self.kind} in {self.source}"
        if not paths:
            raise VolumeError(f"no {kind} named {case}; names must be equal except for _sct")
        if len(paths) > 1:
            raise VolumeError(f"{len(paths)} files are a {kind} named {case} ({paths[0]}, {paths[1]}); keep one")
        return paths[0]


def named_sources(words: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=SOURCE`` words as method -> source; a single word without a name is the method "compared".

    A word that exists as a path is a source, even where it holds "=".

    Raises:
        UserError: if several words have no name, or a name is used twice or belongs to the evaluation itself.
    """
    sources: dict[str, str] = {}
    for word in words:
        found = None if Path(word).expanduser().exists() else METHOD_NAME.fullmatch(word)
        name, source = found.groups() if found else (COMPARED, word)
        if found is None and len(words) > 1:
            raise UserError(f"{option} {word}: several sources need names; write {option} NAME={word}")
        if name in sources or name in TAKEN:
            raise UserError(f"{option} {word}: the name {name} is taken; choose another one")
        sources[name] = source
    return sources


def match_cases(sources: Sources) -> tuple[list[CaseFiles], list[str], list[str]]:
    """The cases, ``case: reason`` of each prediction that lacks a file, and the references without a prediction.

    Files belong together when their names agree, the endings ``.nii``, ``.nii.gz`` and ``_sct`` aside. A single
    predicted file belongs to a single other file whatever their names.

    Raises:
        UserError: if a source holds no volume, or no prediction has a reference; the message lists what was found.
    """
    kinds = {
        "sct": ("prediction", sources.predicted),
        "ct": ("true CT", sources.reference),
        "mr": ("MR", sources.mr),
        "mask": ("mask", sources.mask),
        "labels": ("true label map", sources.labels),
        "sct_labels": ("predicted label map", sources.predicted_labels),
    }
    found = {name: _found(kind, source) for name, (kind, source) in kinds.items() if source}
    compared = {method: _found(_kind("CT", method), source) for method, source in sources.compare.items()}
    labels = {method: _found(_kind("label map", method), source) for method, source in sources.compared_labels.items()}
    scts, cts = found["sct"].by_case, found["ct"].by_case
    single = len(scts) == 1 and Path(sources.predicted).is_file()
    cases, failures = [], []
    for case in scts:
        try:
            files = CaseFiles(
                case,
                **{name: each.file_of(case, single) for name, each in found.items()},
                compared={method: each.file_of(case, single) for method, each in compared.items()},
                compared_labels={method: each.file_of(case, single) for method, each in labels.items()},
            )
            cases.append(files)
        except VolumeError as error:
            failures.append(f"{case}: {error}")
    if not single and not scts.keys() & cts.keys():
        raise UserError(
            f"{sources.predicted}: no synthetic CT ({_some(scts)}) has a true CT of its name in {sources.reference} "
            f"({_some(cts)}); names must be equal except for _sct"
        )
    return cases, failures, [] if single else sorted(cts.keys() - scts.keys())


def sidecar_of(sct: Path) -> dict[str, Any]:
    """The JSON file that a conversion writes beside its result; empty for a CT made by another program."""
    sidecar = read_sidecar(sct.with_name(f"{case_id(sct)}.json"))
    return sidecar if isinstance(sidecar.get("settings"), dict) else {}


def _kind(kind: str, method: str) -> str:
    return f"compared {kind}" if method == COMPARED else f"{kind} of {method}"


def _found(kind: str, source: str) -> _Found:
    """The volumes of each case, without the uncertainty maps beside results."""
    named = {path: path.with_name(case_id(path)) for path in find_volumes(source)}
    uncertain = {name.with_name(uncertainty_name(name.name)) for name in named.values()}
    by_case: dict[str, list[Path]] = {}
    for path, name in named.items():
        if name not in uncertain:
            by_case.setdefault(name.name.removesuffix("_sct"), []).append(path)
    return _Found(kind, source, by_case)


def _some(cases: dict[str, list[Path]]) -> str:
    names = sorted(cases)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
