"""The training and validation cases: found, told apart by subject, prepared into the slice cache."""

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cache import SliceStack, cached_stack
from cyclegan_gc.data.files import case_id, find_volumes
from cyclegan_gc.data.preprocess import Modality
from cyclegan_gc.errors import UserError


@dataclass(frozen=True)
class Cases:
    """Prepared cases of both modalities; where no subject is held out, validation looks at the training cases."""

    mr: list[SliceStack]
    ct: list[SliceStack]
    validation_mr: list[SliceStack]
    validation_ct: list[SliceStack]


def load_cases(config: TrainConfig) -> Cases:
    """Find, split and prepare all volumes.

    Raises:
        UserError: if a folder is missing or empty, if MR and CT share a file, or if too few subjects remain.
        VolumeError: if a volume cannot be used.
    """
    mr, ct = find_volumes(config.data.mr), find_volumes(config.data.ct)
    shared = {path.resolve() for path in mr} & {path.resolve() for path in ct}
    if shared:
        raise UserError(
            f"{min(shared)}: given as MR and as CT ({len(shared)} such files); "
            "point --data.mr and --data.ct to different folders"
        )
    held_out = held_out_subjects(mr, ct, config.data.validation_fraction)
    parts = [_part(paths, held_out) for paths in (mr, ct)]
    for name, (training, _) in zip(("mr", "ct"), parts, strict=True):
        if not training:
            raise UserError(
                f"--data.{name}: no subject left to train on; add volumes or set data.validation_fraction=0"
            )
    (train_mr, valid_mr), (train_ct, valid_ct) = parts
    return Cases(
        mr=_prepare(train_mr, "mr", config),
        ct=_prepare(train_ct, "ct", config),
        validation_mr=_prepare(valid_mr or train_mr, "mr", config),
        validation_ct=_prepare(valid_ct or train_ct, "ct", config),
    )


def subject_of(path: Path) -> str:
    """Subject of a file: ``sub-XX`` of a BIDS name, else the whole name without its suffix."""
    name = case_id(path)
    return name.split("_")[0] if name.startswith("sub-") else name


def held_out_subjects(mr: Sequence[Path], ct: Sequence[Path], fraction: float) -> set[str]:
    """Subjects for validation: enough for ``fraction`` of each modality, never one subject on both sides.

    The choice depends on the subjects' names alone, so that added volumes move few others.
    """
    wanted = [math.ceil(fraction * len({subject_of(path) for path in paths})) for paths in (mr, ct)]
    subjects = [{subject_of(path) for path in paths} for paths in (mr, ct)]
    held_out: set[str] = set()
    for subject in sorted(subjects[0] | subjects[1], key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        counts = [len(held_out & each) for each in subjects]
        if any(subject in each and n < want for each, n, want in zip(subjects, counts, wanted, strict=True)):
            held_out.add(subject)
    return held_out


def _part(paths: Sequence[Path], held_out: set[str]) -> tuple[list[Path], list[Path]]:
    training = [path for path in paths if subject_of(path) not in held_out]
    return training, [path for path in paths if subject_of(path) in held_out]


def _prepare(paths: Sequence[Path], modality: Modality, config: TrainConfig) -> list[SliceStack]:
    folder = config.data.cache or config.output / "cache"
    steps = track(paths, f"preparing {modality.upper()}", transient=True, disable=not sys.stdout.isatty())
    return [cached_stack(path, modality, config.preprocess, folder) for path in steps]
