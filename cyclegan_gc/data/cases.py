"""The volumes of a training: found, grouped by subject, split and prepared into the cache."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.audit.checks import LEVELS, Finding
from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.audit.pairs import check_alignment
from cyclegan_gc.config import AuditDataConfig, DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import PreparedVolume
from cyclegan_gc.data.pairs import Pair, find_pairs
from cyclegan_gc.data.preparation import Source, prepare_volumes
from cyclegan_gc.data.subjects import held_out_subjects, names_of, subject_of, subjects_of
from cyclegan_gc.errors import UserError, plain
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.files import find_cases
from cyclegan_gc.prepare.modality import Modality


@dataclass(frozen=True)
class Case:
    """One case of a training, found but not read."""

    modality: Modality
    name: str
    """Path relative to the folder of its set."""
    subject: str
    files: tuple[Path, ...]
    """The contrasts of an MR, or the CT."""


@dataclass(frozen=True)
class Files:
    """The volumes that a training was given, found but not read."""

    cases: list[Case]
    """MR first; with the paired objective those of the pairs."""
    pairs: tuple[Pair, ...]
    """Registered pairs to train on."""
    validation_pairs: tuple[Pair, ...]
    """``data.validation_pairs``, which are never trained on."""
    notes: tuple[str, ...]
    """A sentence for everything that was left out."""


@dataclass(frozen=True)
class Cases:
    """Prepared cases of both modalities; with the paired objective those of the pairs.

    Where no subject is held out, validation looks at the training cases.
    """

    mr: list[PreparedVolume]
    ct: list[PreparedVolume]
    validation_mr: list[PreparedVolume]
    validation_ct: list[PreparedVolume]
    held_out: int
    """Subjects that are held out for validation."""
    findings: tuple[Finding, ...] = ()
    """Findings of the audit of all volumes, worst first."""
    pairs: tuple[PreparedVolume, ...] = ()
    """Registered pairs to train on."""
    judges: tuple[Pair, ...] = ()
    """With the paired objective the pairs that choose best.pt."""
    validation_pairs: tuple[Pair, ...] = ()
    """``data.validation_pairs``, for figures alone."""


def find_files(data: DataConfig) -> Files:
    """Find all volumes of a training; reads nothing but the headers of pairs.

    Raises:
        UserError: if a folder is missing or empty, MR and CT share a file or pairs are not on one grid.
        VolumeError: if the header of a pair cannot be read.
    """
    pairs, validation_pairs = (
        tuple(find_pairs(folder, data.contrasts, setting)) if folder is not None else ()
        for folder, setting in ((data.pairs, "--data.pairs"), (data.validation_pairs, "--data.validation_pairs"))
    )
    # With the paired objective there are no other volumes.
    mr_source, ct_source = (data.mr, data.ct) if data.mr and data.ct else (f"{data.pairs}/mr", f"{data.pairs}/ct")
    (mr, notes), (ct, _) = find_cases(mr_source, data.contrasts), find_cases(ct_source)
    shared = {path.resolve() for paths in mr.values() for path in paths} & {path.resolve() for path in ct}
    if shared:
        raise UserError(
            f"{min(shared)}: given as MR and as CT ({len(shared)} such files); "
            "point --data.mr and --data.ct to different folders"
        )
    return Files(_cases_of(mr, "mr") + _cases_of(ct, "ct"), pairs, validation_pairs, tuple(notes))


def load_cases(files: Files, data: DataConfig, settings: PreprocessConfig, cache: Path) -> Cases:
    """Split the volumes by subject and prepare all of them.

    Args:
        files: from :func:`find_files`.
        data: held-out share, planes and number of threads.
        settings: preprocessing.
        cache: folder of the prepared volumes.

    Raises:
        UserError: if a case of ``data.validation_pairs`` is among the others too, or too few subjects remain.
        VolumeError: if a volume cannot be used.
    """
    _check_only_validated(files, cache)
    held_out = _hold_out(files, data, cache)
    cases, pairs = files.cases, files.pairs
    volumes = _prepare([(case.files, case.modality) for case in cases], data, settings, cache)
    of_pairs = _prepare([(pair.files, "pair") for pair in pairs], data, settings, cache)
    parts: dict[tuple[Modality, bool], list[PreparedVolume]] = {}
    audited, findings, paired, aside = [], [], [], []
    for case, volume in zip(cases, volumes, strict=True):
        out = case.subject in held_out
        parts.setdefault((case.modality, out), []).append(volume)
        audited.append(Audited(case.name, case.modality, out, volume.statistics["audit"], notes=volume.warnings))
    for pair, volume in zip(pairs, of_pairs, strict=True):
        remarks = check_alignment(volume.statistics["audit"])
        findings += [Finding(level, check, text, case=pair.name) for level, check, text in remarks]
        if subject_of(pair.name) in held_out:
            aside.append(pair)
        else:
            paired.append(volume)
    findings += find_faults(audited, settings, data.slice_axes)
    mr, ct = parts["mr", False], parts["ct", False]
    return Cases(
        mr,
        ct,
        validation_mr=parts.get(("mr", True), mr),
        validation_ct=parts.get(("ct", True), ct),
        held_out=len(held_out),
        findings=tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        pairs=tuple(paired),
        judges=() if data.mr else tuple(aside or pairs),
        validation_pairs=files.validation_pairs,
    )


def volumes_to_audit(data: AuditDataConfig) -> list[tuple[tuple[Path, ...], Audited]]:
    """The files of every volume that a training would be given, MR first, and whether it would be held out.

    Raises:
        UserError: if a folder is missing or empty.
    """
    cases = _cases_of(find_cases(data.mr, data.contrasts)[0], "mr") + _cases_of(find_cases(data.ct)[0], "ct")
    held_out = held_out_subjects(*_subjects(cases), data.validation_fraction)
    return [(case.files, Audited(case.name, case.modality, case.subject in held_out)) for case in cases]


def _cases_of(found: Mapping[Path, tuple[Path, ...]], modality: Modality) -> list[Case]:
    names, subjects = names_of(list(found)), subjects_of(list(found))
    return [Case(modality, plain(names[path]), subjects[path], files) for path, files in found.items()]


def _subjects(cases: Sequence[Case]) -> tuple[set[str], set[str]]:
    """Subjects of the MRs and of the CTs."""
    mr, ct = ({case.subject for case in cases if case.modality == each} for each in ("mr", "ct"))
    return mr, ct


def _check_only_validated(files: Files, cache: Path) -> None:
    """Refuse subjects (by name) and volumes (by content) of the validation pairs among the others."""
    if not files.validation_pairs:
        return
    known = {subject_of(pair.name) for pair in files.validation_pairs}
    contents = _contents((path for pair in files.validation_pairs for path in pair.files), cache)
    for pair in files.pairs:
        if subject_of(pair.name) in known or contents & _contents(pair.files, cache):
            raise _also_validated(pair.mr[0], "subject")
    for case in files.cases:
        if case.subject in known:
            raise _also_validated(case.files[0], "subject")
        for path in case.files:
            if content_hash(path, cache) in contents:
                raise _also_validated(path, "volume")


def _also_validated(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: this {what} is among --data.validation_pairs too, which are never trained on; take it out of one of "
        "them"
    )


def _contents(paths: Iterable[Path], cache: Path) -> set[str]:
    return {content_hash(path, cache) for path in paths}


def _hold_out(files: Files, data: DataConfig, cache: Path) -> set[str]:
    """Subjects for validation; in unpaired training none of the pairs' subjects, who are trained on in any case."""
    mr, ct = _subjects(files.cases)
    trained_on = _subjects_among_pairs(files, cache) if data.mr else set()
    held_out = held_out_subjects(mr, ct, data.validation_fraction, never=trained_on)
    for name, each in (("mr" if data.mr else "pairs", mr), ("ct", ct)):
        if not each - held_out:
            raise UserError(
                f"--data.{name}: no subject left to train on ({len(held_out)} held out for validation, identified by "
                "sub-XX, by folder or by file name); add subjects or set --data.validation_fraction 0"
            )
    return held_out


def _subjects_among_pairs(files: Files, cache: Path) -> set[str]:
    """Subjects of the pairs, and unpaired subjects of whom a file's content is among the pairs."""
    contents = _contents((path for pair in files.pairs for path in pair.files), cache)
    copies = {case.subject for case in files.cases if contents and contents & _contents(case.files, cache)}
    return copies | {subject_of(pair.name) for pair in files.pairs}


def _prepare(
    sources: Sequence[Source], data: DataConfig, settings: PreprocessConfig, cache: Path
) -> list[PreparedVolume]:
    """The volume of each source, which names its files."""
    prepared = prepare_volumes(sources, settings, cache, threads=data.prepare_threads)
    return [replace(volume, sources=tuple(paths)) for (paths, _), volume in zip(sources, prepared, strict=True)]
