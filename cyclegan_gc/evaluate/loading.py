"""The files of one case brought onto one grid, that of the synthetic CT."""

from dataclasses import dataclass, field, replace
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.evaluate.measures import COMPARED, SCT
from cyclegan_gc.formats.geometry import resample, same_grid
from cyclegan_gc.formats.volumes import Volume, read_labels, read_mask, read_volume
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.preprocess import AIR_HU

TRUE_LABELS, SCT_LABELS, COMPARED_LABELS = "true labels", "synthetic CT's labels", "compared CT's labels"


class LabelMaps(TypedDict):
    """The label maps of a :class:`Case`."""

    labels: NDArray | None
    predicted_labels: dict[str, NDArray]


@dataclass(frozen=True)
class Case:
    """One case on the synthetic CT's grid: ``(X, Y, Z)`` arrays in file axis order, CTs in HU, the MR as stored."""

    id: str
    sct: NDArray
    ct: NDArray
    mr: NDArray | None
    mask: NDArray[np.bool_]
    """Where everything is measured."""
    affine: NDArray
    spacing_mm: tuple[float, float, float]
    resampled: str | None
    """What came from another grid, such as "true CT, MR"."""
    warnings: tuple[str, ...]
    covered: NDArray[np.bool_]
    """Where the true CT, and the compared one, have voxels."""
    body: NDArray[np.bool_]
    """Of the true CT, found in its HU."""
    compared: NDArray | None = None
    """Another method's synthetic CT."""
    labels: NDArray | None = None
    """Of the true CT."""
    predicted_labels: dict[str, NDArray] = field(default_factory=dict)
    """Method -> label map of its synthetic CT, 0 where the true one has no voxels."""

    @property
    def judged(self) -> dict[str, NDArray]:
        """Method -> image that somebody made."""
        return {SCT: self.sct} if self.compared is None else {SCT: self.sct, COMPARED: self.compared}


def load_case(files: CaseFiles) -> Case:
    """Read a case and bring everything onto the synthetic CT's grid.

    Images are resampled linearly (a CT is air and an MR its minimum outside its field of view), masks and labels to the
    nearest voxel. Without a mask the body is found in the true CT. What the true CT, or a compared one, does not cover
    is never in the mask.

    Raises:
        VolumeError: if a file cannot be used or nothing is left to compare.
    """
    sct, ct = read_volume(files.sct), read_volume(files.ct)
    mr, compared = (read_volume(path) if path else None for path in (files.mr, files.compared))
    given = read_mask(files.mask) if files.mask else None
    label_maps = _read_label_maps(files)
    truth = _onto(sct, ct, outside=AIR_HU)
    covered = _covered(sct, ct) if compared is None else _covered(sct, ct) & _covered(sct, compared)
    body = ct_body_mask(truth, sct.spacing_mm)
    mask = covered & (body if given is None else _onto(sct, given, outside=0, order=0) > 0)
    if not mask.any():
        cause = "the mask is empty" if files.mask else "no body was found"
        raise VolumeError(f"{files.mask or files.ct}: {cause} where the synthetic CT and the true CT overlap")
    read = {"synthetic CT": sct, "true CT": ct, "compared CT": compared, "MR": mr, "mask": given, **label_maps}
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
        compared=None if compared is None else _onto(sct, compared, outside=AIR_HU),
        **_on_the_grid(sct, label_maps),
    )


def _read_label_maps(files: CaseFiles) -> dict[str, Volume]:
    """The true label map and those of the synthetic CTs, by their names for people; none without the true one."""
    paths = {TRUE_LABELS: files.labels, SCT_LABELS: files.sct_labels, COMPARED_LABELS: files.compared_labels}
    return {name: read_labels(path) for name, path in paths.items() if path} if files.labels else {}


def _on_the_grid(sct: Volume, label_maps: dict[str, Volume]) -> LabelMaps:
    if TRUE_LABELS not in label_maps:
        return {"labels": None, "predicted_labels": {}}
    arrays = {name: _onto(sct, volume, outside=0, order=0) for name, volume in label_maps.items()}
    covered = _covered(sct, label_maps[TRUE_LABELS])
    predicted = {SCT: SCT_LABELS, COMPARED: COMPARED_LABELS}
    return {
        "labels": arrays[TRUE_LABELS],
        "predicted_labels": {method: arrays[name] * covered for method, name in predicted.items() if name in arrays},
    }


def _covered(target: Volume, volume: Volume) -> NDArray[np.bool_]:
    """Where on the target's grid a volume has voxels."""
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
