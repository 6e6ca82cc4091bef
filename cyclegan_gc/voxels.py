"""Functions on masks: bounding box, values inside, Dice overlap."""

import numpy as np
from numpy.typing import NDArray


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
