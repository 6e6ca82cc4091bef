"""Finds repeated, blank and missing slices along each axis of a volume."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.voxels import block_sizes

AXES = ("front to back", "right to left", "bottom to top")
IN_PLANE_MM = 4.0
LARGE = 0.2
FEWEST = 8
"""An axis with fewer slices is not examined."""
AROUND = 3
"""Number of steps on each side with which a step is compared."""
FEWEST_PIXELS = 50


def slice_steps(
    raw: NDArray, body: NDArray[np.bool_], spacing_mm: tuple[float, float, float], window: tuple[float, float]
) -> dict[str, Any]:
    """Irregular steps from slice to slice.

    Args:
        raw: ``(H, W, D)``, to the back, to the left and upwards.
        body: same shape.
        spacing_mm: voxel size along the axes.
        window: values are clipped to it.

    Returns:
        ``repeated``: number of slices equal to the one before. ``blank``: number of slices with a single value between
        others. Both are the largest number of any axis. ``jump``: the largest step, as a multiple of the six steps
        around it; ``axis`` and ``slice`` (from 1) give its place.
    """
    found: dict[str, Any] = {"repeated": 0, "blank": 0, "jump": 0.0, "axis": None, "slice": None}
    apart = block_sizes(spacing_mm, raw.shape, IN_PLANE_MM)
    for axis, name in enumerate(AXES):
        every = tuple(slice(None, None, 1 if other == axis else step) for other, step in enumerate(apart))
        slices, masks = np.moveaxis(raw[every], axis, 0), np.moveaxis(body[every], axis, 0)
        if len(slices) < FEWEST:
            continue
        found["blank"] = max(found["blank"], _blank_between(slices, window))
        steps, valid = _steps(np.clip(slices, *window), masks)
        found["repeated"] = max(found["repeated"], int((valid & (steps == 0)).sum()))
        jump, at = _largest_jump(np.where(valid, steps, np.nan))
        if jump > found["jump"]:
            found |= {"jump": jump, "axis": name, "slice": at + 1}
    return found


def _blank_between(slices: NDArray, window: tuple[float, float]) -> int:
    """Number of slices with a single value between slices with content."""
    something = (slices > window[0] + 0.1 * (window[1] - window[0])).sum(axis=(1, 2))
    large = np.flatnonzero(something >= max(1, LARGE * something.max()))
    if not large.size:
        return 0
    among = slices[large[0] : large[-1] + 1]
    return int((among == among[:, :1, :1]).all(axis=(1, 2)).sum())


def _steps(slices: NDArray, masks: NDArray[np.bool_]) -> tuple[NDArray, NDArray[np.bool_]]:
    """Mean change from each slice to the next in the body, and whether the body is large enough there."""
    either = masks[1:] | masks[:-1]
    pixels = either.sum(axis=(1, 2))
    change = (np.abs(np.diff(slices, axis=0)) * either).sum(axis=(1, 2)) / np.maximum(pixels, 1)
    return change, pixels >= max(FEWEST_PIXELS, LARGE * pixels.max())


def _largest_jump(steps: NDArray) -> tuple[float, int]:
    """The largest ratio of a step to the largest of the steps around it, and its place."""
    best, at = 0.0, 0
    for here in range(AROUND, len(steps) - AROUND):
        around = np.r_[steps[here - AROUND : here], steps[here + 1 : here + 1 + AROUND]]
        if np.isnan(around).any() or np.isnan(steps[here]):
            continue
        ratio = float(steps[here] / max(float(around.max()), 1e-6))
        best, at = max((best, at), (ratio, here))
    return best, at
