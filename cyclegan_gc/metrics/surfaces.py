"""Overlap and distance of masks and label maps: Dice, 95th percentile Hausdorff and average surface distance."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import KDTree

from cyclegan_gc.metrics.voxelwise import BONE_ABOVE_HU, Mask, check
from cyclegan_gc.voxels import bounding_box, dice

Spacing = tuple[float, float, float]
Overlap = dict[str, float | None]


def surface_distances(a: Mask, b: Mask, spacing_mm: Spacing) -> Overlap:
    """``hd95``, the 95th percentile Hausdorff distance, and ``assd``, the average symmetric surface distance, in mm.

    Distances run from the surface voxels of one mask (those with a face neighbour outside it, or at the border) to the
    nearest surface voxel of the other, between voxel centres, as in MONAI. ``hd95`` is the larger percentile of the two
    directions, ``assd`` the mean over all distances of both. Both are None when either mask is empty.
    """
    box = bounding_box(a | b)
    surface_a, surface_b = (mask[box] & _boundary(mask[box]) for mask in (a, b))
    return _between(surface_a, surface_b, spacing_mm)


def bone(ct: NDArray, mask: Mask) -> Mask:
    """Voxels of the mask above 250 HU."""
    return (ct > BONE_ABOVE_HU) & mask


def bone_dice(sct: NDArray, ct: NDArray, mask: Mask) -> float | None:
    """Dice of bone (above 250 HU in the mask); None where neither image shows any."""
    check(sct, ct, mask)
    return dice(bone(sct, mask), bone(ct, mask))


def bone_distances(sct: NDArray, ct: NDArray, mask: Mask, spacing_mm: Spacing) -> Overlap:
    """:func:`surface_distances` of bone (above 250 HU in the mask); None where either shows none."""
    check(sct, ct, mask)
    return surface_distances(bone(sct, mask), bone(ct, mask), spacing_mm)


def label_overlaps(predicted: NDArray, truth: NDArray, spacing_mm: Spacing) -> dict[int, Overlap]:
    """``dice`` and ``hd95`` in mm of every label in the true map except 0 (background).

    Args:
        predicted: ``(X, Y, Z)`` integers of 0 or more; labels that are not in the true map are ignored.
        truth: same shape.

    Raises:
        ValueError: if the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"label maps must have one shape, got {predicted.shape} and {truth.shape}")
    length = 1 + int(max(predicted.max(initial=0), truth.max(initial=0)))
    boundary, true_boundary = _boundary(predicted), _boundary(truth)
    boxes = zip(*(find_objects(labels, length) for labels in (predicted, truth)), strict=True)
    found = {}
    for label, (box, true_box) in enumerate(boxes, start=1):
        if true_box is not None:
            box = true_box if box is None else _joined(box, true_box)
            a, b = predicted[box] == label, truth[box] == label
            distances = _between(a & boundary[box], b & true_boundary[box], spacing_mm)
            found[label] = {"dice": dice(a, b), "hd95": distances["hd95"]}
    return found


def _boundary(labels: NDArray) -> Mask:
    """Voxels with a face neighbour of another value, and those at the border of the array."""
    edge = np.zeros_like(labels, dtype=bool)
    for axis in range(labels.ndim):
        along, found = np.moveaxis(labels, axis, 0), np.moveaxis(edge, axis, 0)
        differs = along[1:] != along[:-1]
        found[1:] |= differs
        found[:-1] |= differs
        found[[0, -1]] = True
    return edge


def _between(surface: Mask, other: Mask, spacing_mm: Spacing) -> Overlap:
    if not (surface.any() and other.any()):
        return {"hd95": None, "assd": None}
    there, back = _nearest(surface, other, spacing_mm), _nearest(other, surface, spacing_mm)
    return {
        "hd95": float(max(np.percentile(there, 95), np.percentile(back, 95))),
        "assd": float((there.sum() + back.sum()) / (there.size + back.size)),
    }


def _nearest(surface: Mask, other: Mask, spacing_mm: Spacing) -> NDArray[np.float64]:
    """Distance in mm of each voxel of a surface to the nearest one of another; 0 for voxels on both.

    A tree over surface voxels takes a tenth of the time of a distance map over all voxels.
    """
    distances = np.zeros(np.count_nonzero(surface))
    apart = np.argwhere(surface & ~other) * spacing_mm
    if len(apart):
        tree = KDTree(np.argwhere(other) * spacing_mm, balanced_tree=False, compact_nodes=False)
        distances[: len(apart)] = tree.query(apart)[0]
    return distances


def _joined(box: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(box, other, strict=True))
