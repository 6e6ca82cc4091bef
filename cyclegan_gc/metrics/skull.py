"""The skull of a head: thickness of its vault, holes in it, and specks of bone inside the brain.

None of these needs a second CT, so they compare a synthetic CT with the true one, or with the CTs of a training.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.metrics.surfaces import Spacing
from cyclegan_gc.metrics.voxelwise import AIR_BELOW_HU, BONE_ABOVE_HU, Mask
from cyclegan_gc.voxels import depth_in_body

CENTRE_BELOW_TOP_MM = 70.0
"""Depth of the middle of the brain below the top of the head."""
RAYS, STEP_MM, REACH_MM = 2000, 0.5, 130.0
LEAST_RISE = 0.2
"""Sine of the flattest ray's angle above the horizontal; flatter rays meet the base of the skull."""
DIPLOE_MM = 3.0
"""A gap in the bone up to this length belongs to the skull: the marrow between its two tables."""
CUT_MM2 = 8000.0
"""Body area in the topmost slice from which on the body is cut off there: a torso, or a head without its vault."""
FOUND = 0.5
"""Least share of the rays that meet bone in a head."""
SPECK_BELOW_SKIN_MM = 25.0
TAPERED, TAPER_MM = 0.7, 100.0
"""A field of view reaches into the vault if its topmost slice has at most this share of the largest within 100 mm."""
INNER_MM, STACK_MM = 30.0, 40.0
"""Only what lies deeper inside an axial slice counts, in stacks of 40 mm."""


class Skull(NamedTuple):
    """Measures of the part of a head that lies above the middle of the brain."""

    thickness_mm: float
    """Median length of the rays from the middle of the brain within the skull."""
    holes: float
    """Share of these rays that meet no bone."""
    specks_ml: float
    """Volume of bone more than 25 mm below the skin."""


def skull(hu: NDArray, mask: Mask, affine: NDArray[np.float64]) -> Skull | None:
    """Measures of the skull vault in a CT; None where there is no vault.

    Args:
        hu: ``(X, Y, Z)`` CT in HU.
        mask: the body, same shape.
        affine: ``(4, 4)`` voxel index to RAS mm.
    """
    (hu, spacing_mm), (mask, _) = to_ras(hu, affine), to_ras(mask, affine)
    heights = np.flatnonzero(mask.any(axis=(0, 1)))
    if not heights.size or mask[:, :, -1].sum() * spacing_mm[0] * spacing_mm[1] > CUT_MM2:
        return None
    middle = heights[-1] - round(CENTRE_BELOW_TOP_MM / spacing_mm[2])
    if middle < heights[0]:
        return None
    centre = np.append(np.argwhere(mask[:, :, middle]).mean(axis=0), middle)
    bone = along_rays(np.where(mask, hu, -1000), centre, spacing_mm) > BONE_ABOVE_HU
    met = bone.any(axis=1)
    if met.mean() < FOUND:
        return None
    deep = (hu[:, :, middle:] > BONE_ABOVE_HU) & (depth_in_body(mask[:, :, middle:], spacing_mm) > SPECK_BELOW_SKIN_MM)
    thickness_mm = float(np.median([_outermost_mm(ray) for ray in bone[met]]))
    return Skull(thickness_mm, float(1 - met.mean()), float(deep.sum() * np.prod(spacing_mm) / 1000))


def inner_faults(hu: NDArray, mask: Mask, affine: NDArray[np.float64]) -> float | None:
    """Share of bone and air more than 30 mm inside axial slices, in the 40 mm of height where it is least.

    It is 0 in a true head: some 40 mm above the base of a skull hold brain alone, so this judges a head whose top is
    cut off too. None where the body does not taper to its top, as a vault does, is too short or nowhere so thick.
    Arguments are those of :func:`skull`.
    """
    (hu, spacing_mm), (mask, _) = to_ras(hu, affine), to_ras(mask, affine)
    heights = np.flatnonzero(mask.any(axis=(0, 1)))
    stack, reach = (round(mm / spacing_mm[2]) for mm in (STACK_MM, TAPER_MM))
    if not stack or heights.size < stack:
        return None
    hu, mask = hu[:, :, heights[0] : heights[-1] + 1], mask[:, :, heights[0] : heights[-1] + 1]
    areas = mask.sum(axis=(0, 1))
    if areas[-1] > TAPERED * areas[-reach:].max():
        return None
    inner = np.stack([_further_inside(each, spacing_mm[:2]) for each in np.moveaxis(mask, 2, 0)], axis=2)
    volumes, faults = (
        np.lib.stride_tricks.sliding_window_view(part.sum(axis=(0, 1)), stack).sum(axis=1)
        for part in (inner, inner & ((hu > BONE_ABOVE_HU) | (hu < AIR_BELOW_HU)))
    )
    widest = volumes[-reach:].max()  # of the head, not of shoulders below it
    wide = volumes >= widest / 4
    return float((faults[wide] / volumes[wide]).min()) if widest else None


def _further_inside(outline: Mask, spacing_mm: tuple[float, float]) -> Mask:
    depth_mm = distance_transform_edt(np.pad(outline, 1), spacing_mm)
    return np.asarray(depth_mm)[1:-1, 1:-1] > INNER_MM


def along_rays(hu: NDArray, centre: NDArray[np.float64], spacing_mm: Spacing) -> NDArray[np.float32]:
    """HU from the centre outwards and upwards every 0.5 mm, ``(rays, steps)``; the rays are evenly spread.

    Args:
        hu: ``(X, Y, Z)`` in RAS, -1000 outside the body.
        centre: voxel index, with fractions.
        spacing_mm: voxel size along the three axes.
    """
    number = np.arange(RAYS) + 0.5
    rise, turn = LEAST_RISE + (1 - LEAST_RISE) * number / RAYS, np.pi * (3 - np.sqrt(5)) * number
    level = np.sqrt(1 - rise**2)
    directions = np.stack([level * np.cos(turn), level * np.sin(turn), rise], axis=1) / spacing_mm
    steps_mm = np.arange(0, REACH_MM, STEP_MM)
    places = centre + directions[:, None] * steps_mm[:, None]
    values = map_coordinates(hu.astype(np.float32), places.transpose(2, 0, 1), order=1, cval=-1000)
    return np.asarray(values, np.float32)


def _outermost_mm(bone: NDArray[np.bool_]) -> float:
    """Length of the outermost bone on a ray, with its marrow."""
    places = np.flatnonzero(bone)[::-1]
    inner = np.flatnonzero(-np.diff(places) * STEP_MM > DIPLOE_MM)
    last = places[inner[0]] if inner.size else places[-1]
    return float((places[0] - last + 1) * STEP_MM)
