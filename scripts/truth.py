"""Volumes held against the truth of generated phantoms, for the scripts that measure on them."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from cyclegan_gc.metrics import bone_dice, mae
from cyclegan_gc.metrics.voxelwise import BONE_ABOVE_HU

HIGHER_IS_BETTER = {"MAE [HU]": False, "MAE bone [HU]": False, "Dice bone": True}
"""What is measured."""


def errors_of(sct: ArrayLike, test: Path, name: str) -> dict[str, float]:
    """A synthetic CT in HU against the true CT of the file ``name`` below ``test``, inside the true body."""
    sct = np.asarray(sct)
    ct, labels = (np.asarray(nib.Nifti1Image.from_filename(test / kind / name).dataobj) for kind in ("ct", "labels"))
    body = labels > 0
    values = mae(sct, ct, body), mae(sct, ct, body & (ct > BONE_ABOVE_HU)), bone_dice(sct, ct, body) or 0.0
    return dict(zip(HIGHER_IS_BETTER, values, strict=True))
