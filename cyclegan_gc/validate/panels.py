"""The pictures of a validation, as a radiologist reads them: front or top up, the patient's right at the left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.pictures.sheets import (
    BONE_HU,
    SOFT_TISSUE_HU,
    Pixels,
    colour_bar,
    coloured,
    drawn,
    enlarged,
    png_of,
    sheet,
    windowed,
    with_edges,
)
from cyclegan_gc.voxels import bounding_box

TILE = 224
"""Height of a picture in pixels."""
ERROR_HU = (0.0, 500.0)
NORMALISED = (-1.0, 1.0)
BINS = 60


@dataclass(frozen=True)
class Seen:
    """Slices of a validation, each ``(N, h, w)``, in the order of ``names``."""

    mr: NDArray
    sct_hu: NDArray
    mr_again: NDArray
    ct_hu: NDArray
    smr: NDArray
    ct_again_hu: NDArray
    pixel_mm: Sequence[tuple[float, float]]
    """Height and width of a pixel of each slice."""
    marks: str
    """What lies at the left of each: R for the patient's right, A for the front."""


@dataclass(frozen=True)
class TranslatedPair:
    """A synthetic and a true CT of one person on one grid, in HU: ``(X, Y, Z)`` to the right, front and top."""

    name: str
    mr: NDArray
    sct_hu: NDArray
    ct_hu: NDArray
    mask: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def mr_to_ct_sheet(seen: Seen, names: Sequence[str]) -> Pixels:
    """MR | sCT in two windows | MR again | edges of the MR on the sCT; a row a slice."""
    rows = []
    for mr, sct, again, pixel_mm in zip(seen.mr, seen.sct_hu, seen.mr_again, seen.pixel_mm, strict=True):
        shown = ((mr, NORMALISED), (sct, BONE_HU), (sct, SOFT_TISSUE_HU), (again, NORMALISED))
        grey, bone, soft, back = (_tile(windowed(image, window), pixel_mm) for image, window in shown)
        rows.append([grey, bone, soft, back, with_edges(bone, grey[..., 0])])
    titles = ["MR", _titled("sCT, bone", BONE_HU), _titled("sCT, soft", SOFT_TISSUE_HU), "MR again", "MR edges on sCT"]
    return sheet(titles, rows, names, [mark * 5 for mark in seen.marks])


def ct_to_mr_sheet(seen: Seen, names: Sequence[str]) -> Pixels:
    """CT | synthetic MR | CT again, the CTs in both windows; a row a slice."""
    titles = {
        _titled("CT, bone", BONE_HU): (seen.ct_hu, BONE_HU),
        _titled("CT, soft", SOFT_TISSUE_HU): (seen.ct_hu, SOFT_TISSUE_HU),
        "sMR": (seen.smr, NORMALISED),
        "CT again, bone": (seen.ct_again_hu, BONE_HU),
        "CT again, soft": (seen.ct_again_hu, SOFT_TISSUE_HU),
    }
    rows = [
        [_tile(windowed(images[n], window), pixel_mm) for images, window in titles.values()]
        for n, pixel_mm in enumerate(seen.pixel_mm)
    ]
    return sheet(list(titles), rows, names, [mark * len(titles) for mark in seen.marks])


def planes_sheet(mr: NDArray, sct_hu: NDArray, spacing_mm: tuple[float, float, float], name: str) -> Pixels:
    """Axial, coronal and sagittal plane through the middle: MR above, sCT in both windows below.

    Args:
        mr: ``(H, W, D)`` in [-1, 1], to the back, to the left and upwards.
        sct_hu: same shape.
        spacing_mm: of a voxel.
        name: of the case.
    """
    shown = (
        (mr, NORMALISED, f"MR of {name}"),
        (sct_hu, BONE_HU, _titled("sCT, bone", BONE_HU)),
        (sct_hu, SOFT_TISSUE_HU, _titled("sCT, soft tissue", SOFT_TISSUE_HU)),
    )
    rows = []
    for image, window, _ in shown:
        planes = _planes(windowed(image, window), spacing_mm)
        rows.append([_tile(plane, pixel_mm) for plane, pixel_mm in planes])
    return sheet(["axial", "coronal", "sagittal"], rows, [label for _, _, label in shown], ["RRA"] * len(rows))


def error_sheet(pairs: Sequence[TranslatedPair], errors_hu: Sequence[float]) -> Pixels:
    """MR | sCT | true CT | absolute error in the body with its colour bar; an axial and a coronal row a case."""
    rows, names = [], []
    for pair, mae in zip(pairs, errors_hu, strict=True):
        box = bounding_box(pair.mask)
        error = np.where(pair.mask, np.abs(pair.sct_hu.astype(np.float32) - pair.ct_hu), 0)
        limits = np.percentile(pair.mr[pair.mask], (0.5, 99.5))
        grey = windowed(pair.mr, (float(limits[0]), float(max(limits[1], limits[0] + 1e-6))))
        for axis, plane in ((2, "axial"), (1, "coronal")):
            at = (box[axis].start + box[axis].stop - 1) // 2
            pixel_mm = (pair.spacing_mm[1 if axis == 2 else 2], pair.spacing_mm[0])
            cuts = [
                np.take(image, at, axis).T[::-1, ::-1]
                for image in (grey, windowed(pair.sct_hu, BONE_HU), windowed(pair.ct_hu, BONE_HU), error)
            ]
            pictures = [*cuts[:3], coloured(cuts[3], ERROR_HU)]
            tiles = [_tile(picture, pixel_mm) for picture in pictures]
            rows.append([*tiles, colour_bar(tiles[-1].shape[0], ERROR_HU, "HU")])
            names.append(f"{pair.name}, {plane}, MAE {mae:.0f} HU")
    return sheet(
        ["MR", _titled("sCT, bone", BONE_HU), "true CT", "|sCT - true CT|", ""], rows, names, ["RRRR "] * len(rows)
    )


def histogram_picture(sct_hu: NDArray, real: Mapping[str, Any]) -> Pixels:
    """Shares of HU in the body, synthetic against the training CTs, on a logarithmic axis.

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


def save_pictures(folder: Path, step: int, pictures: Mapping[str, Pixels]) -> None:
    """Write the pictures of a step as PNG, making the folder; the main one is ``step_N.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in pictures.items():
        ending = "" if name == "mr_to_ct" else f"_{name}"
        with atomic_write(folder / f"step_{step:07d}{ending}.png") as file:
            file.write(png_of(pixels))


def _titled(name: str, window: tuple[float, float]) -> str:
    return f"{name} [{window[0]:.0f}, {window[1]:.0f}] HU"


def _tile(pixels: Pixels, pixel_mm: tuple[float, float]) -> Pixels:
    """A picture of square pixels, ``TILE`` high."""
    height, width = pixels.shape[0] * pixel_mm[0], pixels.shape[1] * pixel_mm[1]
    return enlarged(pixels, (TILE, max(1, round(TILE * width / height))))


def _planes(image: Pixels, spacing_mm: tuple[float, float, float]) -> list[tuple[Pixels, tuple[float, float]]]:
    """The middle planes of (H, W, D), upright, with the height and width of their pixels."""
    height, width, depth = spacing_mm
    rows, columns, slices = (size // 2 for size in image.shape)
    return [
        (image[:, :, slices], (height, width)),
        (image[rows].T[::-1], (depth, width)),
        (image[:, columns].T[::-1], (depth, height)),
    ]
