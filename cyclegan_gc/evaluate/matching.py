"""Which files belong to one case."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.files import case_id, find_volumes, uncertainty_name

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Sources:
    """Where the files of all cases are: each a file, a folder, a glob or a text list, or None."""

    predicted: str
    """Synthetic CTs."""
    reference: str
    """True CTs."""
    mr: str | None = None
    """The MRs that were converted."""
    mask: str | None = None
    """Body masks."""
    compare: str | None = None
    """Another method's synthetic CTs."""
    labels: str | None = None
    """Label maps of the true CTs."""
    predicted_labels: str | None = None
    """Label maps of the synthetic CTs."""
    compared_labels: str | None = None
    """Label maps of the other method's."""


KINDS = {
    "reference": ("ct", "true CT"),
    "mr": ("mr", "MR"),
    "mask": ("mask", "mask"),
    "compare": ("compared", "compared CT"),
    "labels": ("labels", "true label map"),
    "predicted_labels": ("sct_labels", "predicted label map"),
    "compared_labels": ("compared_labels", "compared label map"),
}
"""Source beside the predictions -> its field of `CaseFiles` and its name for people."""


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; None where none were asked for."""

    id: str
    sct: Path
    ct: Path
    mr: Path | None = None
    mask: Path | None = None
    compared: Path | None = None
    labels: Path | None = None
    """Of the true CT."""
    sct_labels: Path | None = None
    compared_labels: Path | None = None


def match_cases(sources: Sources) -> tuple[list[CaseFiles], list[str], list[str]]:
    """The cases, ``case: reason`` of each prediction that lacks a file, and the references without a prediction.

    Files belong together when their names agree, the endings ``.nii``, ``.nii.gz`` and ``_sct`` aside. One predicted
    file and one other file belong together whatever their names.

    Raises:
        UserError: if a source holds no volume, or no prediction has a reference; says what was found.
    """
    given = {each.name: getattr(sources, each.name) for each in fields(sources)}
    found = {name: _by_case(source) for name, source in given.items() if source}
    scts, cts = found.pop("predicted"), found["reference"]
    single = len(scts) == 1 and Path(sources.predicted).is_file()
    cases, failures = [], []
    for case, paths in scts.items():
        try:
            sct = _only(case, paths, "prediction")
            others = {KINDS[name][0]: _partner(case, name, known, given[name], single) for name, known in found.items()}
            cases.append(CaseFiles(case, sct, **others))
        except VolumeError as error:
            failures.append(f"{case}: {error}")
    if not single and not scts.keys() & cts.keys():
        raise UserError(
            f"{sources.predicted}: no synthetic CT ({_some(scts)}) has a true CT of its name in {sources.reference} "
            f"({_some(cts)}); names must agree but for _sct"
        )
    return cases, failures, [] if single else sorted(cts.keys() - scts.keys())


def _by_case(source: str) -> dict[str, list[Path]]:
    """The volumes of each case, without the maps of uncertainty beside results."""
    named = {path: path.with_name(case_id(path)) for path in find_volumes(source)}
    uncertain = {name.with_name(uncertainty_name(name.name)) for name in named.values()}
    found: dict[str, list[Path]] = {}
    for path, name in named.items():
        if name not in uncertain:
            found.setdefault(name.name.removesuffix("_sct"), []).append(path)
    return found


def _partner(case: str, name: str, found: dict[str, list[Path]], source: str, single: bool) -> Path:
    """The case's own file of a source."""
    alone = single and len(found) == 1 and Path(source).is_file()
    return _only(case, next(iter(found.values())) if alone else found.get(case, []), f"{KINDS[name][1]} in {source}")


def _only(case: str, paths: Sequence[Path], what: str) -> Path:
    if not paths:
        raise VolumeError(f"no {what} named {case}; names must agree but for _sct")
    if len(paths) > 1:
        raise VolumeError(f"{len(paths)} files are a {what} named {case} ({paths[0]}, {paths[1]}); keep one")
    return paths[0]


def _some(cases: dict[str, list[Path]]) -> str:
    names = sorted(cases)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
