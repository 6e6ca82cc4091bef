"""Measurements of one volume for the audit, from voxels about 3 mm apart: plain numbers without a name or a path."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from cyclegan_gc.audit.slice_steps import slice_steps
from cyclegan_gc.formats.geometry import axis_directions
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.prepare.body import CT_THRESHOLD_HU, Spacing, with_dark_background
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import Prepared, in_canonical_frame
from cyclegan_gc.prepare.stripped import is_stripped
from cyclegan_gc.prepare.transforms import spacing_of
from cyclegan_gc.voxels import SAMPLE, block_sizes, bounding_box, depth_in_body, values_inside

APART_MM, BRIGHT_APART_MM = 3.0, 1.5
HASHED = 64
"""Most voxels along each axis that enter the hash of a volume."""
LARGE = 0.2
"""Slices below this share of the largest cross-section do not count for the body's extent: a tip, a couch alone."""
SIDES = ("front", "back", "right", "left")
PADDING_BELOW_HU = -1100
METAL_HU = 3000
SATURATED_ABOVE_HU = 1600
HEAD_MM, DEEP_MM = 120, 20
"""Roughly the brain: distance below the top of the head, and depth below the skin."""
VERY_DEEP_MM = 30
FEWEST_DEEP = 200
"""With fewer voxels the brightness of an MR is not measured."""
SPREADS = (0.5, 0.35, 0.25, 0.18, 0.12, 0.1, 0.1, 0.1, 0.1, 0.1)
"""Widths of the robust fit to the logarithm of a tissue's brightness, narrowed step by step."""
THUMBNAIL = 14

Facts = dict[str, Any]


def measure_volume(volume: Volume) -> Facts:
    """Facts that need no body mask.

    ``content`` is a hash of the voxels that does not depend on the file's format, compression and axis order;
    ``orientation`` that of the file; ``shape`` and ``spacing_mm`` run to the back, to the left and upwards.
    """
    image = in_canonical_frame(volume)
    raw = image.numpy()[0]
    some = raw[tuple(slice(None, None, -(-size // HASHED)) for size in raw.shape)]
    content = hashlib.sha256(repr(raw.shape).encode())
    content.update(np.ascontiguousarray(some).data)
    return {
        "content": content.hexdigest(),
        "orientation": axis_directions(volume.affine),
        "shape": list(raw.shape),
        "spacing_mm": list(spacing_of(image)),
    }


def measure_case(volume: Volume, case: Prepared, modality: Modality) -> Facts:
    """All facts of a prepared volume.

    In addition to :func:`measure_volume`:

    - of the body: extent ``body_mm``, largest cross-section ``area_cm2``, ``cut`` (share of its outline, seen from each
      side, at which the volume ends), ``outside_ml`` (things beside the body) and ``thumbnail``;
    - ``steps`` between slices;
    - of a CT: HU of air and tissue, top and step of the scale, and ``plate_mm`` (width of a couch joined to the body);
    - of an MR: ``brightness_ratio``, ``contrast``, ``stripped`` (a brain alone) and ``light_background`` (not darkest).
    """
    raw, body = in_canonical_frame(volume).numpy()[0], case.mask.numpy()[0]
    given = raw
    if modality == "mr":
        raw = with_dark_background(given)
    every = _every(APART_MM, case.spacing_mm, raw.shape)
    few, few_body = raw[every], body[every]
    a, b, c = (mm * step.step for mm, step in zip(case.spacing_mm, every, strict=True))
    inside = values_inside(raw, body, at_most=SAMPLE)
    facts = {
        **measure_volume(volume),
        **_extent(body[every[0], every[1]], (a, b, case.spacing_mm[2])),
        "cut": _cut(few_body),
        "outside_ml": _outside_ml(few, few_body, (a, b, c), _dense(few, inside, modality)),
        "steps": slice_steps(raw, body, case.spacing_mm, _window(inside, modality)),
        "thumbnail": _thumbnail(case),
    }
    if modality == "ct":
        plate = _plate_mm(body[:, every[1], every[2]], (case.spacing_mm[0], b, c))
        return {**facts, **_hu(raw, body, inside, few[~few_body], case.spacing_mm), "plate_mm": plate}
    brightness = _brightness(few - min(few.min(), 0), few_body, (a, b, c))
    facts |= {"stripped": is_stripped(raw, body, case.spacing_mm), "light_background": raw is not given}
    return {**facts, **brightness}


def thumbnail_of(facts: Facts) -> NDArray[np.float64]:
    """The thumbnail as grey values, ``(14, 14, 14)``, to the back, to the left and upwards; 0 outside the body."""
    return np.frombuffer(bytes.fromhex(facts["thumbnail"]), np.uint8).astype(float).reshape(3 * (THUMBNAIL,))


def _every(apart_mm: float, spacing_mm: Spacing, shape: Sequence[int]) -> tuple[slice, ...]:
    """Slices that take voxels of an array about ``apart_mm`` apart, at least one along each axis."""
    return tuple(slice(step // 2, None, step) for step in block_sizes(spacing_mm, shape, apart_mm))


def _window(inside: NDArray, modality: Modality) -> tuple[float, float]:
    if modality == "ct":
        return -1000.0, 1500.0
    low, high = np.quantile(inside, (0.01, 0.99))
    return float(low), float(high)


def _extent(body: NDArray[np.bool_], spacing_mm: Spacing) -> Facts:
    areas = body.sum(axis=(0, 1)) * spacing_mm[0] * spacing_mm[1] / 100
    if not areas.any():
        return {"body_mm": [0.0, 0.0, 0.0], "area_cm2": 0.0}
    large = np.flatnonzero(areas >= LARGE * areas.max())
    box = bounding_box(body[:, :, large[0] : large[-1] + 1])
    lengths = [(side.stop - side.start) * mm for side, mm in zip(box, spacing_mm, strict=True)]
    return {"body_mm": [float(mm) for mm in lengths], "area_cm2": float(areas.max())}


def _cut(body: NDArray[np.bool_]) -> dict[str, float]:
    faces = (body[0], body[-1], body[:, 0], body[:, -1])
    seen = (body.any(axis=0), body.any(axis=0), body.any(axis=1), body.any(axis=1))
    shares = [float(face.sum() / max(1, outline.sum())) for face, outline in zip(faces, seen, strict=True)]
    return dict(zip(SIDES, shares, strict=True))


def _dense(raw: NDArray, inside: NDArray, modality: Modality) -> float:
    """Value above which a voxel is not air; in MR halfway from air to the body's median."""
    return CT_THRESHOLD_HU if modality == "ct" else float(np.quantile(raw, 0.01) + np.median(inside)) / 2


def _outside_ml(raw: NDArray, body: NDArray[np.bool_], spacing_mm: Spacing, above: float) -> float:
    near = np.asarray(ndimage.binary_dilation(body, np.ones((3, 3, 3)), iterations=2), dtype=bool)
    return float(((raw > above) & ~near).sum() * np.prod(spacing_mm) / 1000)


def _plate_mm(body: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Width over which the back is straight in all slices, as on a couch; 0 in volumes under 100 mm high."""
    if body.shape[2] * spacing_mm[2] < 100:
        return 0.0
    present = body.any(axis=0)
    edge = np.where(present, (body.shape[0] - 1 - body[::-1].argmax(axis=0)) * spacing_mm[0], np.nan)
    bent = [np.ptp(np.nanquantile(column, (0.05, 0.95))) for column in edge[present.mean(axis=1) > 0.9]]
    return float(sum(mm <= max(1.0, 0.5 * spacing_mm[0]) for mm in bent) * spacing_mm[1])


def _hu(raw: NDArray, body: NDArray[np.bool_], inside: NDArray, outside: NDArray, spacing_mm: Spacing) -> Facts:
    air = outside[outside >= PADDING_BELOW_HU]
    values = np.unique(inside[(inside > -900) & (inside < 900)])
    every = _every(BRIGHT_APART_MM, spacing_mm, raw.shape)
    voxel_ml = float(np.prod([mm * step.step for mm, step in zip(spacing_mm, every, strict=True)])) / 1000
    all_inside = values_inside(raw[every], body[every])
    top = float(max(inside.max(), all_inside.max()))
    bright = all_inside[all_inside > min(top - 101, METAL_HU)]
    near, further = int((bright > top - 50).sum()), int(((bright <= top - 50) & (bright > top - 100)).sum())
    return {
        "air_hu": float(np.quantile(air, 0.1)) if air.size >= 100 else None,
        "tissue_hu": float(np.quantile(inside, 0.75)),
        "top_hu": top,
        "at_top": float((inside > top - 1).mean()),
        # Where the scale ends within metal, the last values are more frequent than those below them.
        "saturated_ml": near * voxel_ml if top > SATURATED_ABOVE_HU and near >= max(40, further) else 0.0,
        "metal_ml": int((bright > METAL_HU).sum()) * voxel_ml,
        "padding": float((raw[every] < PADDING_BELOW_HU).mean()),
        "step_hu": float(np.quantile(np.diff(values), 0.05)) if values.size > 2 else None,
    }


def _brightness(raw: NDArray, body: NDArray[np.bool_], spacing_mm: Spacing) -> Facts:
    """Uneven brightness by the coil, and skewness of the values deep inside, in the upper 120 mm of an MR.

    The skewness, ``contrast``, is negative where fluid is darkest (T1) and positive where it is brightest (T2).
    """
    areas = body.sum(axis=(0, 1))
    top = int(np.flatnonzero(areas >= LARGE * areas.max())[-1]) + 1 if areas.any() else 0
    part = slice(max(0, top - round(HEAD_MM / spacing_mm[2])), top)
    raw, depth = raw[:, :, part], depth_in_body(body[:, :, part], spacing_mm)
    deep, very_deep = depth > DEEP_MM, raw[depth > VERY_DEEP_MM]
    contrast = None
    if very_deep.size >= FEWEST_DEEP:
        low, middle, high = np.quantile(very_deep, (0.03, 0.5, 0.97))
        contrast = float((high + low - 2 * middle) / max(high - low, 1e-6))
    return {"brightness_ratio": _uneven(raw, deep) if deep.sum() >= FEWEST_DEEP else None, "contrast": contrast}


def _uneven(raw: NDArray, where: NDArray[np.bool_]) -> float:
    """Ratio of brightness at 95 to that at 5 % of a plane fitted to the logarithm of the values.

    The fit narrows to a single tissue, so that anatomy is not taken for the coil's effect. On phantoms it correlates by
    0.97 with the field in the white matter; N4 would take seconds per volume.
    """
    values, places = raw[where], np.argwhere(where).astype(float)
    step = max(1, values.size // 8000)
    values, places = values[::step], places[::step]
    bright = values > max(float(np.median(values)) / 2, 1e-6)
    logs, places = np.log(values[bright]), places[bright]
    if logs.size < FEWEST_DEEP / 2:
        return 1.0
    terms = np.c_[np.ones_like(logs), (places - places.mean(axis=0)) / np.maximum(np.ptp(places, axis=0), 1)]
    plane = np.full_like(logs, np.median(logs))
    for spread in SPREADS:
        root = 1 / (1 + ((logs - plane) / spread) ** 2)
        plane = terms @ np.linalg.lstsq(terms * root[:, None], logs * root, rcond=None)[0]
    low, high = np.quantile(plane, (0.05, 0.95))
    return float(np.exp(high - low))


def _thumbnail(case: Prepared) -> str:
    """The body's box reduced to 14 x 14 x 14 grey values, as hexadecimal digits."""
    image = case.image.as_tensor()[:1]
    box = image[(slice(None), *bounding_box(case.mask.numpy()[0]))]
    small = functional.adaptive_avg_pool3d(box, THUMBNAIL)
    return ((small + 1) * 127.5).round().to(torch.uint8).numpy().tobytes().hex()
