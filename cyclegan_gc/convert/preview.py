"""A look at one conversion: three planes of MR and synthetic CT, and the CT's outlines on the MR."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.metrics.consistency import gradient_correlation_map
from cyclegan_gc.metrics.voxelwise import BONE_ABOVE_HU
from cyclegan_gc.pictures.sheets import png, upright
from cyclegan_gc.voxels import values_inside

DISPLAY_HU = (-300.0, 1500.0)
SAMPLE = 300_000
UNCERTAINTY_HU = (0.0, 300.0)
EDGES_HU = {-400.0: "tab:cyan", BONE_ABOVE_HU: "tab:orange"}
"""Skin and bone, rising."""
PLANES = {"axial": (2, (0, 1)), "coronal": (1, (0, 2)), "sagittal": (0, (1, 2))}
"""Axis across each plane in a volume that runs to the right, front and top, and the axes of its columns and rows."""


def preview_png(
    mr: NDArray, hu: NDArray[np.int16], mask: NDArray[np.bool_], affine: NDArray, uncertainty: NDArray | None = None
) -> bytes:
    """PNG of an axial, a coronal and a sagittal slice through the middle of the body.

    Rows are MR, synthetic CT (-300 to 1500 HU), the MR with the CT's skin (-400 HU) and bone (250 HU) drawn on it, the
    gradient correlation of the two around each pixel and, where given, the uncertainty in HU. Front or top is up; the
    patient's right is at the left of axial and coronal slices, the front at the left of sagittal ones.

    Args:
        mr: ``(X, Y, Z)`` in any unit.
        hu: same shape.
        mask: same shape, the body.
        affine: ``(4, 4)`` voxel index to RAS mm; only its axes and spacing are used.
        uncertainty: same shape, in HU.
    """
    images = [to_ras(image, affine)[0] for image in (mr, hu, uncertainty) if image is not None]
    body, spacing_mm = to_ras(mask, affine)
    inside = values_inside(mr, mask, at_most=SAMPLE)
    low, high = float(mr.min()), float(np.percentile(inside, 99.5) if inside.size else mr.max())
    rows = len(images) + 2
    # A layout that is worked out takes longer than all the rest of the picture.
    figure = Figure(figsize=(9, 3 * rows))
    axes = figure.subplots(rows, 3, squeeze=False)
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=1 - 0.3 / (3 * rows), wspace=0.03, hspace=0.03)
    for column, (name, (across, (x, y))) in enumerate(PLANES.items()):
        at = _middle(body, across)
        planes = [upright(image[(slice(None),) * across + (at,)]) for image in images]
        aspect = spacing_mm[y] / spacing_mm[x]
        axes[0, column].set_title(name, fontsize=10)
        _show(axes[0, column], planes[0], aspect, (low, high), "MR")
        _show(axes[1, column], planes[1], aspect, DISPLAY_HU, "synthetic CT")
        _show(axes[2, column], planes[0], aspect, (low, high), "its skin and bone on the MR")
        if min(planes[1].shape) > 1:
            axes[2, column].contour(
                planes[1], sorted(EDGES_HU), colors=[EDGES_HU[v] for v in sorted(EDGES_HU)], linewidths=0.7
            )
            agreement = gradient_correlation_map(planes[1], planes[0], (low, high))
            _show_map(axes[3, column], agreement, aspect, (-1, 1), "do edges agree?", "coolwarm_r")
        if uncertainty is not None:
            _show_map(axes[4, column], planes[2], aspect, UNCERTAINTY_HU, "uncertainty [HU]", "magma")
    for panel in axes.flat:
        panel.set_axis_off()
    return png(figure)


def _show_map(panel: Axes, plane: NDArray, aspect: float, window: tuple[float, float], name: str, colours: str) -> None:
    """A plane in colours, with the key to them."""
    shown = _show(panel, plane, aspect, window, name, colours)
    key = panel.inset_axes((0.02, 0.06, 0.02, 0.3))
    panel.figure.colorbar(shown, cax=key)
    key.tick_params(labelsize=7, colors="tab:orange")


def _show(panel: Axes, plane: NDArray, aspect: float, window: tuple[float, float], name: str, colours: str = "gray"):
    panel.text(0.02, 0.98, name, transform=panel.transAxes, color="tab:orange", va="top", fontsize=8)
    return panel.imshow(plane, cmap=colours, vmin=window[0], vmax=max(window[1], window[0] + 1e-6), aspect=aspect)


def _middle(mask: NDArray[np.bool_], axis: int) -> int:
    used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    return int(used[0] + used[-1]) // 2 if used.size else mask.shape[axis] // 2
