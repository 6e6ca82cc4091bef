"""Voxel grids and frames: whether two are one, and axes turned to an anatomical order."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.optimize import linear_sum_assignment

GRID_TOLERANCE_VOXELS = 0.01


def same_grid(shape: tuple[int, ...], affine: NDArray, other_shape: tuple[int, ...], other_affine: NDArray) -> bool:
    """Whether two grids have one shape and all their corners within a hundredth of a voxel of each other."""
    if shape != other_shape:
        return False
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    mapping = voxel_mapping(affine, other_affine)
    moved = mapping[:3, :3] @ corners + mapping[:3, 3:]
    return bool(np.abs(moved - corners).max() < GRID_TOLERANCE_VOXELS)


def to_ras(array: NDArray, affine: NDArray) -> tuple[NDArray, tuple[float, float, float]]:
    """The array with axes swapped and flipped to run most nearly to the right, front and top, and its spacing in mm.

    Nothing is interpolated: an oblique volume stays oblique.
    """
    columns = np.asarray(affine, dtype=float)[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    # One file axis per direction, even where a slanted axis is the closest to two of them.
    _, order = linear_sum_assignment(-np.abs(columns / spacing))
    turned = np.transpose(array, order)
    backward = tuple(direction for direction, axis in enumerate(order) if columns[direction, axis] < 0)
    right, front, up = (float(spacing[axis]) for axis in order)
    return np.flip(turned, backward), (right, front, up)


def voxel_mapping(source_affine: NDArray, target_affine: NDArray) -> NDArray:
    """(4, 4) from a voxel index of one grid to that of the other."""
    # Rounded, for an index of -1e-12 counts as outside and a flipped volume would lose its first slice.
    return np.round(np.linalg.inv(target_affine) @ source_affine, 6)


def axis_directions(affine: NDArray) -> str:
    """Where the three array axes run, as in ``LPS``: right or left, front (A) or back (P), up (S) or down (I)."""
    columns = np.asarray(affine, dtype=float)[:3, :3]
    directions, axes = linear_sum_assignment(-np.abs(columns / np.linalg.norm(columns, axis=0)))
    letters = {
        int(axis): "RAS"[d] if columns[d, axis] > 0 else "LPI"[d] for d, axis in zip(directions, axes, strict=True)
    }
    return "".join(letters[axis] for axis in range(3))


def resample(
    array: NDArray, affine: NDArray, shape: tuple[int, ...], target_affine: NDArray, *, outside: float, order: int = 1
) -> NDArray:
    """``array`` at the voxel centres of another grid: linear (``order=1``) or nearest (0), ``outside`` beyond its edge.

    Args:
        array: ``(X, Y, Z)``, with ``affine`` ``(4, 4)`` from voxel index to mm.
        shape: of the target grid, with ``target_affine``.
        outside: the value where the array has none.
    """
    mapping = voxel_mapping(target_affine, affine)
    return affine_transform(array, mapping, output_shape=shape, order=order, mode="constant", cval=outside)
