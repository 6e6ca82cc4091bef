"""From a volume in its own units to [-1, 1] in a canonical frame: the one crossing point of training and conversion.

The MONAI pipelines turn a file into ``image`` (C, H, W, D), C the contrasts, and ``mask`` (1, H, W, D): H runs to the
patient's back, W to the left and D upwards, so H and W span an axial slice that stands upright. Turning is exact;
nothing is resampled here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from monai.config.type_definitions import PathLike
from monai.data.image_reader import ImageReader
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import LoadImaged
from monai.transforms.spatial.dictionary import Orientationd
from monai.transforms.transform import MapTransform
from torch import Tensor

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume, read_volume
from cyclegan_gc.prepare.bias_field import bias_field
from cyclegan_gc.prepare.body import ct_body_mask, mr_body_mask
from cyclegan_gc.voxels import values_inside

Modality = Literal["mr", "ct"]
TensorLike = TypeVar("TensorLike", bound=Tensor)

# One transform for every volume: MONAI undoes a turn only by the very object that made it.
TURN = Orientationd("image", axcodes="PLS", labels=None)
AIR_BELOW = -200
"""A CT has air, of about -1000 HU; an MR has no such values, or few that a resampling left behind."""
AIR = -1.0
"""Normalised value outside the body, in both modalities."""
AIR_HU = -1000
"""Of a CT outside the body."""


class CheckedNiftiReader(ImageReader):
    """Lets MONAI's LoadImage read NIfTI through :func:`read_volume`, which checks at the door."""

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether the name is a NIfTI file's."""
        return str(filename).lower().endswith((".nii", ".nii.gz"))

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Volume:
        """Read one file; raises VolumeError in one line."""
        if not isinstance(data, (str, Path)):
            raise VolumeError(f"{data}: give one file for each volume")
        return read_volume(Path(data), **kwargs)

    def get_data(self, img: Volume) -> tuple[np.ndarray, dict[str, Any]]:
        """Array (X, Y, Z) and its geometry as MONAI names it."""
        geometry = {"affine": img.affine, "original_affine": img.affine.copy(), "space": "RAS"}
        shape = {"spatial_shape": np.array(img.array.shape), "original_channel_dim": "no_channel"}
        return img.array, {**geometry, **shape}


class BodyMaskd(MapTransform):
    """Adds ``mask`` (1, H, W, D), the body in the first contrast of ``image`` (C, H, W, D)."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(["image"])
        self.find_body = mr_body_mask if modality == "mr" else ct_body_mask

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Find the body on the volume's own values."""
        image: MetaTensor = data["image"]
        mask = self.find_body(image.numpy()[0], _spacing(image))
        return {**data, "mask": torch.from_numpy(mask)[None]}


class CorrectBiasd(MapTransform):
    """Divides each contrast of the MR by its bias field."""

    def __init__(self) -> None:
        super().__init__(["image"])

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Correct ``image`` (C, H, W, D) by what is found inside ``mask``."""
        image: MetaTensor = data["image"]
        mask, spacing_mm = data["mask"].numpy()[0], _spacing(image)
        fields = [torch.from_numpy(bias_field(contrast, mask, spacing_mm)) for contrast in image.numpy()]
        return {**data, "image": image / torch.stack(fields)}


class NormaliseMRd(MapTransform):
    """Maps two percentiles of each contrast of the MR inside ``mask`` to -1 and 1, clips, and sets air outside."""

    def __init__(self, percentiles: tuple[float, float]) -> None:
        super().__init__(["image"])
        self.percentiles = percentiles

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """``image`` (C, H, W, D) to [-1, 1]; an empty mask or one value inside it gives air everywhere."""
        image: MetaTensor = data["image"]
        normalised = []
        for contrast in image.split(1):
            limits = _percentiles(contrast.numpy(), data["mask"].numpy(), self.percentiles)
            normalised.append(_to_unit_range(contrast, data["mask"], *limits))
        return {**data, "image": normalised[0] if len(normalised) == 1 else torch.cat(normalised)}


class NormaliseCTd(MapTransform):
    """Maps a window in HU to [-1, 1], clips, and sets air outside ``mask`` (which removes couch and head holder)."""

    def __init__(self, window_hu: tuple[float, float]) -> None:
        super().__init__(["image"])
        self.window_hu = window_hu

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """``image`` from HU to [-1, 1]."""
        return {**data, "image": _to_unit_range(data["image"], data["mask"], *self.window_hu)}


@dataclass(frozen=True)
class Prepared:
    """A volume in the canonical frame, on its own grid."""

    image: MetaTensor
    """(C, H, W, D) float32 in [-1, 1], C the contrasts; -1 outside the body."""
    mask: Tensor
    """(1, H, W, D) bool, true in the body."""

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along H, W and D."""
        return _spacing(self.image)


def volume_transforms(modality: Modality, settings: PreprocessConfig) -> Compose:
    """MONAI pipeline from ``{"image": path}`` to ``image`` in [-1, 1] and ``mask``, both (1, H, W, D)."""
    reader: Any = CheckedNiftiReader()  # an instance is documented, though not in the annotation
    load = LoadImaged("image", reader=reader, ensure_channel_first=True)
    return Compose([load, *_after_loading(modality, settings)])


def check_values(array: np.ndarray, modality: Modality) -> None:
    """Swapped folders would train, and a CT would convert, without a word.

    Raises:
        VolumeError: if the values are the other modality's (without a name; the caller knows it).
    """
    air = float(np.mean(array < AIR_BELOW))
    if modality == "mr" and air > 0.05:
        raise VolumeError(f"{air:.0%} of the values lie below {AIR_BELOW}, which look like CT; give MR volumes")
    if modality == "ct" and air == 0:
        raise VolumeError(
            f"no value lies below {AIR_BELOW}, so there is no air: not a CT in HU{_likely_cause(array)}; give CT in HU"
        )


def _likely_cause(array: np.ndarray) -> str:
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 255:
        return f" (values from {low:g} to {high:g}: exported in 8 bits)"
    if low >= 0 and high >= 1200:
        return f" (values from {low:g} to {high:g}: the rescale intercept, -1024 as a rule, was not applied)"
    return f" (values from {low:g} to {high:g})"


def check_volume(volume: Volume, modality: Modality) -> None:
    """:func:`check_values` of every contrast."""
    for array in volume.contrasts:
        check_values(array, modality)


def prepare(volume: Volume, modality: Modality, settings: PreprocessConfig) -> Prepared:
    """The pipeline on a volume that is already in memory.

    Raises:
        VolumeError: if no body is found (without a name; the caller knows it).
    """
    arrays = [torch.from_numpy(array)[None] for array in volume.contrasts]
    image = arrays[0] if len(arrays) == 1 else torch.cat(arrays)
    loaded = {"image": MetaTensor(image, affine=torch.from_numpy(volume.affine))}
    data: Any = Compose(_after_loading(modality, settings))(loaded)
    if not data["mask"].any():
        raise VolumeError(f"no body found; check that this is a {modality.upper()} volume with a visible subject")
    return Prepared(data["image"], data["mask"])


def normalise_ct(volume: Volume, mask: Tensor, settings: PreprocessConfig) -> Tensor:
    """A CT in HU to (1, H, W, D) in [-1, 1] in the canonical frame, air outside ``mask`` (1, H, W, D) of another volume
    on its grid."""
    windowed = NormaliseCTd(settings.ct_window_hu)({"image": in_canonical_frame(volume), "mask": mask})["image"]
    return windowed.as_tensor()


def in_canonical_frame(volume: Volume) -> MetaTensor:
    """The volume's own values (1, H, W, D), turned as :func:`prepare` turns them."""
    image = MetaTensor(torch.from_numpy(volume.array)[None], affine=torch.from_numpy(volume.affine))
    return TURN({"image": image})["image"]  # pyright: ignore[reportReturnType]


def turn_back(image: Tensor, like: Prepared) -> np.ndarray:
    """Turn ``image`` (1, H, W, D) from the canonical frame to the source's own axes, exactly; (X, Y, Z)."""
    turned = MetaTensor(image, meta=like.image.meta, applied_operations=like.image.applied_operations)
    return TURN.inverse({"image": turned})["image"].numpy()[0]


def normalise_mr(array: np.ndarray, spacing_mm: tuple[float, float, float], settings: PreprocessConfig) -> np.ndarray:
    """MR (X, Y, Z) in its own unit to [-1, 1] as the network sees it, without turning it."""
    mask = mr_body_mask(array, spacing_mm)
    if settings.n4:
        array = array / bias_field(array, mask, spacing_mm)
    limits = _percentiles(array, mask, settings.mr_percentiles)
    return _to_unit_range(torch.from_numpy(array), torch.from_numpy(mask), *limits).numpy()


def to_hu(image: Tensor, settings: PreprocessConfig) -> Tensor:
    """[-1, 1] to HU."""
    low, high = settings.ct_window_hu
    return (image + 1).div_(2).mul_(high - low).add_(low)


def _after_loading(modality: Modality, settings: PreprocessConfig) -> list[MapTransform]:
    if modality == "ct":
        return [TURN, BodyMaskd("ct"), NormaliseCTd(settings.ct_window_hu)]
    correct = [CorrectBiasd()] if settings.n4 else []
    return [TURN, BodyMaskd("mr"), *correct, NormaliseMRd(settings.mr_percentiles)]


def _percentiles(array: np.ndarray, mask: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    if not mask.any():
        return 0.0, 0.0
    low, high = np.percentile(values_inside(array, mask), percentiles)
    return float(low), float(high)


def _to_unit_range(image: TensorLike, mask: Tensor, low: float, high: float) -> TensorLike:
    unit = (image - low).div_(max(high - low, 1e-6)).clamp_(0, 1).mul_(2).sub_(1)
    return unit.masked_fill_(~mask, AIR)  # pyright: ignore[reportReturnType]


def _spacing(image: MetaTensor) -> tuple[float, float, float]:
    height, width, depth = np.linalg.norm(image.affine[:3, :3].numpy(), axis=0)
    return float(height), float(width), float(depth)
