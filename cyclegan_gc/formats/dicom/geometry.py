"""Geometry of a DICOM series: orders the slices and refuses what is not one regular stack, with the cause.

Positions and directions are in the patient's LPS frame (DICOM PS3.3 C.7.6.2); affines are to RAS; all in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, corners_of

UNEVEN = 0.02
"""Largest difference of a gap from the median gap, as a fraction of it."""
MISSING = 1.5
"""A gap above this multiple of the median gap means that a slice is missing."""
TILT = 0.01
"""Largest shift in the plane from slice to slice, as a fraction of the gap (0.6 degrees); a tilted gantry is above."""
SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3
OFF_GRID_VOXELS = 0.05


@dataclass(frozen=True)
class Frame:
    """One slice: its geometry and the object or frame that holds its pixels."""

    name: str
    """File name, for messages."""
    sop_class: str
    sop_instance: str
    number: int | None
    """Frame number in a multi-frame object, from 1; None in an object of one slice."""
    rows: int
    columns: int
    position: tuple[float, ...] | None
    """Centre of the first pixel, LPS, in mm."""
    orientation: tuple[float, ...] | None
    """Direction cosines along a row, then along a column, LPS."""
    pixel_spacing: tuple[float, ...] | None
    """Between rows, between columns, in mm."""
    thickness: float | None
    """Distance to the next slice according to the header, in mm."""


@dataclass(frozen=True)
class Stack:
    """Order of the slices along the normal, and their grid."""

    order: tuple[int, ...]
    shape: tuple[int, int, int]
    """Columns, rows, slices."""
    affine: NDArray[np.float64]
    """(4, 4) from (column, row, slice) to RAS in mm."""
    notes: tuple[str, ...]


def stack(frames: Sequence[Frame]) -> Stack:
    """Order the slices and check that they form one regular grid.

    Raises:
        VolumeError: if they do not, with the cause.
    """
    first = frames[0]
    along_row, along_column = _check_alike(frames)
    between_rows, between_columns = first.pixel_spacing or (0.0, 0.0)
    normal = np.cross(along_row, along_column)
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    step, notes = _step(positions[order], heights[order], normal, first.thickness)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    return Stack(tuple(order.tolist()), (first.columns, first.rows, len(frames)), LPS_TO_RAS @ affine, tuple(notes))


def aligned(array: NDArray, affine: NDArray, shape: tuple[int, int, int], target: NDArray[np.float64]) -> NDArray:
    """Move ``(X, Y, Z)`` to a grid that differs only by swapped and flipped axes; exact, without interpolation.

    Raises:
        VolumeError: if the grids differ in another way.
    """
    mapping = np.linalg.inv(target) @ affine
    turn = np.rint(mapping[:3, :3])
    if not (np.abs(turn).sum(axis=0) == 1).all() or not (np.abs(turn).sum(axis=1) == 1).all():
        raise VolumeError("not on the grid of the reference series (other directions or voxel sizes)")
    axes = np.abs(turn).argmax(axis=1)
    turned = array.transpose(axes)
    if turned.shape != tuple(shape):
        raise VolumeError(
            f"not on the grid of the reference series ({turned.shape} voxels, the series has {tuple(shape)})"
        )
    backward = tuple(axis for axis in range(3) if turn[axis, axes[axis]] < 0)
    corners = corners_of(array.shape)
    there = mapping[:3, :3] @ corners + mapping[:3, 3:]
    expected = turn @ corners
    for axis in backward:
        expected[axis] += shape[axis] - 1
    if np.abs(there - expected).max() > OFF_GRID_VOXELS:
        raise VolumeError("not on the grid of the reference series (shifted, turned or of other voxel sizes)")
    return np.flip(turned, backward)


def _check_alike(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """The common directions (2, 3) of rows and columns; raises if slices differ."""
    first = frames[0]
    for frame in frames:
        if frame.position is None or frame.orientation is None:
            raise VolumeError(f"{frame.name} has no slice position or orientation; export the series again")
        if frame.pixel_spacing is None or min(frame.pixel_spacing) <= 0:
            raise VolumeError(f"{frame.name} has no pixel spacing; export the series again")
        if (frame.rows, frame.columns) != (first.rows, first.columns):
            raise VolumeError(
                f"slices of different size ({first.rows} x {first.columns} and {frame.rows} x {frame.columns} in "
                f"{frame.name}); convert them as separate series"
            )
        if not np.allclose(frame.orientation, first.orientation or (), atol=SAME_DIRECTION):
            raise VolumeError(f"mixed orientations ({frame.name} differs from {first.name}); split the series")
        if not np.allclose(frame.pixel_spacing, first.pixel_spacing or (), rtol=1e-3):
            raise VolumeError(f"mixed pixel spacings ({frame.name} differs from {first.name}); split the series")
    cosines = np.array(first.orientation).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=1e-2):
        raise VolumeError("the row and column directions are not at right angles; export the series again")
    return cosines


def _step(
    positions: NDArray, heights: NDArray, normal: NDArray, thickness: float | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Vector from one slice to the next (LPS, mm) and notes; positions and heights along the normal are sorted."""
    if len(positions) == 1:
        return normal * (thickness or 1.0), [f"A single slice; its thickness was set to {thickness or 1.0:g} mm."]
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    if gaps.min() < SAME_PLACE_MM:
        count = int((gaps < SAME_PLACE_MM).sum())
        raise VolumeError(
            f"{count} slices have the position of another one (duplicates or several time points); keep one of each"
        )
    drift = np.linalg.norm(np.diff(positions, axis=0) - np.outer(gaps, normal), axis=1)
    if (drift > TILT * gaps).any():
        angle = np.degrees(np.arctan2(drift, gaps)).max()
        raise VolumeError(
            f"a tilted gantry ({angle:.1f} degrees), which gives a sheared grid; resample the series without tilt"
        )
    if gaps.max() > MISSING * usual:
        place = int(gaps.argmax()) + 1
        raise VolumeError(
            f"a slice is missing after slice {place} (a gap of {gaps.max():.4g} mm, {usual:.4g} mm elsewhere); "
            "export the series again"
        )
    if np.abs(gaps - usual).max() > UNEVEN * usual:
        raise VolumeError(
            f"uneven gaps between slices ({gaps.min():.4g} to {gaps.max():.4g} mm); resample the series to even gaps"
        )
    return (positions[-1] - positions[0]) / (len(positions) - 1), []
