"""Read the files of one case onto one grid, the synthetic CT's."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError, named
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.evaluate.measures import SCT, method_label
from cyclegan_gc.formats.geometry import resample, same_grid
from cyclegan_gc.formats.sources import Source, read_files, read_map
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.modality import check_values
from cyclegan_gc.prepare.preprocess import AIR_HU


@dataclass(frozen=True)
class Case:
    """One case on the synthetic CT's grid: ``(X, Y, Z)`` arrays in file axis order, CTs in HU, the MR as stored."""

    id: str
    sct: NDArray
    ct: NDArray
    mr: NDArray | None
    mask: NDArray[np.bool_]
    """Voxels that are measured."""
    affine: NDArray
    spacing_mm: tuple[float, float, float]
    resampled: str | None
    """The volumes that came on another grid, such as "true CT, MR"."""
    warnings: tuple[str, ...]
    covered: NDArray[np.bool_]
    """Voxels inside the field of view of the true CT and of every compared one."""
    body: NDArray[np.bool_]
    """The true CT's body, found in its HU."""
    compared: dict[str, NDArray] = field(default_factory=dict)
    """Method -> its synthetic CT."""
    labels: NDArray | None = None
    """Label map of the true CT."""
    predicted_labels: dict[str, NDArray] = field(default_factory=dict)
    """Method -> label map of its synthetic CT, 0 outside the true label map's field of view."""

    @property
    def images(self) -> dict[str, NDArray]:
        """Method -> synthetic CT, without the baselines."""
        return {SCT: self.sct, **self.compared}


def load_case(files: CaseFiles) -> Case:
    """Read a case and bring every volume onto the synthetic CT's grid.

    Images are resampled linearly (outside its field of view a CT is air and an MR its minimum), masks and labels to
    the nearest voxel. Without a mask file the mask is the body found in the true CT. Voxels outside the true CT or
    outside a compared CT are never in the mask.

    Raises:
        VolumeError: if a file cannot be used, a CT is not in HU or no voxel is left to compare.
    """
    sct, ct = _read_ct(files.sct), _read_ct(files.ct)
    mr = _read(files.mr) if files.mr else None
    compared = {method: _read_ct(source) for method, source in files.compared.items()}
    given = read_map(files.mask, "mask") if files.mask else None
    labels = read_map(files.labels, "labels") if files.labels else None
    maps = {SCT: files.sct_labels, **files.compared_labels} if files.labels else {}
    predicted_labels = {method: read_map(each, "labels") for method, each in maps.items() if each}
    labelled = None if labels is None else _covered(sct, labels)
    truth = _onto(sct, ct, outside=AIR_HU)
    covered = _covered(sct, ct)
    for other in compared.values():
        covered = covered & _covered(sct, other)
    body = ct_body_mask(truth, sct.spacing_mm)
    mask = covered & (body if given is None else _onto(sct, given, outside=0, order=0) > 0)
    if not mask.any():
        cause = "the mask is empty" if files.mask else "no body was found"
        raise VolumeError(f"{(files.mask or files.ct).path}: {cause} where the synthetic CT and the true CT overlap")
    read = {
        "synthetic CT": sct,
        "true CT": ct,
        **{method_label(method): volume for method, volume in compared.items()},
        "MR": mr,
        "mask": given,
        "true labels": labels,
        **{f"{method_label(method)}'s labels": volume for method, volume in predicted_labels.items()},
    }
    volumes = {name: volume for name, volume in read.items() if volume is not None}
    return Case(
        id=files.id,
        sct=sct.array,
        ct=truth,
        mr=None if mr is None else _onto(sct, mr, outside=float(mr.array.min())),
        mask=mask,
        affine=sct.affine,
        spacing_mm=sct.spacing_mm,
        resampled=", ".join(name for name, volume in volumes.items() if not _shares_grid(sct, volume)) or None,
        warnings=tuple(f"{name}: {warning}" for name, volume in volumes.items() for warning in volume.warnings),
        covered=covered,
        body=body,
        compared={method: _onto(sct, volume, outside=AIR_HU) for method, volume in compared.items()},
        labels=None if labels is None else _onto(sct, labels, outside=0, order=0),
        predicted_labels={
            method: _onto(sct, volume, outside=0, order=0) * labelled for method, volume in predicted_labels.items()
        },
    )


def _read(source: Source) -> Volume:
    return read_files(source.readable_files(), MAX_VOXELS, source.frames)


def _read_ct(source: Source) -> Volume:
    """A CT in HU; figures of any other would mean nothing."""
    volume = _read(source)
    with named(source.path):
        check_values(volume.array, "ct")
    return volume


def _covered(target: Volume, volume: Volume) -> NDArray[np.bool_]:
    """Voxels of the target's grid inside a volume's field of view."""
    if _shares_grid(target, volume):
        return np.ones(target.array.shape, dtype=bool, order="F")
    return _onto(target, replace(volume, array=np.ones(volume.array.shape, np.uint8)), outside=0, order=0) > 0


def _shares_grid(target: Volume, volume: Volume) -> bool:
    return same_grid(target.array.shape, target.affine, volume.array.shape, volume.affine)


def _onto(target: Volume, volume: Volume, *, outside: float, order: int = 1) -> NDArray:
    if _shares_grid(target, volume):
        return volume.array
    shape = target.array.shape
    return resample(volume.array, volume.affine, shape, target.affine, outside=outside, order=order)
