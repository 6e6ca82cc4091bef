"""Voxelwise metrics inside a mask: errors in HU and PSNR."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.voxels import values_inside

Mask = NDArray[np.bool_]
Challenge = Literal[2023, 2025]


class HURange(NamedTuple):
    """Range to which images are clipped before they are compared."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """The peak of PSNR and the data range of SSIM."""
        return self.high - self.low


RANGES_HU: dict[Challenge, HURange] = {2023: HURange(-1024.0, 3000.0), 2025: HURange(-1024.0, 3071.0)}
"""Ranges of the two SynthRAD challenges."""
AIR_BELOW_HU = -250.0
BONE_ABOVE_HU = 250.0


def mae(sct: NDArray, ct: NDArray, mask: Mask) -> float:
    """Mean absolute error in HU over the mask; nothing is clipped."""
    return float(np.abs(_errors(sct, ct, mask)).mean())


def me(sct: NDArray, ct: NDArray, mask: Mask) -> float:
    """Mean signed error ``sct - ct`` in HU over the mask: the bias, positive where the synthetic CT is too bright."""
    return float(_errors(sct, ct, mask).mean())


def error_sd(sct: NDArray, ct: NDArray, mask: Mask) -> float:
    """Standard deviation of ``sct - ct`` in HU over the mask.

    ``me - 1.96 sd`` to ``me + 1.96 sd`` are the limits of agreement of Bland and Altman (1986).
    """
    return float(_errors(sct, ct, mask).std())


def mae_by_tissue(sct: NDArray, ct: NDArray, mask: Mask) -> dict[str, float | None]:
    """Mean absolute error in HU in ``air``, ``soft`` tissue and ``bone``, separated by the true CT.

    Air lies below -250 HU, bone above 250 HU, soft tissue between; None for a tissue that is not in the mask.
    """
    errors, truth = np.abs(_errors(sct, ct, mask)), ct[mask]
    air, bone = truth < AIR_BELOW_HU, truth > BONE_ABOVE_HU
    tissues = {"air": air, "soft": ~air & ~bone, "bone": bone}
    return {name: float(errors[voxels].mean()) if voxels.any() else None for name, voxels in tissues.items()}


def psnr(sct: NDArray, ct: NDArray, mask: Mask, challenge: Challenge = 2023) -> float:
    """Peak signal-to-noise ratio in dB over the mask; infinite where the images are equal.

    Both images are clipped to the challenge's range, [-1024, 3000] HU in 2023 and [-1024, 3071] HU in 2025, and the
    peak is the width of that range, never the brightest voxel.
    """
    limits = RANGES_HU[challenge]
    check(sct, ct, mask)
    errors = np.clip(sct[mask], *limits).astype(np.float64) - np.clip(ct[mask], *limits)
    mean_square = float(np.square(errors).mean())
    return 10 * math.log10(limits.width**2 / mean_square) if mean_square else math.inf


def slice_discontinuity(volume: NDArray, mask: Mask) -> float:
    """Mean jump between neighbouring slices over the mean jump between neighbours within slices, in the mask.

    1 for an image that varies equally in all directions. Steps from slice to slice raise it, and so do thick slices;
    therefore compare only images on one grid. 0 where there are no neighbours, or no jumps within slices.

    Args:
        volume: ``(H, W, D)``, slices along the last axis; every other line along an axis is used.
        mask: same shape.
    """
    jumps = []
    for axis in range(3):
        lines = tuple(slice(None) if other == axis else slice(None, None, 2) for other in range(3))
        jumps.append(mean_step(volume[lines], mask[lines], axis))
    within = (jumps[0] + jumps[1]) / 2
    return jumps[2] / within if within else 0.0


def mean_step(values: NDArray, mask: Mask, axis: int) -> float:
    """Mean absolute difference between neighbours along an axis, both in the mask; 0 where there are none."""
    values, mask = np.moveaxis(values, axis, 0), np.moveaxis(mask, axis, 0)
    both = mask[1:] & mask[:-1]
    return float(values_inside(np.abs(values[1:] - values[:-1]), both).mean()) if both.any() else 0.0


def _errors(sct: NDArray, ct: NDArray, mask: Mask) -> NDArray[np.float64]:
    check(sct, ct, mask)
    return sct[mask].astype(np.float64) - ct[mask]


def check(sct: NDArray, ct: NDArray, mask: Mask) -> None:
    """Check the arguments of a metric.

    Raises:
        ValueError: if the shapes differ, or the mask is not boolean or holds no voxel.
    """
    if not sct.shape == ct.shape == mask.shape:
        raise ValueError(f"synthetic CT, CT and mask must have one shape, got {sct.shape}, {ct.shape}, {mask.shape}")
    if mask.dtype != bool:
        raise ValueError(f"the mask must be boolean, got {mask.dtype}")
    if not mask.any():
        raise ValueError("the mask holds no voxel")
