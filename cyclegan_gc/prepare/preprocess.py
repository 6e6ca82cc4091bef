"""From a volume in its own units to [-1, 1] in the canonical frame, and back: what training and conversion call.

The steps themselves, and the frame, are described in :mod:`cyclegan_gc.prepare.transforms`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from torch import Tensor

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import VolumeError, named
from cyclegan_gc.formats.sources import path_of
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume
from cyclegan_gc.prepare.body import Spacing
from cyclegan_gc.prepare.hu import from_hu
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.transforms import LOAD, TURN, VolumeReader, after_loading, spacing_of, volume_transforms

AIR_HU = -1000
"""HU of air, used outside the body."""


@dataclass(frozen=True)
class Prepared:
    """A volume in the canonical frame, on its own grid."""

    image: MetaTensor
    """(C, H, W, D) float32 in [-1, 1], C the contrasts; -1 outside the body."""
    mask: Tensor
    """(1, H, W, D) bool, true in the body."""

    @property
    def spacing_mm(self) -> Spacing:
        """Voxel size along H, W and D."""
        return spacing_of(self.image)


def load_prepared(
    files: Sequence[Path], modality: Modality, settings: PreprocessConfig, frames: Sequence[int] = ()
) -> tuple[Volume, Prepared]:
    """The whole pipeline on one case, files and frames as for :func:`load_volume`: as it was read, and prepared.

    Raises:
        VolumeError: if the case cannot be used; one line with the file's name.
    """
    data = _run(volume_transforms(modality, settings), {"image": files, "frames": frames})
    with named(path_of(files)):
        return data["volume"], _with_body(data, modality)


def load_volume(files: Sequence[Path], max_voxels: int = MAX_VOXELS, frames: Sequence[int] = ()) -> Volume:
    """The first step of the pipeline alone, for callers that look at the volume before they :func:`prepare` it.

    Args:
        files: one volume file, the contrasts of one case, or the files of a DICOM series.
        max_voxels: larger volumes are refused before anything is allocated.
        frames: indices of the wanted frames of a DICOM series; empty for all.

    Raises:
        VolumeError: if it cannot be read; one line with the file's name.
    """
    return LOAD({"image": files, "frames": frames, "max_voxels": max_voxels})["volume"]


def prepare(volume: Volume, modality: Modality, settings: PreprocessConfig) -> Prepared:
    """The steps of the pipeline after loading, on a volume in memory; its values are not checked.

    Raises:
        VolumeError: if no body is found (without a file name; the caller adds it).
    """
    return _with_body(_run(Compose(after_loading(modality, settings)), {"image": _loaded(volume)}), modality)


def normalise_ct(volume: Volume, mask: Tensor, settings: PreprocessConfig) -> Tensor:
    """A CT in HU to (1, H, W, D) in [-1, 1] in the canonical frame, air outside ``mask`` (1, H, W, D) of another volume
    on its grid."""
    return from_hu(in_canonical_frame(volume), mask, settings).as_tensor()


def in_canonical_frame(volume: Volume) -> MetaTensor:
    """The volume's own values (1, H, W, D), turned as :func:`prepare` turns them; the first contrast alone."""
    image = _loaded(replace(volume, further=()))
    return TURN({"image": image})["image"]  # pyright: ignore[reportReturnType]


def turn_back(image: Tensor, like: Prepared) -> np.ndarray:
    """Turn ``image`` (1, H, W, D) from the canonical frame to the source's own axes, exactly; (X, Y, Z)."""
    turned = MetaTensor(image, meta=like.image.meta, applied_operations=like.image.applied_operations)
    return TURN.inverse({"image": turned})["image"].numpy()[0]


def _loaded(volume: Volume) -> MetaTensor:
    image, meta = VolumeReader().get_data(volume)
    return MetaTensor(image, meta=meta)


def _with_body(data: dict[str, Any], modality: Modality) -> Prepared:
    if not data["mask"].any():
        image: MetaTensor = data["image"]
        sides = zip(spacing_of(image), image.shape[1:], strict=True)
        size = " x ".join(f"{mm * n:.3g}" for mm, n in sides)
        raise VolumeError(
            f"no body found in a volume of {size} mm; check the unit of its header, and that the "
            f"{modality.upper()} shows a subject"
        )
    return Prepared(data["image"], data["mask"])


def _run(transforms: Compose, data: dict[str, Any]) -> dict[str, Any]:
    """Run a pipeline; raises a transform's own error, which MONAI wraps."""
    try:
        return transforms(data)  # pyright: ignore[reportReturnType]
    except RuntimeError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None
