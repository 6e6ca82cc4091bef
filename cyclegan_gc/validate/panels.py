"""The pictures of a validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.pictures.planes import View, middle_planes
from cyclegan_gc.pictures.sheets import Pixels, Row, drawn, png_of, sheet
from cyclegan_gc.pictures.tiles import BONE, CONTOUR_LEGEND, SOFT_TISSUE, Scale, Tile, mr_title, skin_and_bone
from cyclegan_gc.tracking import Picture, Table
from cyclegan_gc.validate.true_pairs import WholeMR

NORMALISED = Scale(-1, 1, "")
BINS = 60


@dataclass(frozen=True)
class Seen:
    """One slice there and back, each image ``(h, w)``, upright: an MR in [-1, 1], a CT in HU."""

    name: str
    source: NDArray
    translated: NDArray
    again: NDArray
    view: View


def mr_to_ct_sheet(slices: Sequence[Seen], mr_percentiles: tuple[float, float]) -> Pixels:
    """MR | sCT in two windows | contours of the sCT on the MR | MR again; a row for each slice."""
    rows = []
    for seen in slices:
        forth = _mr_and_sct(seen.source, seen.translated, seen.view, mr_percentiles)
        rows.append(Row(seen.name, [*forth, Tile("MR again", seen.again, NORMALISED, seen.view)]))
    return sheet(rows, [CONTOUR_LEGEND])


def ct_to_mr_sheet(slices: Sequence[Seen], mr_percentiles: tuple[float, float]) -> Pixels:
    """CT | synthetic MR | CT again, the CTs in both windows; a row for each slice."""
    rows = []
    for seen in slices:
        synthetic = Tile(f"s{mr_title(mr_percentiles)}", seen.translated, NORMALISED, seen.view)
        ct, again = _in_both_windows("CT", seen.source, seen.view), _in_both_windows("CT again", seen.again, seen.view)
        rows.append(Row(seen.name, [*ct, synthetic, *again]))
    return sheet(rows)


def planes_sheet(whole: WholeMR, name: str, mr_percentiles: tuple[float, float]) -> Pixels:
    """Axial, coronal and sagittal plane through the middle: MR | sCT in both windows | contours of the sCT on the MR.

    Args:
        whole: the MR and its synthetic CT.
        name: of the case.
        mr_percentiles: values of the MR that are -1 and 1.
    """
    rows = []
    for plane in middle_planes(np.ones(whole.mr.shape, bool), whole.affine):
        tiles = _mr_and_sct(plane.cut(whole.mr), plane.cut(whole.sct_hu), plane, mr_percentiles)
        rows.append(Row(f"{name}, {plane.title}", tiles))
    return sheet(rows, [CONTOUR_LEGEND])


def histogram_picture(sct_hu: NDArray, real: Mapping[str, Any]) -> Pixels:
    """Histogram of HU in the body, synthetic CTs and training CTs, on a logarithmic axis.

    Args:
        sct_hu: values in the body.
        real: ``edges`` in HU and ``counts``, as a fingerprint's ``ct_histogram``.
    """
    edges = np.linspace(real["edges"][0], real["edges"][-1], BINS + 1)
    middles = (np.asarray(real["edges"])[1:] + np.asarray(real["edges"])[:-1]) / 2
    shares = {
        "real CT (training)": np.histogram(middles, edges, weights=real["counts"])[0],
        "synthetic CT": np.histogram(np.clip(sct_hu, edges[0], edges[-1]), edges)[0],
    }
    figure = Figure(figsize=(7, 3.2), dpi=90)
    axes = figure.add_axes((0.09, 0.15, 0.89, 0.82))
    for (name, counts), colour in zip(shares.items(), ("black", "tab:orange"), strict=True):
        axes.stairs(100 * counts / max(counts.sum(), 1e-9), edges, label=name, color=colour, linewidth=1.5)
    axes.set_yscale("log")
    axes.set_ylim(1e-2, 100)
    axes.set_xlabel("HU")
    axes.set_ylabel("% of the body's voxels")
    axes.legend(frameon=False)
    return drawn(figure)


def save_pictures(folder: Path, step: int, shown: Mapping[str, Picture | Table]) -> dict[str, Path]:
    """Write the pictures of a step as PNG, making the folder; the main one is ``step_N.png``.

    Returns:
        Name and caption of each picture -> its file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, picture in shown.items():
        if isinstance(picture, Picture):
            kind = Path(name).name
            file = folder / f"step_{step:07d}{'' if kind == 'mr_to_ct' else f'_{kind}'}.png"
            with atomic_write(file) as stream:
                stream.write(png_of(picture.pixels))
            files[f"{kind.replace('_', ' ')}: {picture.caption}"] = file
    return files


def _mr_and_sct(mr: NDArray, sct_hu: NDArray, view: View, percentiles: tuple[float, float]) -> list[Tile]:
    source = Tile(mr_title(percentiles), mr, NORMALISED, view)
    contours = Tile("MR with contours", mr, NORMALISED, view, skin_and_bone(sct_hu))
    return [source, *_in_both_windows("sCT", sct_hu, view), contours]


def _in_both_windows(title: str, hu: NDArray, view: View) -> list[Tile]:
    windows = (("bone", BONE), ("soft", SOFT_TISSUE))
    return [Tile(f"{title}, {word} {scale}", hu, scale, view) for word, scale in windows]
