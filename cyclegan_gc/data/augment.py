"""Random augmentation of training slices."""

import numpy as np
import torch
from monai.transforms.compose import Compose
from monai.transforms.croppad.dictionary import RandSpatialCropd, SpatialPadd
from monai.transforms.intensity.array import RandBiasField
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd
from scipy.interpolate import PchipInterpolator
from torch import Tensor

from cyclegan_gc.config import DataConfig, SliceAxis

CURVE_SPREAD = 0.6
"""Standard deviation of the logarithm of a grey-value curve's four slopes at full strength."""
BIAS_COEFFICIENT = 0.4
"""Largest coefficient of the bias field's logarithm, a Legendre polynomial of degree 3, at full strength."""


def augmentation(config: DataConfig, slice_axis: SliceAxis) -> Compose:
    """Pad, mirror, rotate, scale and crop ``image`` (air is 0), ``mask`` and, if given, ``depth`` to ``config.crop``.

    Mirroring swaps left and right, so sagittal slices are never mirrored.
    """
    keys = ["image", "mask", "depth"]
    turn = np.deg2rad(config.rotate_degrees)
    mirror = 0.5 if config.flip and slice_axis != "sagittal" else 0.0
    return Compose(
        [
            SpatialPadd(keys, config.crop, allow_missing_keys=True),
            RandFlipd(keys, prob=mirror, spatial_axis=1, allow_missing_keys=True),
            RandAffined(
                keys,
                prob=1.0 if turn or config.scale else 0.0,
                rotate_range=turn,
                scale_range=(config.scale, config.scale),
                mode=("bilinear", "nearest", "bilinear"),
                padding_mode="zeros",
                allow_missing_keys=True,
            ),
            RandSpatialCropd(keys, config.crop, random_size=False, allow_missing_keys=True),
        ]
    )


def as_another_scanner(image: Tensor, contrasts: int, strength: float, random: np.random.Generator) -> Tensor:
    """The MR with other grey values: a random rising curve for each contrast, then a random bias field.

    All slices of a slab share curves and field; all contrasts share the field. Air and black stay -1. After the field
    each contrast is scaled back to its maximum before the field, as the normalisation of a scan would do.

    Args:
        image: ``(S * contrasts, h, w)`` in [-1, 1]; the contrasts of a slice are neighbours.
        strength: 0 changes nothing; 1 is the strongest.
    """
    field = RandBiasField(prob=1.0, coeff_range=(-BIAS_COEFFICIENT * strength, BIAS_COEFFICIENT * strength))
    field.set_random_state(seed=int(random.integers(2**31)))
    changed = ((image + 1) / 2).numpy()
    for contrast in range(contrasts):
        curve = _rising_curve(strength, random)
        changed[contrast::contrasts] = curve(changed[contrast::contrasts])
    brightest = changed.reshape(-1, contrasts, *changed.shape[1:]).max(axis=(0, 2, 3))
    changed = np.asarray(field(changed))
    for contrast in range(contrasts):
        own = changed[contrast::contrasts]
        own *= brightest[contrast] / max(own.max(), 1e-6)
    return (2 * torch.as_tensor(changed).float() - 1).clamp(-1, 1)


def _rising_curve(strength: float, random: np.random.Generator) -> PchipInterpolator:
    """A smooth rising map of [0, 1] onto itself."""
    slopes = np.exp(CURVE_SPREAD * strength * random.standard_normal(4))
    return PchipInterpolator(np.linspace(0, 1, 5), np.r_[0, np.cumsum(slopes) / slopes.sum()])
