"""Displacement between an MR and a CT on one grid."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool3d

from cyclegan_gc.voxels import block_sizes

GATHERED_MM = 3.0
"""Voxel size after averaging."""
MIN_VOXELS = 8
"""An axis is not reduced below this size."""


def gathering(spacing_mm: Sequence[float], shape: Sequence[int]) -> list[int]:
    """Number of voxels along each axis that are averaged into one of about 3 mm."""
    return block_sizes(spacing_mm, shape, GATHERED_MM, MIN_VOXELS)


def gathered(array: NDArray, factors: Sequence[int]) -> NDArray[np.float32]:
    """Block means; incomplete blocks at the end are dropped."""
    kernel = [min(factor, size) for factor, size in zip(factors, array.shape, strict=True)]
    # Transposed, because files store the first axis fastest.
    image = torch.tensor(np.asarray(array.T, np.float32))
    return avg_pool3d(image[None], kernel[::-1])[0].numpy().T


def shift_mm(mr: NDArray, hu: NDArray, spacing_mm: Sequence[float]) -> float:
    """Shift at which the CT's edges agree best with the MR's, searched along each axis up to 12 mm."""
    edges = _edges(mr), _edges(np.clip(hu, -1000, 1000))
    best, found = _agreement(*edges) + 1e-3, 0.0
    for axis, mm in enumerate(spacing_mm):
        for step in (n for n in range(-4, 5) if n and abs(n) * mm <= 12.1 and abs(n) < mr.shape[axis] // 2):
            agreement = _agreement(edges[0], np.roll(edges[1], step, axis))
            if agreement > best:
                best, found = agreement, abs(step) * mm
    return found


def _edges(image: NDArray) -> NDArray[np.float32]:
    total = np.zeros(image.shape, np.float32)
    for axis in (axis for axis in range(3) if image.shape[axis] > 2):
        total += np.abs(np.gradient(image, axis=axis))
    return total


def _agreement(a: NDArray, b: NDArray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / max(float(np.sqrt((a * a).sum() * (b * b).sum())), 1e-12))
