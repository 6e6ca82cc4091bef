"""Which files belong to one case, and how they come onto one grid: that of the synthetic CT."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.data.body import ct_body_mask
from cyclegan_gc.data.files import case_id, find_volumes
from cyclegan_gc.data.frames import same_grid
from cyclegan_gc.data.volumes import Volume, read_mask, read_volume
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.evaluate.baselines import AIR_HU
from cyclegan_gc.evaluate.grids import resample

NAMES_SHOWN = 5


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; ``mr`` and ``mask`` are None where none were asked for."""

    id: str
    sct: Path
    ct: Path
    mr: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Case:
    """One case on the synthetic CT's grid: ``(X, Y, Z)`` arrays in file axis order, CTs in HU, the MR as stored."""

    id: str
    sct: NDArray
    ct: NDArray
    mr: NDArray | None
    mask: NDArray[np.bool_]
    affine: NDArray
    spacing_mm: tuple[float, float, float]
    resampled: str | None
    """What came from another grid, such as "true CT, MR"."""
    warnings: tuple[str, ...]


def match_cases(
    predicted: str, reference: str, mr: str | None, mask: str | None
) -> tuple[list[CaseFiles], list[str], list[str]]:
    """The cases, ``case: reason`` of each prediction that lacks a file, and the references without a prediction.

    Files belong together when their names agree, the endings ``.nii``, ``.nii.gz`` and ``_sct`` aside. One predicted
    file and one other file belong together whatever their names.

    Raises:
        UserError: if a source holds no volume, or no prediction has a reference; says what was found.
    """
    scts, cts = _by_case(predicted), _by_case(reference)
    others = {"MR": (mr, _by_case(mr) if mr else {}), "mask": (mask, _by_case(mask) if mask else {})}
    single = len(scts) == 1 and Path(predicted).is_file()
    cases, failures = [], []
    for case, paths in scts.items():
        try:
            sct = _only(case, paths, "prediction")
            ct = _only(case, _partner(case, cts, reference, single), f"true CT in {reference}")
            files = CaseFiles(case, sct, ct)
            for kind, (source, found) in others.items():
                if source:
                    path = _only(case, _partner(case, found, source, single), f"{kind} in {source}")
                    files = replace(files, **{kind.lower(): path})
            cases.append(files)
        except VolumeError as error:
            failures.append(f"{case}: {error}")
    if not single and not scts.keys() & cts.keys():
        raise UserError(
            f"{predicted}: no synthetic CT ({_some(scts)}) has a true CT of its name in {reference} ({_some(cts)}); "
            "names must agree but for _sct"
        )
    return cases, failures, [] if single else sorted(cts.keys() - scts.keys())


def load_case(files: CaseFiles) -> Case:
    """Read a case and bring everything onto the synthetic CT's grid.

    Images are resampled linearly (a CT is air and an MR its minimum outside its field of view), a mask to the nearest
    voxel. Without a mask the body is found in the true CT. What the true CT does not cover is never in the mask.

    Raises:
        VolumeError: if a file cannot be used or nothing is left to compare.
    """
    sct, ct = read_volume(files.sct), read_volume(files.ct)
    mr = read_volume(files.mr) if files.mr else None
    given = read_mask(files.mask) if files.mask else None
    spacing_mm = sct.spacing_mm
    truth = _onto(sct, ct, outside=AIR_HU)
    mask = ct_body_mask(truth, spacing_mm) if given is None else _onto(sct, given, outside=0.0, order=0) > 0
    if not _shares_grid(sct, ct):
        mask &= _onto(sct, replace(ct, array=np.ones(ct.array.shape, np.uint8)), outside=0.0, order=0) > 0
    if not mask.any():
        cause = "the mask is empty" if files.mask else "no body was found"
        raise VolumeError(f"{files.mask or files.ct}: {cause} where the synthetic CT and the true CT overlap")
    read = {"synthetic CT": sct, "true CT": ct, "MR": mr, "mask": given}
    volumes = {name: volume for name, volume in read.items() if volume is not None}
    return Case(
        files.id,
        sct.array,
        truth,
        None if mr is None else _onto(sct, mr, outside=float(mr.array.min())),
        mask,
        sct.affine,
        spacing_mm,
        ", ".join(name for name, volume in volumes.items() if not _shares_grid(sct, volume)) or None,
        tuple(f"{name}: {warning}" for name, volume in volumes.items() for warning in volume.warnings),
    )


def _shares_grid(target: Volume, volume: Volume) -> bool:
    return same_grid(target.array.shape, target.affine, volume.array.shape, volume.affine)


def _onto(target: Volume, volume: Volume, *, outside: float, order: int = 1) -> NDArray:
    if _shares_grid(target, volume):
        return volume.array
    shape = target.array.shape
    return resample(volume.array, volume.affine, shape, target.affine, outside=outside, order=order)


def _by_case(source: str) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in find_volumes(source):
        found.setdefault(case_id(path).removesuffix("_sct"), []).append(path)
    return found


def _partner(case: str, found: dict[str, list[Path]], source: str, single: bool) -> list[Path]:
    if single and len(found) == 1 and Path(source).is_file():
        return next(iter(found.values()))
    return found.get(case, [])


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
