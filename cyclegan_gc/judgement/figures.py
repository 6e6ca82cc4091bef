"""Figures of a synthetic CT that need no true CT: likeness to its MR, to the training CTs and to a head.

Outline Dice, gradient correlation, displacement and HU by depth are measured on voxels averaged to about 3 mm. The HU
histogram and the tissue shares and peaks taken from it use a sample of the full-resolution voxels in the body.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.metrics.alignment import gathered, gathering, shift_mm
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.metrics.depth_profile import depth_profile, profile_distance
from cyclegan_gc.metrics.histograms import shares, wasserstein
from cyclegan_gc.metrics.skull import inner_faults, skull
from cyclegan_gc.metrics.voxelwise import AIR_BELOW_HU, BONE_ABOVE_HU
from cyclegan_gc.prepare.body import ct_body_mask, with_dark_background
from cyclegan_gc.voxels import SAMPLE, dice, values_inside

TISSUES_HU = {
    "air": (-1100.0, AIR_BELOW_HU),
    "soft": (AIR_BELOW_HU, BONE_ABOVE_HU),
    "bone": (BONE_ABOVE_HU, 4000.0),
}
VAULT = ("vault_mm", "vault_holes", "specks_ml")
PEAKS_HU = {"fat": (-180.0, -30.0), "muscle": (0.0, 120.0)}


def figures_of(
    mr: NDArray[np.float32],
    mask: NDArray[np.bool_],
    hu: NDArray[np.int16],
    affine: NDArray[np.float64],
    fingerprint: Mapping[str, Any],
) -> dict[str, float]:
    """Figures of a synthetic CT.

    Args:
        mr: ``(X, Y, Z)`` in the unit of the file.
        mask: body of the MR, same shape.
        hu: synthetic CT, same shape.
        affine: ``(4, 4)`` voxel index to RAS mm.
        fingerprint: statistics of the training sets, from the checkpoint.

    Returns:
        ``outline_dice`` of the bodies of MR and CT; ``gc``, their gradient correlation; ``shift_mm``, the displacement
        at which their edges agree best; ``histogram_hu`` and ``depth_hu``, distances to the HU of the training CTs in
        the whole body and at each depth below the skin; ``NAME_share`` and ``NAME_peak_hu`` of tissues; and of a head
        ``vault_mm``, ``vault_holes`` and ``specks_ml``, as in :class:`cyclegan_gc.metrics.skull.Skull`, and
        ``inner_faults``, :func:`cyclegan_gc.metrics.skull.inner_faults`.
    """
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    factors = gathering(spacing_mm.tolist(), mr.shape)
    small_mr, small_hu, share = (gathered(array, factors) for array in (with_dark_background(mr), hu, mask))
    body = share >= 0.5
    small_mm = (float(spacing_mm[0] * factors[0]), float(spacing_mm[1] * factors[1]), float(spacing_mm[2] * factors[2]))
    edges, known = training_histogram(fingerprint)
    counts = shares(values_inside(hu, mask, at_most=SAMPLE), edges)
    # An older checkpoint does not say whether its CTs have a skull.
    has_skulls = bool(fingerprint.get("ct_skulls", True))
    head, inner = (skull(hu, mask, affine), inner_faults(hu, mask, affine)) if has_skulls else (None, None)
    own, profile = depth_profile(hu, mask, affine), np.asarray(fingerprint.get("ct_depth"))
    depth_hu = profile_distance(own, profile) if profile.shape == own.shape else None
    return {
        "outline_dice": dice(ct_body_mask(small_hu, small_mm), body) or 0.0,
        "gc": _gradient_correlation(small_hu, small_mr, body, affine @ np.diag([*factors, 1])),
        "shift_mm": shift_mm(small_mr, small_hu, small_mm),
        "histogram_hu": float(wasserstein(counts, known, edges)),
        **({} if depth_hu is None else {"depth_hu": depth_hu}),
        **({} if head is None else dict(zip(VAULT, head, strict=True))),
        **({} if inner is None else {"inner_faults": inner}),
        **{f"{name}_share": share_of(counts, edges, limits) for name, limits in TISSUES_HU.items()},
        **{f"{name}_peak_hu": peak_of(counts, edges, limits) for name, limits in PEAKS_HU.items()},
    }


def training_histogram(fingerprint: Mapping[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges in HU and shares of the histogram of the training CTs."""
    known = fingerprint["ct_histogram"]
    return np.asarray(known["edges"]), np.asarray(known["counts"])


def _gradient_correlation(hu: NDArray, mr: NDArray, body: NDArray[np.bool_], affine: NDArray) -> float:
    """Gradient correlation over axial slices, or across the thinnest axis if these are narrower than 3 voxels.

    0 if no slice counts.
    """
    if not body.any():
        return 0.0
    if min(to_ras(body, affine)[0].shape[:2]) < 3:
        thin = int(np.argmin(body.shape))
        hu, mr, body = (np.moveaxis(image, thin, 2) for image in (hu, mr, body))
        affine = np.eye(4)
    return mr_gradient_correlation(hu, mr, body, affine) or 0.0


def share_of(counts: NDArray, edges: NDArray, limits: tuple[float, float]) -> float:
    """Share of a histogram between two limits."""
    centres = (edges[1:] + edges[:-1]) / 2
    return float(counts[(centres >= limits[0]) & (centres < limits[1])].sum())


def peak_of(counts: NDArray, edges: NDArray, limits: tuple[float, float]) -> float:
    """Place of a histogram's peak between two limits."""
    centres = (edges[1:] + edges[:-1]) / 2
    inside = (centres >= limits[0]) & (centres < limits[1])
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    return float(centres[inside][smooth[inside].argmax()]) if inside.any() else float(np.mean(limits))
