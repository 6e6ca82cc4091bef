"""The volumes of a training: found, grouped by subject, split and prepared into the slice cache."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.audit.checks import LEVELS, Finding
from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.audit.pairs import check_alignment
from cyclegan_gc.config import AuditDataConfig, DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.pairs import Pair, find_pairs
from cyclegan_gc.data.preparation import Source, prepare_volumes
from cyclegan_gc.data.subjects import held_out_subjects, names_of, subject_of, subjects_of
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.files import find_cases
from cyclegan_gc.prepare.modality import Modality

CaseFiles = Mapping[Path, tuple[Path, ...]]
"""The volumes of each case, an MR's contrasts or the CT, under the path that names the case."""


@dataclass(frozen=True)
class Files:
    """The volumes that a training was given, found but not read."""

    mr: CaseFiles
    """With the paired objective the MRs of the pairs."""
    ct: CaseFiles
    pairs: tuple[Pair, ...]
    """Registered pairs to train on."""
    validation_pairs: tuple[Pair, ...]
    """``data.validation_pairs``, which are never trained on."""
    notes: tuple[str, ...]
    """A sentence for everything that was left out."""


@dataclass(frozen=True)
class Cases:
    """Prepared cases of both modalities, each once a plane; where no subject is held out, validation looks at the
    training cases. With the paired objective they are the cases of the pairs."""

    mr: list[SliceStack]
    ct: list[SliceStack]
    validation_mr: list[SliceStack]
    validation_ct: list[SliceStack]
    held_out: int
    """Subjects that are held out for validation."""
    findings: tuple[Finding, ...] = ()
    """Findings of the audit of all volumes, worst first."""
    pairs: tuple[SliceStack, ...] = ()
    """Registered pairs to train on, each once a plane."""
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
    return Files(mr, ct, pairs, validation_pairs, tuple(notes))


def load_cases(files: Files, data: DataConfig, settings: PreprocessConfig, cache: Path) -> Cases:
    """Split the volumes by subject and prepare all of them.

    Args:
        files: from :func:`find_files`.
        data: planes, held-out share and number of threads.
        settings: of the slices.
        cache: folder of the prepared slices.

    Raises:
        UserError: if a case of ``data.validation_pairs`` is among the others too, or too few subjects remain.
        VolumeError: if a volume cannot be used.
    """
    subjects: dict[Modality, dict[Path, str]] = {
        "mr": subjects_of(list(files.mr)),
        "ct": subjects_of(list(files.ct)),
    }
    _check_only_validated(files, subjects, cache)
    held_out = _hold_out(files, subjects, data, cache)
    parts, audited = _prepare_cases(files, subjects, held_out, data, settings, cache)
    stacks, of_pairs = _prepare_pairs(files.pairs, data, settings, cache)
    findings = [*of_pairs, *find_faults(audited, settings, data.slice_axes)]
    (train_mr, valid_mr), (train_ct, valid_ct) = parts["mr"], parts["ct"]
    aside = [pair for pair in files.pairs if subject_of(pair.name) in held_out]
    return Cases(
        train_mr,
        train_ct,
        valid_mr or train_mr,
        valid_ct or train_ct,
        len(held_out),
        tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))),
        tuple(stack for pair, planes in zip(files.pairs, stacks, strict=True) if pair not in aside for stack in planes),
        () if data.mr else tuple(aside or files.pairs),
        files.validation_pairs,
    )


def volumes_to_audit(data: AuditDataConfig) -> list[tuple[tuple[Path, ...], Audited]]:
    """The files of every volume that a training would be given, MR first, and whether it would be held out.

    Raises:
        UserError: if a folder is missing or empty.
    """
    files, ct_files = find_cases(data.mr, data.contrasts)[0], find_cases(data.ct)[0]
    mr, ct = subjects_of(list(files)), subjects_of(list(ct_files))
    held_out = held_out_subjects(set(mr.values()), set(ct.values()), data.validation_fraction)
    domains: list[tuple[Modality, dict[Path, str]]] = [("mr", mr), ("ct", ct)]
    return [
        ((files | ct_files)[path], Audited(name, modality, subjects[path] in held_out))
        for modality, subjects in domains
        for path, name in names_of(list(subjects)).items()
    ]


def _check_only_validated(files: Files, subjects: Mapping[Modality, Mapping[Path, str]], cache: Path) -> None:
    """Check that no subject and no volume of the validation pairs is trained on.

    Subjects are compared by name, volumes by content.

    Raises:
        UserError: one line with the first that is.
    """
    if not files.validation_pairs:
        return
    known = {subject_of(pair.name) for pair in files.validation_pairs}
    contents = _contents((path for pair in files.validation_pairs for path in pair.files), cache)
    for pair in files.pairs:
        if subject_of(pair.name) in known or contents & _contents(pair.files, cache):
            raise _also_validated(pair.mr[0], "subject")
    for cases, names in ((files.mr, subjects["mr"]), (files.ct, subjects["ct"])):
        for case, paths in cases.items():
            if names[case] in known:
                raise _also_validated(paths[0], "subject")
            for path in paths:
                if content_hash(path, cache) in contents:
                    raise _also_validated(path, "volume")


def _also_validated(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: this {what} is among --data.validation_pairs too, which are never trained on; take it out of one of "
        "them"
    )


def _contents(paths: Iterable[Path], cache: Path) -> set[str]:
    return {content_hash(path, cache) for path in paths}


def _hold_out(files: Files, subjects: Mapping[Modality, Mapping[Path, str]], data: DataConfig, cache: Path) -> set[str]:
    """Subjects for validation; in unpaired training none of the pairs' subjects, who are trained on in any case."""
    mr, ct = set(subjects["mr"].values()), set(subjects["ct"].values())
    trained_on = _subjects_among_pairs(files, subjects, cache) if data.mr else set()
    held_out = held_out_subjects(mr, ct, data.validation_fraction, never=trained_on)
    for name, each in (("mr" if data.mr else "pairs", mr), ("ct", ct)):
        if not each - held_out:
            raise UserError(
                f"--data.{name}: no subject left to train on ({len(held_out)} held out for validation, told apart by "
                "sub-XX, by folder or by file name); add subjects or set --data.validation_fraction 0"
            )
    return held_out


def _subjects_among_pairs(files: Files, subjects: Mapping[Modality, Mapping[Path, str]], cache: Path) -> set[str]:
    """Unpaired subjects who are also among the pairs, by name or by a file's content."""
    contents = _contents((path for pair in files.pairs for path in pair.files), cache)
    copies = {
        names[case]
        for cases, names in ((files.mr, subjects["mr"]), (files.ct, subjects["ct"]))
        for case, paths in cases.items()
        if contents and contents & _contents(paths, cache)
    }
    return copies | {subject_of(pair.name) for pair in files.pairs}


def _prepare_cases(
    files: Files,
    subjects: Mapping[Modality, Mapping[Path, str]],
    held_out: set[str],
    data: DataConfig,
    settings: PreprocessConfig,
    cache: Path,
) -> tuple[dict[Modality, tuple[list[SliceStack], list[SliceStack]]], list[Audited]]:
    """The training and the held-out cases of each modality, and the audit's facts about all of them."""
    domains: tuple[tuple[Modality, CaseFiles], ...] = (("mr", files.mr), ("ct", files.ct))
    known: list[tuple[Path, tuple[Path, ...], Modality]] = [
        (case, paths, modality) for modality, each in domains for case, paths in each.items()
    ]
    sources: list[Source] = [(paths, modality) for _, paths, modality in known]
    prepared = prepare_volumes(sources, settings, data.slice_axes, cache, threads=data.prepare_threads)
    names = {case: name for _, each in domains for case, name in names_of(list(each)).items()}
    audited: list[Audited] = []
    parts: dict[Modality, tuple[list[SliceStack], list[SliceStack]]] = {"mr": ([], []), "ct": ([], [])}
    for (case, paths, modality), stacks in zip(known, prepared, strict=True):
        aside = subjects[modality][case] in held_out
        parts[modality][aside].extend(replace(stack, sources=paths) for stack in stacks)
        facts, doubts = stacks[0].statistics["audit"], stacks[0].warnings
        audited.append(Audited(names[case], modality, aside, facts, notes=doubts))
    return parts, audited


def _prepare_pairs(
    pairs: Sequence[Pair], data: DataConfig, settings: PreprocessConfig, cache: Path
) -> tuple[list[list[SliceStack]], list[Finding]]:
    """The stacks of each pair, and the faults of its alignment."""
    sources: list[Source] = [(pair.files, "pair") for pair in pairs]
    prepared = prepare_volumes(sources, settings, data.slice_axes, cache, threads=data.prepare_threads)
    findings = [
        Finding(level, check, text, case=pair.name)
        for pair, stacks in zip(pairs, prepared, strict=True)
        for level, check, text in check_alignment(stacks[0].statistics["audit"])
    ]
    named = [
        [replace(stack, sources=pair.files) for stack in stacks] for pair, stacks in zip(pairs, prepared, strict=True)
    ]
    return named, findings
