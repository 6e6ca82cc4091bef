"""How training slices are changed at random."""

import numpy as np
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandSpatialCropd, SpatialPadd
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd

from cyclegan_gc.config import DataConfig, SliceAxis


def augmentation(config: DataConfig, slice_axis: SliceAxis) -> Compose:
    """Pad, mirror, turn, scale and crop ``image`` (air is 0) and ``mask`` alike to ``config.crop``.

    The mirror is anatomical, left to right, so sagittal slices are never mirrored.
    """
    keys = ["image", "mask"]
    turn = np.deg2rad(config.rotate_degrees)
    mirror = 0.5 if config.flip and slice_axis != "sagittal" else 0.0
    return Compose(
        [
            SpatialPadd(keys, config.crop),
            RandFlipd(keys, prob=mirror, spatial_axis=1),
            RandAffined(
                keys,
                prob=1.0 if turn or config.scale else 0.0,
                rotate_range=turn,
                scale_range=(config.scale, config.scale),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandSpatialCropd(keys, config.crop, random_size=False),
        ]
    )
