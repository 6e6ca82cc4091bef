"""Planes of a volume: the place of the cut, and the upright view that radiologists read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.voxels import bounding_box

PLANES = {"axial": (2, "RL"), "coronal": (1, "RL"), "sagittal": (0, "AP")}
"""The axis of a RAS volume that each plane cuts, and the letters at its left and right edge."""


@dataclass(frozen=True)
class View:
    """The pixels of an upright plane."""

    pixel_mm: tuple[float, float]
    """Height and width of a pixel."""
    sides: str
    """The letters at the left and the right: ``RL`` for the patient's right and left, ``AP`` for front and back."""


@dataclass(frozen=True)
class Plane(View):
    """A plane through all volumes of one grid."""

    title: str
    """Name and position, for example ``axial, slice 91 of 181``."""
    axis: int
    index: int
    """Place along ``axis`` of the volume in RAS."""
    affine: NDArray

    def cut(self, volume: NDArray) -> NDArray:
        """The plane of a volume (X, Y, Z), the front or top in the first row, the side of ``sides[0]`` at the left."""
        return to_ras(volume, self.affine)[0].take(self.index, self.axis).T[::-1, ::-1]


def middle_planes(mask: NDArray[np.bool_], affine: NDArray, names: Sequence[str] = tuple(PLANES)) -> Iterator[Plane]:
    """Planes through the middle of a mask, or of the whole volume where the mask is empty.

    Args:
        mask: ``(X, Y, Z)``.
        affine: ``(4, 4)`` voxel index to RAS mm; only its axes and spacing are used.
        names: of :data:`PLANES`.
    """
    body, spacing_mm = to_ras(mask, affine)
    box = bounding_box(body)
    for name in names:
        axis, sides = PLANES[name]
        width_mm, height_mm = (mm for other, mm in enumerate(spacing_mm) if other != axis)
        middle = (box[axis].start + box[axis].stop - 1) // 2
        title = f"{name}, slice {middle + 1} of {body.shape[axis]}"
        yield Plane((height_mm, width_mm), sides, title, axis, middle, affine)
