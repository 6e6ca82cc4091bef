"""Masked metrics between a synthetic CT and the true one, on ``(X, Y, Z)`` arrays in HU.

Functions that compare two CTs take the synthetic one first, the true one second, and use only the voxels inside
``mask`` (boolean, same shape). An empty mask is a ValueError; a value that is not defined for the mask (the error in
bone where there is no bone) is None. The definitions follow the SynthRAD challenges of 2023 (Huijben et al.
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
