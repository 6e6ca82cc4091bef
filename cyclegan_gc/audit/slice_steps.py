"""Slices that repeat, are blank or do not follow on one another, along each axis of a volume."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

AXES = ("front to back", "right to left", "bottom to top")
IN_PLANE_MM = 4.0
LARGE = 0.2
FEWEST = 8
"""Slices along an axis that can be judged."""
AROUND = 3
"""Steps on each side that a step is compared with."""
FEWEST_PIXELS = 50


def slice_steps(
    raw: NDArray, body: NDArray[np.bool_], spacing_mm: tuple[float, float, float], window: tuple[float, float]
) -> dict[str, Any]:
    """What is odd about the steps from slice to slice.

    Args:
        raw: ``(H, W, D)``, to the back, to the left and upwards.
        body: same shape.
        spacing_mm: along the axes.
        window: values beyond it count as its ends.

    Returns:
        ``repeated``: slices that equal the one before; ``blank``: slices of one value between others; each the most of
        any axis. ``jump``: how many times larger the largest step is than the six around it, ``axis`` and ``slice``
        (from 1, along the axis) where it is.
    """
    found: dict[str, Any] = {"repeated": 0, "blank": 0, "jump": 0.0, "axis": None, "slice": None}
    for axis, name in enumerate(AXES):
        every = tuple(
            slice(None) if other == axis else slice(None, None, max(1, round(IN_PLANE_MM / mm)))
            for other, mm in enumerate(spacing_mm)
        )
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
    """Slices of one value among those that show something, which the mask may have cut there."""
    something = (slices > window[0] + 0.1 * (window[1] - window[0])).sum(axis=(1, 2))
    large = np.flatnonzero(something >= max(1, LARGE * something.max()))
    if not large.size:
        return 0
    among = slices[large[0] : large[-1] + 1]
    return int((among == among[:, :1, :1]).all(axis=(1, 2)).sum())


def _steps(slices: NDArray, masks: NDArray[np.bool_]) -> tuple[NDArray, NDArray[np.bool_]]:
    """Mean change from each slice to the next in the body, and whether there is enough body to tell."""
    either = masks[1:] | masks[:-1]
    pixels = either.sum(axis=(1, 2))
    change = (np.abs(np.diff(slices, axis=0)) * either).sum(axis=(1, 2)) / np.maximum(pixels, 1)
    return change, pixels >= max(FEWEST_PIXELS, LARGE * pixels.max())


def _largest_jump(steps: NDArray) -> tuple[float, int]:
    """The largest ratio of a step to the largest of those around it, with three steps of the body on either side."""
    best, at = 0.0, 0
    for here in range(AROUND, len(steps) - AROUND):
        around = np.r_[steps[here - AROUND : here], steps[here + 1 : here + 1 + AROUND]]
        if np.isnan(around).any() or np.isnan(steps[here]):
            continue
        ratio = float(steps[here] / max(float(around.max()), 1e-6))
        best, at = max((best, at), (ratio, here))
    return best, at
