"""All metrics of one case that need only the synthetic CT, the true CT and the mask."""

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.metrics.structural import ms_ssim, ssim
from cyclegan_gc.metrics.surfaces import Spacing, bone_dice, bone_distances
from cyclegan_gc.metrics.voxelwise import Mask, check, error_sd, mae, mae_by_tissue, me, psnr


def case_metrics(sct: NDArray, ct: NDArray, mask: Mask, spacing_mm: Spacing) -> dict[str, float | None]:
    """Every metric of one case by name, in the units (HU, dB, mm or none) of the functions.

    Raises:
        ValueError: if the shapes differ, or the mask is not boolean or holds no voxel.
    """
    check(sct, ct, mask)
    # Taken once, for all metrics that do not depend on the position of a voxel.
    inside = sct[mask], ct[mask], np.ones(np.count_nonzero(mask), dtype=bool)
    tissues = {f"mae_{tissue}": value for tissue, value in mae_by_tissue(*inside).items()}
    distances = {f"bone_{name}": value for name, value in bone_distances(sct, ct, mask, spacing_mm).items()}
    return {
        "mae": mae(*inside),
        "me": me(*inside),
        "error_sd": error_sd(*inside),
        "psnr": psnr(*inside, 2023),
        "psnr_2025": psnr(*inside, 2025),
        "ssim": ssim(sct, ct, mask),
        "ms_ssim": ms_ssim(sct, ct, mask),
        **tissues,
        "bone_dice": bone_dice(*inside),
        **distances,
    }
