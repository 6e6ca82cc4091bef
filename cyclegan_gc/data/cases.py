"""The training and validation cases: found, told apart by subject, prepared into the slice cache."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.audit.checks import LEVELS, Finding
from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.audit.pairs import check_alignment
from cyclegan_gc.config import AuditDataConfig, TrainConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.pairs import Pair, find_pairs
from cyclegan_gc.data.preparation import prepare_volumes
from cyclegan_gc.data.subjects import held_out_subjects, names_of, subject_of, subjects_of
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.content import content_hash
from cyclegan_gc.formats.files import find_cases
from cyclegan_gc.prepare.modality import Modality


@dataclass(frozen=True)
class Cases:
    """Prepared cases of both modalities, each once a plane; where no subject is held out, validation looks at the
    training cases. With objective paired they are those of the pairs."""

    mr: list[SliceStack]
    ct: list[SliceStack]
    validation_mr: list[SliceStack]
    validation_ct: list[SliceStack]
    findings: tuple[Finding, ...] = ()
    """Of the audit of all volumes, worst first."""
    notes: tuple[str, ...] = ()
    """What was left out."""
    pairs: tuple[SliceStack, ...] = ()
    """Registered pairs to train on, each once a plane."""
    validation_pairs: tuple[Pair, ...] = ()
    """With objective paired the pairs that choose best.pt."""


def load_cases(config: TrainConfig) -> Cases:
    """Find, split and prepare all volumes.

    Raises:
        UserError: if a folder is missing or empty, if MR and CT share a file, if pairs are none, if something is among
            ``data.validation_pairs`` too, or if too few subjects remain.
        VolumeError: if a volume cannot be used.
    """
    pairs, (mr_source, ct_source) = _find_pairs(config), _sources(config)
    (mr, notes), (ct, _) = find_cases(mr_source, config.data.contrasts), find_cases(ct_source)
    shared = {path.resolve() for paths in mr.values() for path in paths} & {path.resolve() for path in ct}
    if shared:
        raise UserError(
            f"{min(shared)}: given as MR and as CT ({len(shared)} such files); "
            "point --data.mr and --data.ct to different folders"
        )
    _check_only_looked_at(pairs, [path for paths in (*mr.values(), *ct.values()) for path in paths], config)
    cases: dict[Modality, dict[Path, tuple[Path, ...]]] = {"mr": mr, "ct": ct}
    subjects: dict[Modality, dict[Path, str]] = {name: subjects_of(list(each)) for name, each in cases.items()}
    never = _subjects_among(pairs, cases, subjects, config) if config.objective == "unpaired" else set()
    held_out = _hold_out(subjects, never, config)
    held_out_cases = {case for each in subjects.values() for case, subject in each.items() if subject in held_out}
    parts, audited = _prepare(cases, held_out_cases, config)
    (train_mr, valid_mr), (train_ct, valid_ct) = parts["mr"], parts["ct"]
    findings = find_faults(audited, config.preprocess, config.data.slice_axes)
    stacks, of_alignment = _prepare_pairs(pairs, config)
    aside = [pair for pair in pairs if subject_of(pair.name) in held_out]
    return Cases(
        train_mr,
        train_ct,
        valid_mr or train_mr,
        valid_ct or train_ct,
        tuple(sorted([*of_alignment, *findings], key=lambda finding: LEVELS.index(finding.level))),
        tuple(notes),
        tuple(stack for pair, planes in zip(pairs, stacks, strict=True) if pair not in aside for stack in planes),
        tuple(aside or pairs) if config.objective == "paired" else (),
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


def _prepare(
    cases: dict[Modality, dict[Path, tuple[Path, ...]]], held_out: set[Path], config: TrainConfig
) -> tuple[dict[Modality, tuple[list[SliceStack], list[SliceStack]]], list[Audited]]:
    """The training and the held-out cases of each modality, and what the audit knows of all."""
    known: list[tuple[Path, tuple[Path, ...], Modality]] = [
        (case, paths, modality) for modality, each in cases.items() for case, paths in each.items()
    ]
    folder = config.data.cache or config.output / "cache"
    prepared = prepare_volumes(
        [(paths, modality) for _, paths, modality in known],
        config.preprocess,
        config.data.slice_axes,
        folder,
        threads=config.data.prepare_threads,
    )
    names = {case: name for each in cases.values() for case, name in names_of(list(each)).items()}
    audited: list[Audited] = []
    parts: dict[Modality, tuple[list[SliceStack], list[SliceStack]]] = {"mr": ([], []), "ct": ([], [])}
    for (case, paths, modality), stacks in zip(known, prepared, strict=True):
        aside = case in held_out
        parts[modality][aside].extend(replace(stack, sources=paths) for stack in stacks)
        facts, doubts = stacks[0].statistics["audit"], stacks[0].warnings
        audited.append(Audited(names[case], modality, aside, facts, notes=doubts))
    return parts, audited


def _sources(config: TrainConfig) -> tuple[str, str]:
    """Where the MR and the CT are; with objective paired those of the pairs."""
    data = config.data
    if config.objective == "paired":
        return f"{data.pairs}/mr", f"{data.pairs}/ct"
    return str(data.mr), str(data.ct)


def _hold_out(subjects: Mapping[Modality, Mapping[Path, str]], never: set[str], config: TrainConfig) -> set[str]:
    """Subjects for validation; none of ``never``, who are trained on in any case."""
    mr, ct = set(subjects["mr"].values()), set(subjects["ct"].values())
    held_out = held_out_subjects(mr, ct, config.data.validation_fraction, never=never)
    for name, each in (("pairs" if config.objective == "paired" else "mr", mr), ("ct", ct)):
        if not each - held_out:
            raise UserError(
                f"--data.{name}: no subject left to train on ({len(held_out)} held out for validation, told apart by "
                "sub-XX, by folder or by file name); add subjects or set --data.validation_fraction 0"
            )
    return held_out


def _subjects_among(
    pairs: Sequence[Pair],
    cases: Mapping[Modality, Mapping[Path, tuple[Path, ...]]],
    subjects: Mapping[Modality, Mapping[Path, str]],
    config: TrainConfig,
) -> set[str]:
    """Unpaired subjects who are, by name or by a file's content, among the pairs too; all pairs are trained on."""
    folder = config.data.cache or config.output / "cache"
    contents = {content_hash(path, folder) for pair in pairs for path in pair.files}
    copies = {
        subjects[modality][case]
        for modality, each in cases.items()
        for case, paths in each.items()
        if contents and contents & {content_hash(path, folder) for path in paths}
    }
    return copies | {subject_of(pair.name) for pair in pairs}


def _find_pairs(config: TrainConfig) -> list[Pair]:
    """The pairs to train on."""
    if config.data.pairs is None:
        return []
    return find_pairs(config.data.pairs, config.data.contrasts, "--data.pairs")


def _check_only_looked_at(pairs: Sequence[Pair], unpaired: Iterable[Path], config: TrainConfig) -> None:
    """Whether no training pair's subject and no unpaired volume is also among the pairs that are only to be looked at.

    Raises:
        UserError: one line with the first that is.
    """
    if config.data.validation_pairs is None:
        return
    others = find_pairs(config.data.validation_pairs, config.data.contrasts, "--data.validation_pairs")
    folder = config.data.cache or config.output / "cache"
    subjects = {subject_of(other.name) for other in others}
    contents = {content_hash(path, folder) for other in others for path in other.files}
    for pair in pairs:
        if subject_of(pair.name) in subjects or contents & {content_hash(path, folder) for path in pair.files}:
            raise _also_looked_at(pair.mr[0], "subject")
    for path in unpaired:
        if content_hash(path, folder) in contents:
            raise _also_looked_at(path, "volume")


def _also_looked_at(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: this {what} is among --data.validation_pairs too, which are never trained on; take it out of one of "
        "them"
    )


def _prepare_pairs(pairs: Sequence[Pair], config: TrainConfig) -> tuple[list[list[SliceStack]], list[Finding]]:
    """The stacks of each pair, and what is wrong with its alignment."""
    prepared = prepare_volumes(
        [(pair.files, "pair") for pair in pairs],
        config.preprocess,
        config.data.slice_axes,
        config.data.cache or config.output / "cache",
        threads=config.data.prepare_threads,
    )
    findings = [
        Finding(level, check, text, case=pair.name)
        for pair, stacks in zip(pairs, prepared, strict=True)
        for level, check, text in check_alignment(stacks[0].statistics["audit"])
    ]
    named = [
        [replace(stack, sources=pair.files) for stack in stacks] for pair, stacks in zip(pairs, prepared, strict=True)
    ]
    return named, findings
