"""The volumes of a training: found, grouped by subject, split and prepared into the cache."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.audit.checks import LEVELS, Finding
from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.audit.pairs import check_alignment
from cyclegan_gc.config import AuditDataConfig, DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import PreparedVolume
from cyclegan_gc.data.pairs import Pair, find_pairs
from cyclegan_gc.data.preparation import Wanted, prepare_volumes
from cyclegan_gc.data.subjects import held_out_subjects, relative_names, subjects_of
from cyclegan_gc.errors import UserError, plain
from cyclegan_gc.formats.content import case_hashes
from cyclegan_gc.formats.selection import check_apart, find_both, left_out_lines, of_series, title_of
from cyclegan_gc.formats.sources import LeftOut, Source
from cyclegan_gc.prepare.modality import Modality

MODALITIES: tuple[Modality, ...] = ("mr", "ct")


@dataclass(frozen=True)
class Case:
    """One case of a training, found but not read."""

    modality: Modality
    name: str
    """Path relative to the folder of its set."""
    subject: str
    source: Source


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
    """Find all volumes of a training; of files only the headers of pairs and of DICOM series are read.

    Raises:
        UserError: if a folder is missing or empty, MR and CT share a file or pairs are not on one grid.
        VolumeError: if the header of a pair cannot be read.
    """
    (pairs, notes), (validation_pairs, more) = (
        _find_registered(folder, setting, data)
        for folder, setting in ((data.pairs, "--data.pairs"), (data.validation_pairs, "--data.validation_pairs"))
    )
    if data.mr is None or data.ct is None:  # with the paired objective there are no other volumes
        sides = [_cases_of([pair.sources[n] for pair in pairs], each) for n, each in enumerate(MODALITIES)]
        # The MR and the CT of a pair are on one side of the split, whatever their own names say.
        cases = [replace(case, subject=pair.subject) for side in sides for case, pair in zip(side, pairs, strict=True)]
        return Files(cases, pairs, validation_pairs, (*notes, *more))
    cases, others = _find_unpaired(data, data.mr, data.ct)
    for case in cases:
        case.source.readable_files()  # an incomplete case ends the run before hours of preparation
    return Files(cases, pairs, validation_pairs, (*others, *notes, *more))


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
    unpaired: list[Wanted] = [((case.source,), case.modality) for case in cases]
    of_pairs: list[Wanted] = [(pair.sources, "pair") for pair in pairs]
    prepared = prepare_volumes([*unpaired, *of_pairs], settings, cache, threads=data.prepare_threads)
    parts: dict[tuple[Modality, bool], list[PreparedVolume]] = {}
    audited, findings, paired, aside = [], [], [], []
    for case, volume in zip(cases, prepared[: len(cases)], strict=True):
        out = case.subject in held_out
        parts.setdefault((case.modality, out), []).append(volume)
        audited.append(Audited(case.name, case.modality, out, volume.statistics["audit"], notes=volume.warnings))
    for pair, volume in zip(pairs, prepared[len(cases) :], strict=True):
        remarks = check_alignment(volume.statistics["audit"])
        findings += [Finding(level, check, text, case=pair.name) for level, check, text in remarks]
        if pair.subject in held_out:
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


def volumes_to_audit(data: AuditDataConfig) -> tuple[list[tuple[Source, Audited]], tuple[str, ...]]:
    """Every volume that a training would be given, MR first, and whether it would be held out; and notes.

    Raises:
        UserError: if a folder is missing or empty, or MR and CT share a file.
    """
    cases, notes = _find_unpaired(data, data.mr, data.ct)
    held_out = held_out_subjects(*_subjects(cases), data.validation_fraction)
    return [(case.source, Audited(case.name, case.modality, case.subject in held_out)) for case in cases], notes


def _find_registered(folder: str | None, setting: str, data: DataConfig) -> tuple[tuple[Pair, ...], list[str]]:
    """The pairs of a folder, and a sentence on everything in it that was left out."""
    if folder is None:
        return (), []
    pairs, left_out = find_pairs(folder, setting, data.contrasts, data.mr_series, data.ct_series)
    return tuple(pairs), [f"{setting}: {line}" for line in left_out_lines(left_out)]


def _find_unpaired(data: DataConfig | AuditDataConfig, mr: str, ct: str) -> tuple[list[Case], tuple[str, ...]]:
    """The MRs and the CTs, and a sentence on everything that was left out."""
    (mrs, no_mrs), (cts, no_cts) = find_both(mr, ct, data.contrasts)
    mrs, other_mrs = of_series(mrs, data.mr_series, mr, "--data.mr_series")
    cts, other_cts = of_series(cts, data.ct_series, ct, "--data.ct_series")
    check_apart(mrs, cts, "give --data.mr and --data.ct different folders")
    of_mr, of_ct = _cases_of(mrs, "mr"), _cases_of(cts, "ct")
    notes = [*_notes(of_mr, [*no_mrs, *other_mrs], "mr"), *_notes(of_ct, [*no_cts, *other_cts], "ct")]
    return of_mr + of_ct, tuple(notes)


def _notes(cases: Sequence[Case], left_out: Sequence[LeftOut], modality: Modality) -> Iterator[str]:
    """What was left out, and whether the volumes of a subject are of several contrasts."""
    for line in left_out_lines(left_out):
        yield f"--data.{modality}: {line}"
    contrasts = [title_of(case.source) for case in cases]
    subjects = [case.subject for case in cases]
    if len(set(zip(subjects, contrasts, strict=True))) > len(set(subjects)):
        kinds = ", ".join(sorted({contrast or "unnamed" for contrast in contrasts}))
        yield f"--data.{modality}: subjects have several contrasts ({kinds}); --data.{modality}_series chooses"


def _cases_of(sources: Sequence[Source], modality: Modality) -> list[Case]:
    found = zip(relative_names(sources), subjects_of(sources), sources, strict=True)
    return [Case(modality, plain(name), subject, source) for name, subject, source in found]


def _subjects(cases: Sequence[Case]) -> tuple[set[str], set[str]]:
    """Subjects of the MRs and of the CTs."""
    mr, ct = ({case.subject for case in cases if case.modality == each} for each in ("mr", "ct"))
    return mr, ct


def _check_only_validated(files: Files, cache: Path) -> None:
    """Refuse subjects (by name) and volumes (by content) of the validation pairs among the others."""
    if not files.validation_pairs:
        return
    known = {pair.subject for pair in files.validation_pairs}
    contents = _contents(files.validation_pairs, cache)
    for pair in files.pairs:
        if pair.subject in known or contents & _contents([pair], cache):
            raise _also_validated(pair.mr.path, "subject")
    for case in files.cases:
        if case.subject in known:
            raise _also_validated(case.source.path, "subject")
        for content, path in case_hashes(case.source, cache).items():
            if content in contents:
                raise _also_validated(path, "volume")


def _also_validated(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: this {what} is among --data.validation_pairs too, which are never trained on; "
        "take it out of one of them"
    )


def _contents(pairs: Iterable[Pair], cache: Path) -> set[str]:
    """The hash of every volume of the pairs."""
    return {content for pair in pairs for source in pair.sources for content in case_hashes(source, cache)}


def _hold_out(files: Files, data: DataConfig, cache: Path) -> set[str]:
    """Subjects for validation; in unpaired training none of the pairs' subjects, who are trained on in any case."""
    mr, ct = _subjects(files.cases)
    trained_on = _subjects_among_pairs(files, cache) if data.mr else set()
    held_out = held_out_subjects(mr, ct, data.validation_fraction, never=trained_on)
    for name, each in (("mr" if data.mr else "pairs", mr), ("ct", ct)):
        if not each - held_out:
            raise UserError(
                f"--data.{name}: no subject left to train on ({len(held_out)} held out for validation, told apart by "
                "PatientID, sub-XX, folder or file name); add subjects or set --data.validation_fraction 0"
            )
    return held_out


def _subjects_among_pairs(files: Files, cache: Path) -> set[str]:
    """Subjects of the pairs, and unpaired subjects of whom a file's content is among the pairs."""
    contents = _contents(files.pairs, cache)
    copies = {
        case.subject for case in files.cases if contents and contents.intersection(case_hashes(case.source, cache))
    }
    return copies | {pair.subject for pair in files.pairs}
