"""Pictures of one case: MR, synthetic CT, true CT and error, upright and as a radiologist reads them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.pictures.sheets import png, upright

DISPLAY_HU = (-300.0, 1000.0)
ERROR_HU = 500.0
ERROR = "error"


def case_panel(
    mr: NDArray | None,
    sct: NDArray,
    ct: NDArray,
    mask: NDArray[np.bool_],
    affine: NDArray,
    compared: Mapping[str, NDArray] | None = None,
) -> bytes:
    """PNG of the middle axial (above) and coronal slice: MR, synthetic CT, true CT, and ``sct - ct`` with a bar in HU.

    Anterior or superior is up and the patient's right at the left of the image. CTs are shown from -300 to 1000 HU,
    errors from -500 (blue) to 500 HU (red) inside the mask.

    Args:
        mr: ``(X, Y, Z)`` in any unit, or None for a panel without it.
        sct: same shape, in HU.
        ct: same shape, in HU.
        mask: same shape; the slices go through the middle of its extent.
        affine: ``(4, 4)`` voxel index to RAS mm; only its axes and spacing are used.
        compared: other methods' synthetic CTs by the methods' names, same shape, each shown with its own error.
    """
    named = {"MR": mr, "synthetic CT": sct, "true CT": ct, f"{ERROR}: synthetic − true": _error(sct, ct, mask)}
    for name, image in (compared or {}).items():
        named |= {name: image, f"{ERROR}: {name.removesuffix(' CT')} − true": _error(image, ct, mask)}
    images = {name: to_ras(image, affine)[0] for name, image in named.items() if image is not None}
    turned_mask, spacing_mm = to_ras(mask, affine)
    windows = {"MR": None if mr is None else _mr_window(mr, mask)}

    heights = _heights(turned_mask.shape, spacing_mm)
    width = 2.6 * len(images) + 0.7
    figure = Figure(figsize=(width, 2.6 * sum(heights) + 0.5), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False, height_ratios=heights)
    for row, (axis, rows) in zip(axes, ((2, 1), (1, 2)), strict=True):
        position = _middle(turned_mask, axis)
        for panel, (name, image) in zip(row, images.items(), strict=True):
            window = windows.get(name, (-ERROR_HU, ERROR_HU) if name.startswith(ERROR) else DISPLAY_HU)
            shown = _show(panel, image.take(position, axis=axis), spacing_mm[rows] / spacing_mm[0], window, name)
        figure.colorbar(shown, ax=row[-1], label="HU", fraction=0.05)
    for panel, name in zip(axes[0], images, strict=True):
        panel.set_title(name, fontsize=10)
    return png(figure)


def _error(image: NDArray, ct: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(mask, image.astype(np.float32) - ct, np.nan)


def _show(panel: Axes, plane: NDArray, aspect: float, window: tuple[float, float] | None, name: str):
    low, high = window or (None, None)
    colours = "bwr" if name.startswith(ERROR) else "gray"
    panel.set_axis_off()
    panel.text(0.02, 0.5, "R", transform=panel.transAxes, color="tab:orange", va="center", fontsize=9)
    return panel.imshow(upright(plane), cmap=colours, vmin=low, vmax=high, aspect=aspect)


def _middle(mask: NDArray[np.bool_], axis: int) -> int:
    used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    return int(used[0] + used[-1]) // 2 if used.size else mask.shape[axis] // 2


def _heights(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> list[float]:
    """Height over width of the axial and the coronal picture, kept within what a page can hold."""
    right, front, up = (size * spacing for size, spacing in zip(shape, spacing_mm, strict=True))
    return [min(max(extent / right, 0.2), 3.0) for extent in (front, up)]


def _mr_window(mr: NDArray, mask: NDArray[np.bool_]) -> tuple[float, float]:
    inside = mr[mask] if mask.any() else mr
    return float(np.min(mr)), float(np.percentile(inside, 99.5))
