"""Cycle error: the part of an image that is lost when it is translated there and back."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression


def cycle_error(values: NDArray[np.floating], returned: NDArray[np.floating]) -> float:
    """Error of an image translated there and back, relative to its own variation.

    The returned image has the grey values of the training's scanners. So it is first given those of the original by the
    best increasing map (isotonic regression), and another scanner's contrast costs nothing; an inverted one does.

    Args:
        values: the original in the body, any shape and unit.
        returned: the same voxels after both translations.

    Returns:
        0 if the original is recovered, about 1 if nothing of it is (then the best map is its mean).
    """
    if not values.size:
        return 1.0
    original = values.astype(np.float64).ravel()
    _, place, counts = np.unique(returned.ravel(), return_inverse=True, return_counts=True)
    mapped = isotonic_regression(np.bincount(place, original) / counts, weights=counts).x[place]
    variation = np.abs(original - np.median(original)).mean()
    return float(np.abs(mapped - original).mean() / max(variation, 1e-6))
