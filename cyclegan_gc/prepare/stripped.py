"""Recognises an MR that shows a brain alone, cut out of the head."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cyclegan_gc.prepare.body import Spacing

APART_MM, LAYER_MM = 2.0, 3.0
SURFACE, BELOW = slice(0, 3), slice(2, 6)
"""Layers of scalp, and those in which the skull lies."""
STRIPPED = "the MR shows neither scalp nor skull (a brain alone)"
SAME = 0.9
"""Least share of the outside that has one value: who cuts out a brain sets the rest to it."""
DARKER = 0.97
"""In whole heads the darkest layer below the scalp has at most 0.8 of the brightest of the surface, in brains 1."""


def is_stripped(array: NDArray, mask: NDArray[np.bool_], spacing_mm: Spacing) -> bool:
    """Whether an MR has neither scalp nor skull: a constant background, and nothing dark below the surface.

    A T2-weighted brain is not recognised, because its surface is bright.

    Args:
        array: MR (X, Y, Z) in any unit.
        mask: the body, same shape.
        spacing_mm: voxel size along the axes.
    """
    steps = [max(1, int(APART_MM / mm)) for mm in spacing_mm]
    thinned = tuple(slice(None, None, min(step, n)) for step, n in zip(steps, array.shape, strict=True))
    array, mask = array[thinned], mask[thinned]
    if mask.all() or not mask.any():
        return False
    background = np.median(array[~mask])
    if np.mean(array[~mask] == background) < SAME:
        return False
    spacing = [mm * step for mm, step in zip(spacing_mm, steps, strict=True)]
    layer = np.ceil(np.asarray(ndimage.distance_transform_edt(mask, spacing)) / LAYER_MM)
    layers = [array[layer == number] for number in range(1, BELOW.stop + 1)]
    if not all(each.size for each in layers):
        return False
    means = [float(np.median(each) - background) for each in layers]
    return min(means[BELOW]) >= DARKER * max(means[SURFACE])
