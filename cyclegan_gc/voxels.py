"""Functions on voxels and masks: bounding box, values inside, Dice overlap, depth, blocks of voxels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

SAMPLE = 300_000
"""Number of voxels that is enough for quantiles."""


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Bounding box of a mask, enlarged by ``margin`` voxels; the whole array if the mask is empty."""
    axes, sides = range(mask.ndim), []
    for axis, size in enumerate(mask.shape):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis)))
        first, last = (int(used[0]), int(used[-1])) if used.size else (0, size - 1)
        sides.append(slice(max(0, first - margin), min(size, last + 1 + margin)))
    return tuple(sides)


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float | None:
    """Overlap ``2 |a & b| / (|a| + |b|)`` in [0, 1] (Dice 1945); None when both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return float(2 * np.count_nonzero(a & b) / total) if total else None


def values_inside(array: NDArray, mask: NDArray[np.bool_], at_most: int | None = None) -> NDArray:
    """``array[mask]`` in memory order, which is several times faster for Fortran-ordered volumes.

    If there are many more values than ``at_most``, every second, third, ... one is taken.
    """
    order = np.argsort(np.abs(array.strides), kind="stable")[::-1]
    values = array.transpose(order)[mask.transpose(order)]
    return values if at_most is None else values[:: max(1, values.size // at_most)]


def block_sizes(spacing_mm: Sequence[float], shape: Sequence[int], wanted_mm: float, fewest: int = 1) -> list[int]:
    """Number of voxels along each axis that are about ``wanted_mm`` long, so few that ``fewest`` blocks fit."""
    return [max(1, min(round(wanted_mm / mm), n // fewest)) for mm, n in zip(spacing_mm, shape, strict=True)]


def depth_in_body(body: NDArray[np.bool_], spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Distance in mm of each voxel (X, Y, Z) to the outside of the body; 0 outside.

    At the first slice of Z, the lowest, the body goes on below the volume. At the other sides is skin.
    """
    with_skin = np.pad(body, ((1, 1), (1, 1), (0, 1)))
    return np.asarray(distance_transform_edt(with_skin, spacing_mm))[1:-1, 1:-1, :-1]
