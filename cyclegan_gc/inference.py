"""One volume through a generator, on its own grid."""

import numpy as np
import torch

from cyclegan_gc.checkpoint import TrainedModel
from cyclegan_gc.data.grid import mask_to_network, network_grid, to_network, to_source
from cyclegan_gc.data.preprocess import prepare, to_hu, turn_back
from cyclegan_gc.data.volumes import Volume
from cyclegan_gc.model.cyclegan import air_outside

OUTSIDE_HU = -1000
"""Value of synthetic CT outside the body."""
SYNTHETIC_MR_SCALE = 1000
"""Synthetic MR has no unit; its [-1, 1] is written as 0 to this value."""


def translate_volume(model: TrainedModel, volume: Volume, *, batch_size: int = 8) -> np.ndarray:
    """Translate a volume slice by slice; whole slices, never tiles.

    Args:
        model: from :func:`cyclegan_gc.checkpoint.load_model`.
        volume: MR, or CT in HU for the direction ``ct_to_mr``.
        batch_size: slices per pass; any size gives the same result up to rounding.

    Returns:
        ``(X, Y, Z)`` int16 on the source's axes: HU, rounded, -1000 outside the body; for ``ct_to_mr`` 0 to 1000.

    Raises:
        VolumeError: if no body is found.
    """
    settings = model.preprocess
    case = prepare(volume, "mr" if model.direction == "mr_to_ct" else "ct", settings)
    grid = network_grid(case, settings.spacing_mm, model.crop)
    slices, masks = to_network(case.image.as_tensor(), grid), mask_to_network(case.mask, grid)
    device = next(model.generator.parameters()).device
    with torch.inference_mode():
        batches = zip(slices.split(batch_size), masks.split(batch_size), strict=True)
        translated = [air_outside(model.generator(image.to(device)), mask.to(device)).cpu() for image, mask in batches]
    result = to_source(torch.cat(translated).float(), masks, grid)
    if model.direction == "mr_to_ct":
        values, outside = to_hu(result, settings), OUTSIDE_HU
    else:
        values, outside = (result + 1) / 2 * SYNTHETIC_MR_SCALE, 0
    whole = torch.where(case.mask, values.round(), outside).to(torch.int16)
    return np.ascontiguousarray(turn_back(whole, case, settings))
