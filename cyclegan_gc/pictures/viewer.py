"""A page that shows one case slice by slice: smaller volumes and the script that draws them, in one HTML file."""

import json
import zlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool3d

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.pictures.pages import Html, element, page
from cyclegan_gc.pictures.planes import PLANES
from cyclegan_gc.pictures.tiles import BONE, BRAIN, SOFT_TISSUE, Scale
from cyclegan_gc.voxels import bounding_box

SPACING_MM = 2.0
"""Voxels of a page are not smaller, unless the source's are larger."""
MOST_VOXELS = 160
"""Along each axis."""
MOST_BYTES = 2_900_000
"""Bytes of a page's volumes; the voxels become larger until they fit."""
WINDOWS = {"bone": BONE, "brain": BRAIN, "soft tissue": SOFT_TISSUE}
TEMPLATE = Path(__file__).with_name("viewer.html")
NOTHING_FETCHED = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'\">"
)
"""Forbids the page to load or send anything."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layer:
    """A volume of a page."""

    name: str
    values: NDArray
    """(X, Y, Z)"""
    scale: Scale | None = None
    """Fixed grey levels or colours, ``gray`` or ``hot``. None for HU, which are shown in windows."""


def viewer_page(
    title: str,
    parts: Sequence[str],
    layers: Sequence[Layer],
    mask: NDArray[np.bool_],
    affine: NDArray,
    *,
    difference: bool = False,
) -> str:
    """HTML page of a case: its layers and an overlay of the first two, in three planes.

    Each value is the mean over the voxels of about 2 mm. The page needs no other file and no network.

    Args:
        title: heading of the page.
        parts: HTML above the pictures.
        layers: on one grid.
        mask: ``(X, Y, Z)``, the body; the page opens in its middle.
        affine: ``(4, 4)`` voxel index to RAS mm; only its axes and spacing are used.
        difference: show the last layer but one minus the last too, both in HU, inside the mask.
    """
    spacing_mm = SPACING_MM
    while True:
        volumes = _volumes(layers, mask, affine, spacing_mm, difference)
        # Names may hold "</script>"; in JSON "<" can be escaped.
        text = json.dumps(volumes).replace("<", "\\u003c")
        if len(text) <= MOST_BYTES:
            break
        spacing_mm *= 1.05 * (len(text) / MOST_BYTES) ** (1 / 3)
    size = " x ".join(f"{mm:.1f}" for mm in volumes["spacing_mm"])
    note = element("p", f"The voxels here are means over {size} mm; measure in the volume itself.")
    viewer = Html(TEMPLATE.read_text(encoding="utf-8").replace("VOLUMES", text))
    return page(title, [*parts, viewer, note], head=NOTHING_FETCHED)


def _volumes(
    layers: Sequence[Layer], mask: NDArray[np.bool_], affine: NDArray, spacing_mm: float, difference: bool
) -> dict[str, Any]:
    """Everything that the script reads; axes run to the right, front and top."""
    body, source_mm = to_ras(mask, affine)
    sides = np.array(body.shape) * source_mm
    wanted = np.ceil(sides / max(spacing_mm, sides.max() / MOST_VOXELS)).astype(int)
    right, front, up = np.minimum(wanted, body.shape).tolist()
    shape = (right, front, up)
    box = bounding_box(body)
    return {
        "shape": shape,
        "spacing_mm": [side / size for side, size in zip(sides, shape, strict=True)],
        "source_shape": body.shape,
        "middle": [
            (place.start + place.stop - 1) // 2 * size // whole
            for place, size, whole in zip(box, shape, body.shape, strict=True)
        ],
        "planes": {name: axis for name, (axis, _) in PLANES.items()},
        "windows": {name: [scale.low, scale.high] for name, scale in WINDOWS.items()},
        "layers": [_layer(layer, shape, affine) for layer in layers],
        "mask": {"data": _packed((_reduced(mask, shape, affine) >= 0.5).astype(np.uint8))} if difference else None,
    }


def _layer(layer: Layer, shape: Shape, affine: NDArray) -> dict[str, Any]:
    values, scale = _reduced(layer.values, shape, affine), layer.scale
    if scale is None:
        hu = np.rint(values.clip(-32768, 32767)).astype("<i2")
        return {"name": layer.name, "scale": None, "colours": "gray", "data": _packed(hu)}
    shares = ((values - scale.low) / max(scale.high - scale.low, 1e-6)).clip(0, 1)
    facts = {"name": layer.name, "scale": [scale.low, scale.high], "unit": scale.unit, "colours": scale.colours}
    return {**facts, "data": _packed(np.rint(255 * shares).astype(np.uint8))}


def _reduced(array: NDArray, shape: Shape, affine: NDArray) -> NDArray[np.float32]:
    """Means over the voxels of a volume, its axes turned to RAS."""
    turned = np.nan_to_num(np.ascontiguousarray(to_ras(array, affine)[0], dtype=np.float32))
    return adaptive_avg_pool3d(torch.from_numpy(turned)[None], shape)[0].numpy()


def _packed(values: NDArray) -> str:
    """Differences between neighbours, which need fewer bytes, compressed by zlib, in base64."""
    steps = np.diff(values.ravel(), prepend=values.dtype.type(0))
    # Level 1 takes a fifth of the time of level 6 for 5 % more bytes.
    return b64encode(zlib.compress(steps.tobytes(), 1)).decode("ascii")
