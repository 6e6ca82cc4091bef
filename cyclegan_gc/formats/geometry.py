"""Voxel grids: comparison, reorientation to RAS and resampling."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.optimize import linear_sum_assignment

GRID_TOLERANCE_VOXELS = 0.01


def same_grid(shape: tuple[int, ...], affine: NDArray, other_shape: tuple[int, ...], other_affine: NDArray) -> bool:
    """Whether two grids have the same shape and corners that agree within a hundredth of a voxel."""
    if shape != other_shape:
        return False
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    mapping = voxel_mapping(affine, other_affine)
    moved = mapping[:3, :3] @ corners + mapping[:3, 3:]
    return bool(np.abs(moved - corners).max() < GRID_TOLERANCE_VOXELS)


def to_ras(array: NDArray, affine: NDArray) -> tuple[NDArray, tuple[float, float, float]]:
    """The array with axes swapped and flipped to the nearest RAS order, and its spacing in mm.

    There is no interpolation: an oblique volume stays oblique.
    """
    columns = np.asarray(affine, dtype=float)[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    # One array axis per direction, even if an oblique axis is the nearest to two directions.
    _, order = linear_sum_assignment(-np.abs(columns / spacing))
    turned = np.transpose(array, order)
    backward = tuple(direction for direction, axis in enumerate(order) if columns[direction, axis] < 0)
    right, front, up = (float(spacing[axis]) for axis in order)
    return np.flip(turned, backward), (right, front, up)


def voxel_mapping(source_affine: NDArray, target_affine: NDArray) -> NDArray:
    """Matrix (4, 4) from voxel indices of the source grid to those of the target grid."""
    # Rounded, because an index of -1e-12 counts as outside and a flipped volume would lose its first slice.
    return np.round(np.linalg.inv(target_affine) @ source_affine, 6)


def axis_directions(affine: NDArray) -> str:
    """Directions of the three array axes as letters, such as ``LPS``."""
    columns = np.asarray(affine, dtype=float)[:3, :3]
    directions, axes = linear_sum_assignment(-np.abs(columns / np.linalg.norm(columns, axis=0)))
    letters = {
        int(axis): "RAS"[d] if columns[d, axis] > 0 else "LPI"[d] for d, axis in zip(directions, axes, strict=True)
    }
    return "".join(letters[axis] for axis in range(3))


def resample(
    array: NDArray, affine: NDArray, shape: tuple[int, ...], target_affine: NDArray, *, outside: float, order: int = 1
) -> NDArray:
    """Resample ``array`` to another grid, linearly (``order=1``) or with the nearest voxel (0).

    Args:
        array: ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel index to mm.
        shape: of the target grid.
        target_affine: of the target grid.
        outside: value beyond the edge of the array.
    """
    mapping = voxel_mapping(target_affine, affine)
    return affine_transform(array, mapping, output_shape=shape, order=order, mode="constant", cval=outside)
