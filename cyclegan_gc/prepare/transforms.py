"""The MONAI pipeline that training and conversion share: from files to [-1, 1] in the canonical frame.

:func:`volume_transforms` begins with MONAI's LoadImaged and our reader and gives ``image`` (C, H, W, D), C the
contrasts, and ``mask`` (1, H, W, D). H runs to the patient's back, W to the left and D upwards, so H and W span an
axial slice that stands upright. Turning is exact; nothing is resampled here.
"""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

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
from cyclegan_gc.formats.files import is_volume
from cyclegan_gc.formats.geometry import voxel_sizes
from cyclegan_gc.formats.sources import is_series, read_files
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume
from cyclegan_gc.model.cyclegan import AIR
from cyclegan_gc.prepare.bias_field import bias_field
from cyclegan_gc.prepare.body import Spacing, ct_body_mask, mr_body_mask, with_dark_background
from cyclegan_gc.prepare.hu import from_hu
from cyclegan_gc.prepare.modality import Modality, check_values
from cyclegan_gc.voxels import values_inside

TensorLike = TypeVar("TensorLike", bound=Tensor)

# One transform for every volume: MONAI undoes a turn only with the object that made it.
TURN = Orientationd("image", axcodes="PLS", labels=None)


def volume_transforms(modality: Modality, settings: PreprocessConfig) -> Compose:
    """The whole pipeline.

    It takes ``{"image": files}``: one volume file, the contrasts of one case, or the files of a DICOM series, of which
    ``frames`` are read. It gives ``image`` in [-1, 1], ``mask``, and ``volume``, the :class:`Volume` as it was read.
    Values of the other modality are refused.
    """
    return Compose([LOAD, CheckModalityd(modality), *after_loading(modality, settings)])


def after_loading(modality: Modality, settings: PreprocessConfig) -> list[MapTransform]:
    """The steps from a loaded ``image`` to [-1, 1]."""
    if modality == "ct":
        return [TURN, BodyMaskd("ct"), NormaliseCTd(settings)]
    correct = [CorrectBiasd("image")] if settings.n4 else []
    return [TURN, DarkBackgroundd("image"), BodyMaskd("mr"), *correct, NormaliseMRd(settings.mr_percentiles)]


class VolumeReader(ImageReader):
    """MONAI reader of volume files and DICOM series, with all checks of :mod:`cyclegan_gc.formats`.

    ``volume`` is the volume that was read last; ``frames`` are those wanted of a DICOM series, all if empty.
    """

    def __init__(self, max_voxels: int = MAX_VOXELS, frames: Sequence[int] = ()) -> None:
        self.max_voxels, self.frames = max_voxels, frames
        self.volume: Volume | None = None

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether this reader can read the file."""
        first = _paths(filename)[0]
        return is_volume(first) or is_series([first])

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> Volume:
        """Read one volume; raises VolumeError in one line with the file's name."""
        self.volume = read_files(_paths(data), self.max_voxels, self.frames)
        return self.volume

    def get_data(self, img: Volume) -> tuple[Tensor, dict[str, Any]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Tensor (C, X, Y, Z), which shares a single contrast's memory, and its geometry under MONAI's names."""
        arrays = [torch.from_numpy(array)[None] for array in img.contrasts]
        image = arrays[0] if len(arrays) == 1 else torch.cat(arrays)
        geometry = {"affine": img.affine, "original_affine": img.affine.copy(), "space": "RAS"}
        return image, {**geometry, "spatial_shape": np.array(img.array.shape), "original_channel_dim": 0}


class LoadVolumed(LoadImaged):
    """LoadImaged with :class:`VolumeReader`; adds ``volume``, the volume as it was read, beside ``image``.

    ``frames`` and ``max_voxels`` of the data are the reader's. It is given at the call, because LoadImaged hides the
    errors of a reader that it was built with.
    """

    def __init__(self) -> None:
        # LoadImaged builds each of MONAI's readers, used or not, and one of them complains that it has no GPU decoder.
        logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")
            super().__init__("image", ensure_channel_first=True, expanduser=False)

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read ``image`` from the files that it names; raises VolumeError in one line with the file's name."""
        reader = VolumeReader(data.get("max_voxels", MAX_VOXELS), data.get("frames", ()))
        return {**super().__call__(data, reader), "volume": reader.volume}


LOAD = LoadVolumed()
"""Built once, because that takes a while."""


class CheckModalityd(MapTransform):
    """Refuses a volume whose values are those of the other modality."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(["image"])
        self.modality: Modality = modality

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Raises VolumeError in one line with the first file's name."""
        image: MetaTensor = data["image"]
        try:
            for contrast in image.numpy():
                check_values(contrast, self.modality)
        except VolumeError as error:
            raise VolumeError(f"{image.meta['filename_or_obj']}: {error}") from None
        return data


class DarkBackgroundd(MapTransform):
    """Makes a constant background the darkest value of each contrast of the MR."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """``image`` (C, H, W, D); the same object where the background is darkest already."""
        image: MetaTensor = data["image"]
        arrays = list(image.numpy())
        dark = [with_dark_background(array) for array in arrays]
        if all(new is old for new, old in zip(dark, arrays, strict=True)):
            return data
        darkened = MetaTensor(np.stack(dark), meta=image.meta, applied_operations=image.applied_operations)
        return {**data, "image": darkened}


class BodyMaskd(MapTransform):
    """Adds ``mask`` (1, H, W, D), the body in the first contrast of ``image`` (C, H, W, D)."""

    def __init__(self, modality: Modality) -> None:
        super().__init__(["image"])
        self.find_body = mr_body_mask if modality == "mr" else ct_body_mask

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Find the body on the volume's own values."""
        image: MetaTensor = data["image"]
        mask = self.find_body(image.numpy()[0], spacing_of(image))
        return {**data, "mask": torch.from_numpy(mask)[None]}


class CorrectBiasd(MapTransform):
    """Divides each contrast of the MR by its bias field."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Correct ``image`` (C, H, W, D) by the field found inside ``mask``."""
        image: MetaTensor = data["image"]
        mask, spacing_mm = data["mask"].numpy()[0], spacing_of(image)
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
            limits = percentiles_inside(contrast.numpy(), data["mask"].numpy(), self.percentiles)
            normalised.append(to_unit_range(contrast, data["mask"], *limits))
        return {**data, "image": normalised[0] if len(normalised) == 1 else torch.cat(normalised)}


class NormaliseCTd(MapTransform):
    """Maps HU to [-1, 1] by :func:`from_hu` and sets air outside ``mask`` (which removes couch and head holder)."""

    def __init__(self, settings: PreprocessConfig) -> None:
        super().__init__(["image"])
        self.settings = settings

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """``image`` from HU to [-1, 1]."""
        return {**data, "image": from_hu(data["image"], data["mask"], self.settings)}


def percentiles_inside(array: np.ndarray, mask: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """Two percentiles of the values inside ``mask``; 0 and 0 where it is empty."""
    if not mask.any():
        return 0.0, 0.0
    low, high = np.percentile(values_inside(array, mask), percentiles)
    return float(low), float(high)


def to_unit_range(image: TensorLike, mask: Tensor, low: float, high: float) -> TensorLike:
    """``low`` to -1 and ``high`` to 1, clipped, and air outside ``mask``."""
    unit = (image - low).div_(high - low or 1.0).clamp_(0, 1).mul_(2).sub_(1)
    return unit.masked_fill_(~mask, AIR)  # pyright: ignore[reportReturnType]


def spacing_of(image: MetaTensor) -> Spacing:
    """Voxel size in mm along the three spatial axes."""
    height, width, depth = voxel_sizes(image.affine.numpy())
    return float(height), float(width), float(depth)


def _paths(files: Sequence[PathLike] | PathLike) -> list[Path]:
    return [Path(files)] if isinstance(files, str | Path) else [Path(str(file)) for file in files]  # pyright: ignore[reportGeneralTypeIssues]
