"""Each volume prepared once: its slices in a memory-mapped file, keyed by content and settings."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.grid import mask_to_network, network_grid, to_network
from cyclegan_gc.data.preprocess import Modality, Prepared, prepare, to_hu, turn_back
from cyclegan_gc.data.volumes import read_volume
from cyclegan_gc.errors import UserError, VolumeError

FORMAT = 1
"""Raised whenever the same content and settings would give other slices."""
OUTSIDE = -32768
SCALE = 32767
BLANK_FRACTION = 0.1
"""Slices with less of the body than this part of the fullest slice's are left out."""
HISTOGRAM_EDGES = np.linspace(-1, 1, 513)


@dataclass(frozen=True)
class SliceStack:
    """The prepared slices of one case on disk."""

    path: Path
    """int16 ``.npy`` of shape (slices, h, w); -32768 outside the body, else the normalised value times 32767."""
    heights: tuple[float, ...]
    """Relative position of each slice in the body, 0 to 1 along the slice axis."""
    statistics: dict[str, Any]
    """Spacing in mm, foreground quantiles in the volume's unit and the histogram of normalised body values."""
    warnings: tuple[str, ...]
    """What the reader doubted, without the file's name."""


def cached_stack(path: Path, modality: Modality, settings: PreprocessConfig, folder: Path) -> SliceStack:
    """The stack of one volume, prepared now or found in ``folder``.

    Raises:
        VolumeError: if the volume cannot be used; one line with the path.
    """
    key = _key(path, modality, settings)
    pixels, facts = folder / f"{key}.npy", folder / f"{key}.json"
    if not (pixels.exists() and facts.exists()):
        _write_stack(path, modality, settings, pixels, facts)
    known = json.loads(facts.read_text())
    return SliceStack(pixels, tuple(known["heights"]), known["statistics"], tuple(known["warnings"]))


def decode(raw: np.ndarray) -> tuple[Tensor, Tensor]:
    """Stored slice (h, w) to image (1, h, w) float32 in [-1, 1] and mask (1, h, w) bool."""
    mask = torch.from_numpy(raw != OUTSIDE)[None]
    image = torch.from_numpy(raw.astype(np.float32) / SCALE)[None]
    return image.clamp_(-1, 1), mask


def fingerprint(mr: Sequence[SliceStack], ct: Sequence[SliceStack], settings: PreprocessConfig) -> dict[str, Any]:
    """What the training sets look like, in plain numbers: spacing, foreground quantiles, histograms in the body.

    ``mr_histogram`` has its edges in [-1, 1], ``ct_histogram`` in HU; both add up every case with equal weight.
    """
    edges_hu = to_hu(torch.from_numpy(HISTOGRAM_EDGES), settings).tolist()
    return {
        "mr": [stack.statistics["case"] for stack in mr],
        "ct": [stack.statistics["case"] for stack in ct],
        "mr_histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": _mean_histogram(mr)},
        "ct_histogram": {"edges": edges_hu, "counts": _mean_histogram(ct)},
    }


def _key(path: Path, modality: Modality, settings: PreprocessConfig) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    words = json.dumps([FORMAT, modality, asdict(settings), digest.hexdigest()], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _write_stack(path: Path, modality: Modality, settings: PreprocessConfig, pixels: Path, facts: Path) -> None:
    volume = read_volume(path)
    try:
        case = prepare(volume, modality, settings)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from None
    slices, heights = _slices(case, settings)
    body = slices[slices != OUTSIDE] / np.float32(SCALE)
    foreground = volume.array[turn_back(case.mask, case, settings).astype(bool)]
    quantiles = np.quantile(foreground, (0.01, 0.25, 0.5, 0.75, 0.99)).tolist()
    statistics = {
        "case": {"spacing_mm": case.spacing_mm, "shape": case.image.shape[1:], "quantiles": quantiles},
        "histogram": np.histogram(body, HISTOGRAM_EDGES)[0].tolist(),
    }
    try:
        pixels.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(pixels) as file:
            np.save(file, slices)
        write_text(facts, json.dumps({"heights": heights, "statistics": statistics, "warnings": volume.warnings}))
    except OSError as error:
        raise UserError(f"{pixels.parent}: cannot be written ({error.strerror}); give another --data.cache") from error


def _slices(case: Prepared, settings: PreprocessConfig) -> tuple[np.ndarray, list[float]]:
    grid = network_grid(case, settings.spacing_mm)
    mask = mask_to_network(case.mask, grid)[:, 0]
    image = to_network(case.image.as_tensor(), grid)[:, 0]
    area = mask.float().sum(dim=(1, 2))
    kept = (area >= BLANK_FRACTION * area.max()).nonzero()[:, 0]
    heights = (kept - kept[0]) / max(1, int(kept[-1] - kept[0]))
    stored = torch.where(mask, (image * SCALE).round(), OUTSIDE).to(torch.int16)
    return stored[kept].numpy(), heights.tolist()


def _mean_histogram(stacks: Sequence[SliceStack]) -> list[float]:
    counts = np.array([stack.statistics["histogram"] for stack in stacks], dtype=np.float64)
    return (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
