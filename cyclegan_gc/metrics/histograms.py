"""Histograms as shares of all values, and the distance between two of them."""

import numpy as np
from numpy.typing import NDArray


def shares(values: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Share of the values in each bin, 0 everywhere without values; those beyond the edges count in the outer bins."""
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return counts / max(1, counts.sum())


def wasserstein(one: NDArray, other: NDArray, edges: NDArray) -> NDArray[np.float64]:
    """Wasserstein distance of histograms ``(..., bins)`` that sum to 1, in the unit of the edges."""
    return (np.abs(np.cumsum(one - other, axis=-1)) * np.diff(edges)).sum(axis=-1)
