"""Recognises an MR that shows a brain alone, cut out of the head."""

from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cyclegan_gc.prepare.body import Spacing

APART_MM, LAYER_MM, LAYERS = 2.0, 3.0, 9
SURFACE, BELOW = slice(0, 3), slice(2, 6)
"""Layers of scalp, and those in which the skull lies."""
STRIPPED = "the MR shows neither scalp nor skull (a brain alone)"
SAME = 0.9
"""Least share of the outside that has one value: who cuts out a brain sets the rest to it."""
DARKER = 0.97
"""In whole heads the darkest layer below the scalp has at most 0.8 of the brightest of the surface, in brains 1."""
LARGEST_ML = 2500
"""Brains have at most 2.0 l, whole heads of adults at least 2.7."""
CUT = 0.1
"""Area at a border of the volume, as a share of the largest one, at which the body goes on; a neck has 0.35."""


def is_stripped(array: NDArray, mask: NDArray[np.bool_], spacing_mm: Spacing) -> bool:
    """Whether an MR has neither scalp nor skull: a small body in a constant background, and no dark layer in it.

    The surface of a T2-weighted brain is bright and its inside darker, as under the fat of a scalp. It is recognised
    only if it is in the volume as a whole and if no layer is darker than both those outside and those inside it.

    Args:
        array: MR (X, Y, Z) in any unit.
        mask: the body, same shape.
        spacing_mm: voxel size along the axes.
    """
    steps = [max(1, int(APART_MM / mm)) for mm in spacing_mm]
    thinned = tuple(slice(None, None, min(step, n)) for step, n in zip(steps, array.shape, strict=True))
    array, mask = array[thinned], mask[thinned]
    spacing = [mm * step for mm, step in zip(spacing_mm, steps, strict=True)]
    if mask.all() or not 0 < mask.sum() * prod(spacing) <= 1000 * LARGEST_ML:
        return False
    background = np.median(array[~mask])
    if np.mean(array[~mask] == background) < SAME:
        return False
    layer = np.ceil(np.asarray(ndimage.distance_transform_edt(mask, spacing)) / LAYER_MM)
    layers = [array[layer == number] for number in range(1, LAYERS + 1)]
    means = [float(np.median(each) - background) for each in layers if each.size]
    if len(means) < BELOW.stop:
        return False
    darkest = min(means[BELOW])
    place = means.index(darkest, BELOW.start)
    below_all = darkest < DARKER * min(max(means[:place]), max(means[place:]))
    return darkest >= DARKER * max(means[SURFACE]) or not (below_all or _is_cut(mask))


def _is_cut(mask: NDArray[np.bool_]) -> bool:
    """Whether the body goes on beyond a border of the volume."""
    areas = [mask.sum(axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    return any(max(each[0], each[-1]) > CUT * each.max() for each in areas)
