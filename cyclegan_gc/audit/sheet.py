"""A contact sheet: three planes of every volume, framed in the colour of what the audit thinks of it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cyclegan_gc.audit.checks import LEVELS, Level
from cyclegan_gc.audit.findings import Audited
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.pictures.sheets import png
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import Prepared, in_canonical_frame
from cyclegan_gc.voxels import bounding_box

COLOURS: dict[Level, str] = {"pass": "tab:green", "warn": "tab:orange", "fail": "tab:red"}
DISPLAY_HU = (-1000.0, 1000.0)
COLUMNS = 4
MOST_CASES = 400
MOST_PIXELS = 200
"""Along a side of a picture."""

Views = list[tuple[NDArray, NDArray[np.bool_], float]]
"""Axial, coronal and sagittal picture in [0, 1], the body in it, and the height of a pixel by its width."""

Shown = tuple[Audited, Level, Views | None]
"""A volume, what the audit thinks of it, and its pictures where it could be read."""


def views_of(volume: Volume, case: Prepared | None, modality: Modality) -> Views:
    """Three planes through the middle of the body (or of the volume where there is none)."""
    image = in_canonical_frame(volume)
    raw, spacing_mm = image.numpy()[0], np.linalg.norm(image.affine[:3, :3].numpy(), axis=0)
    body = case.mask.numpy()[0] if case is not None else np.zeros(raw.shape, dtype=bool)
    low, high = DISPLAY_HU if modality == "ct" and raw.min() < DISPLAY_HU[0] / 5 else np.percentile(raw, (1, 99.5))
    middle = [(side.start + side.stop) // 2 for side in bounding_box(body)]
    views = []
    for axis, (rows, columns) in ((2, (0, 1)), (0, (2, 1)), (1, (2, 0))):
        cut = (slice(None),) * axis + (middle[axis],)
        # Axes run to the back, to the left and upwards; only height needs turning, and rows before columns.
        planes = [plane[cut] if axis == 2 else plane[cut].T[::-1] for plane in (raw, body)]
        every = tuple(slice(None, None, -(-size // MOST_PIXELS)) for size in planes[0].shape)
        shown = np.clip((planes[0][every] - low) / max(high - low, 1e-6), 0, 1)
        aspect = spacing_mm[rows] * (every[0].step or 1) / (spacing_mm[columns] * (every[1].step or 1))
        views.append((shown.astype(np.float32), planes[1][every].copy(), float(aspect)))
    return views


def contact_sheet(cases: Sequence[Shown]) -> bytes:
    """PNG of all volumes (of very many the worst), MR above CT, each with its number and the end of its name.

    The body is outlined. Front or top is up; the patient's right is at the left of axial and coronal pictures, the
    front at the left of sagittal ones. CT is shown from -1000 to 1000 HU.
    """
    worst = sorted(enumerate(cases, start=1), key=lambda each: LEVELS.index(each[1][1]))[:MOST_CASES]
    groups = [
        [(n, *case) for n, case in sorted(worst, key=lambda each: each[0]) if case[0].modality == kind]
        for kind in ("mr", "ct")
    ]
    rows = [group[start : start + COLUMNS] for group in groups for start in range(0, len(group), COLUMNS)]
    figure = Figure(figsize=(4.5 * COLUMNS, 1.75 * max(1, len(rows))), facecolor="black")
    panels = figure.subplots(max(1, len(rows)), 3 * COLUMNS, squeeze=False)
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=0.995, wspace=0.02, hspace=0.04)
    for panel in panels.flat:
        panel.set_axis_off()
    for row, line in zip(rows, panels, strict=False):
        for place, (number, case, level, views) in enumerate(row):
            _show_case(line[3 * place : 3 * place + 3], f"{number}  {case.modality}/{case.name[-32:]}", level, views)
    return png(figure)


def _show_case(panels: Sequence[Axes], title: str, level: Level, views: Views | None) -> None:
    for panel, view in zip(panels, views or [None] * 3, strict=True):
        if view is None:
            panel.text(0.5, 0.5, "not read", transform=panel.transAxes, color="white", ha="center")
        else:
            image, body, aspect = view
            panel.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect)
            if body.any() and not body.all() and min(body.shape) > 1:
                panel.contour(body, [0.5], colors="tab:cyan", linewidths=0.4)
    first, last = panels[0].get_position(original=True), panels[-1].get_position(original=True)
    figure = panels[0].get_figure()
    frame = Rectangle(
        (first.x0, first.y0), last.x1 - first.x0, first.height, fill=False, edgecolor=COLOURS[level], linewidth=2
    )
    if figure is not None:
        figure.add_artist(frame)
        figure.text(
            first.x0 + 0.003, first.y1 - 0.002, title, color=COLOURS[level], fontsize=8, va="top", parse_math=False
        )
