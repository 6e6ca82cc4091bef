"""HU at each depth below the skin: scalp, skull and brain lie in this order in everybody."""

from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras, voxel_sizes
from cyclegan_gc.metrics.alignment import gathered, gathering
from cyclegan_gc.metrics.histograms import shares, wasserstein
from cyclegan_gc.metrics.voxelwise import Mask
from cyclegan_gc.voxels import depth_in_body

DEPTHS_MM = (0.0, 4.0, 8.0, 12.0, 20.0, 30.0, np.inf)
HEIGHTS_MM = (0.0, 60.0, 130.0)
"""Below the top of the body: of a head the vault, and the rest down to the base of the skull."""
EDGES_HU = np.linspace(-1000, 1500, 51)
FEWEST = 50
"""A cell of depth and height with fewer voxels, of about 3 mm, is left empty."""


def depth_profile(hu: NDArray, mask: Mask, affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Histograms of HU by height and depth, ``(cells, bins)``; a row sums to 1, or to 0 where its cell is empty.

    Args:
        hu: ``(X, Y, Z)`` CT in HU.
        mask: the body, same shape.
        affine: ``(4, 4)`` voxel index to RAS mm.
    """
    factors = gathering(voxel_sizes(affine).tolist(), hu.shape)
    affine = affine @ np.diag([*factors, 1])
    (hu, spacing_mm), (share, _) = (to_ras(gathered(array, factors), affine) for array in (hu, mask))
    body = share >= 0.5
    depth_mm = depth_in_body(body, spacing_mm)
    top = np.flatnonzero(body.any(axis=(0, 1))).max(initial=0)
    height_mm = (top - np.arange(body.shape[2])) * spacing_mm[2]
    rows = []
    for (high, low), (outer, inner) in product(pairwise(HEIGHTS_MM), pairwise(DEPTHS_MM)):
        cell = (depth_mm > outer) & (depth_mm <= inner) & (height_mm >= high) & (height_mm < low)
        values = hu[cell]
        rows.append(shares(values if len(values) >= FEWEST else values[:0], EDGES_HU))
    return np.array(rows)


def mean_profile(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of ``(cases, cells, bins)`` over the cases that have each cell."""
    return profiles.sum(axis=0) / np.maximum(profiles.any(axis=2).sum(axis=0), 1)[:, None]


def profile_distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Distance (Wasserstein) in HU between two profiles, mean over the cells of both; None where they share none."""
    both = one.any(axis=1) & other.any(axis=1)
    return float(wasserstein(one[both], other[both], EDGES_HU).mean()) if both.any() else None
