"""Geometry of a DICOM series: orders the slices and refuses what is not one regular stack, with the cause.

Positions and directions are in the patient's LPS frame (DICOM PS3.3 C.7.6.2); affines are to RAS; all in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray
from scipy.optimize import linprog

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, corners_of

UNEVEN = 0.02
"""Largest difference of a gap from the median gap, as a fraction of it."""
MISSING = 1.5
"""A gap above this multiple of the median gap means that a slice is missing."""
TILT = 0.01
"""Largest shift in the plane, as a fraction of the distance (0.6 degrees); a tilted gantry is above."""
ROUNDED_MM = (0.1, 0.01)
"""Steps to which scanners and exports round slice positions."""
SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3
OFF_GRID_VOXELS = 0.05


class Contrast(NamedTuple):
    """What tells the pictures of one series apart; texts, empty if unknown."""

    types: str
    """Frame type or image type."""
    echo_ms: str = ""
    stack: str = ""


@dataclass(frozen=True)
class Frame:
    """One slice: its geometry and the object or frame that holds its pixels."""

    path: Path
    name: str
    """File name, and number of the frame, for messages."""
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
    rescale: tuple[float, float]
    """Slope and intercept."""
    contrast: Contrast
    decimal_commas: bool = False
    """Whether a number of the slice was written with a decimal comma."""

    @property
    def identity(self) -> tuple[object, ...]:
        """Equal for copies of one slice."""
        return (self.sop_instance or self.path, self.number, self.position, self.contrast)


@dataclass(frozen=True)
class Stack:
    """Order of the slices along the normal, and their grid."""

    order: tuple[int, ...]
    shape: tuple[int, int, int]
    """Columns, rows, slices."""
    affine: NDArray[np.float64]
    """(4, 4) from (column, row, slice) to RAS in mm."""
    notes: tuple[str, ...]
    fitted: bool
    """Whether the positions in the headers are rounded; those of the grid are not exactly the same."""


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
    origin, step, notes, fitted = _line(positions[order], heights[order], normal, first.thickness)
    affine = np.eye(4)
    affine[:3, 0] = along_row * between_columns
    affine[:3, 1] = along_column * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = origin
    shape = first.columns, first.rows, len(frames)
    return Stack(tuple(order.tolist()), shape, LPS_TO_RAS @ affine, tuple(notes), fitted)


def aligned(array: NDArray, affine: NDArray, shape: tuple[int, int, int], target: NDArray[np.float64]) -> NDArray:
    """Move ``(X, Y, Z)`` to a grid that differs only by swapped and flipped axes; exact, without interpolation.

    Raises:
        VolumeError: if the grids differ in another way.
    """
    mapping = np.linalg.inv(target) @ affine
    orientation = io_orientation(mapping)
    turned = apply_orientation(array, orientation)
    if turned.shape != tuple(shape):
        raise VolumeError(
            f"not on the grid of the reference series ({turned.shape} voxels, the series has {tuple(shape)})"
        )
    corners = np.vstack([corners_of(shape), np.ones(8)])
    there = mapping @ inv_ornt_aff(orientation, array.shape) @ corners
    if np.abs(there - corners).max() > OFF_GRID_VOXELS:
        raise VolumeError("not on the grid of the reference series (shifted, turned or of other voxel sizes)")
    return turned


def _check_alike(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """The common directions (2, 3) of rows and columns; raises if slices differ."""
    first = frames[0]
    for frame in frames:
        if frame.position is None or frame.orientation is None:
            raise VolumeError(
                f"{frame.name} has no slice position or orientation that can be read; export the series again"
            )
        if frame.pixel_spacing is None or min(frame.pixel_spacing) <= 0:
            raise VolumeError(f"{frame.name} has no pixel spacing that can be read; export the series again")
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


def _line(
    positions: NDArray, heights: NDArray, normal: NDArray, thickness: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[str], bool]:
    """First position and vector to the next slice (LPS, mm), notes, and whether the line was fitted.

    The positions are sorted by their heights.
    """
    first, count = positions[0], len(positions) - 1
    if count == 0:
        step_mm = thickness or 1.0
        return first, normal * step_mm, [f"A single slice; its thickness was set to {step_mm:g} mm."], False
    gaps = np.diff(heights)
    if gaps.min() < SAME_PLACE_MM:
        same = int((gaps < SAME_PLACE_MM).sum())
        raise VolumeError(
            f"{same} slices have the position of another one (duplicates or several time points); keep one of each"
        )
    step = (positions[-1] - first) / count
    rounded_mm = next((mm for mm in ROUNDED_MM if _is_multiple(positions, mm)), 0.0)
    _check_tilt(step, normal, np.sqrt(3) * rounded_mm / count)
    shifts = np.linalg.norm(np.diff(positions, axis=0) - np.outer(gaps, normal), axis=1)
    usual = float(np.median(gaps))
    if np.abs(gaps - usual).max() <= UNEVEN * usual and (shifts <= TILT * gaps).all():
        return first, step, [], False
    if rounded_mm and (fitted := _even_line(positions, rounded_mm / 2)):
        note = f"The slice positions are rounded to {rounded_mm:g} mm; they were fitted to an even grid."
        return fitted[0], normal * (fitted[1] @ normal), [note], True
    _refuse(gaps, shifts)


def _is_multiple(positions: NDArray, step_mm: float) -> bool:
    return np.allclose(positions / step_mm, np.rint(positions / step_mm), rtol=0, atol=1e-4)


def _check_tilt(step: NDArray, normal: NDArray, rounding_mm: float) -> None:
    """Refuse slices that move in their plane from the first to the last; ``step`` is the mean, with its rounding."""
    gap = float(step @ normal)
    drift = float(np.linalg.norm(step - gap * normal))
    if drift > TILT * gap + rounding_mm:
        raise VolumeError(
            f"a tilted gantry ({np.degrees(np.arctan2(drift, gap)):.1f} degrees), which gives a sheared grid; "
            "resample the series without tilt"
        )


def _even_line(positions: NDArray, within_mm: float) -> tuple[NDArray, NDArray] | None:
    """First point and step of the even line that no position leaves by more than ``within_mm``; None without one."""
    count = len(positions)
    # Unknowns: first point, step, largest distance; the last one is minimised (Chebyshev's line).
    line = np.column_stack([np.ones(count), np.arange(count)])
    sides = np.vstack([np.column_stack([sign * line, -np.ones(count)]) for sign in (1, -1)])
    fits = [
        linprog([0, 0, 1], sides, np.concatenate([along, -along]), bounds=[(None, None)] * 2 + [(0, None)])
        for along in positions.T
    ]
    if any(fit.x is None or fit.x[2] > within_mm * 1.001 for fit in fits):
        return None
    return np.array([fit.x[0] for fit in fits]), np.array([fit.x[1] for fit in fits])


def _refuse(gaps: NDArray, shifts: NDArray) -> NoReturn:
    """Say why the slices are not on an even grid."""
    usual = float(np.median(gaps))
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
    place = int((shifts / gaps).argmax()) + 1
    raise VolumeError(
        f"slice {place + 1} is shifted in its plane by {shifts[place - 1]:.4g} mm; export the series again"
    )
