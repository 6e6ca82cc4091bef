"""How far a synthetic CT is from the true one: masked metrics on ``(X, Y, Z)`` arrays in HU.

What compares two CTs takes the synthetic one first, the true one second, and looks only at voxels inside ``mask``
(boolean, same shape). A mask without a voxel is a ValueError; a value that the voxels in the mask cannot give (the
error in bone where there is no bone) is None. The definitions follow the SynthRAD challenges of 2023 (Huijben et al.
2024) and 2025.
"""

from cyclegan_gc.metrics.case import case_metrics
from cyclegan_gc.metrics.structural import ms_ssim, ssim
from cyclegan_gc.metrics.surfaces import bone, bone_dice, bone_distances, dice, label_overlaps, surface_distances
from cyclegan_gc.metrics.voxelwise import error_sd, mae, mae_by_tissue, me, psnr, slice_discontinuity

__all__ = [
    "bone",
    "bone_dice",
    "bone_distances",
    "case_metrics",
    "dice",
    "error_sd",
    "label_overlaps",
    "mae",
    "mae_by_tissue",
    "me",
    "ms_ssim",
    "psnr",
    "slice_discontinuity",
    "ssim",
    "surface_distances",
]
