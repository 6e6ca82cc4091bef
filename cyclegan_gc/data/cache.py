"""The slice cache: each volume is prepared once, into a memory-mapped file found by its content and settings."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.audit.facts import measure_case
from cyclegan_gc.audit.pairs import measure_pair
from cyclegan_gc.config import PreprocessConfig, SliceAxis
from cyclegan_gc.data.pairs import check_pair, prepare_pair
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.content import contents_hash, known_contents
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.prepare.grid import mask_to_network, network_grid, to_network
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import Prepared, load_prepared, load_volume, to_hu
from cyclegan_gc.prepare.statistics import case_statistics

FORMAT = 4
"""Increased whenever the same content and settings would give other slices or facts."""
OUTSIDE = -32768
"""Stored value outside the body."""
SCALE = 32767
BLANK_FRACTION = 0.1
"""Slices with less than this share of the largest body area are left out."""
SAMPLE = 300_000
HISTOGRAM_EDGES = np.linspace(-1, 1, 513)

Kind = Modality | Literal["pair"]
"""Kind of a case; the volumes of a pair are its MR contrasts and, last, the CT on their grid."""


@dataclass(frozen=True)
class SliceStack:
    """The prepared slices of one case in one plane on disk."""

    axis: SliceAxis
    path: Path
    """int16 ``.npy`` of shape (slices, contrasts, h, w). A CT has one contrast; in a pair the CT is last. Values are
    -32768 outside the body (in a pair, the MR's body), else the normalised value times 32767."""
    heights: tuple[float, ...]
    """Relative position of each slice in the body, 0 to 1 along the slice axis."""
    statistics: dict[str, Any]
    """``case``: see :func:`case_statistics`; ``audit``: facts for the audit, for a pair its alignment; ``histogram`` of
    the normalised values in the body. With several contrasts all are those of the first."""
    warnings: tuple[str, ...]
    """Warnings of the reader, without the file's name."""
    sources: tuple[Path, ...] = ()
    """The source files, if the caller gave them; their names never leave the run folder."""

    @property
    def name(self) -> str:
        """Name of the case for messages on this machine."""
        return str(self.sources[0]) if self.sources else self.path.stem


def cached_stacks(
    paths: Sequence[Path], kind: Kind, settings: PreprocessConfig, axes: Sequence[SliceAxis], folder: Path
) -> list[SliceStack]:
    """The stacks of one case, one for each plane, prepared now or found in ``folder``.

    Args:
        paths: the case's volume, its contrasts on one grid, or the contrasts and the CT of a pair.
        kind: kind of the case.
        settings: preprocessing of the slices.
        axes: planes of the slices.
        folder: the cache.

    Raises:
        VolumeError: if the volume cannot be used; one line with the path.
    """
    key = _key(paths, kind, settings, folder)
    missing: list[SliceAxis] = [axis for axis in axes if not all(file.exists() for file in _files(folder, key, axis))]
    if missing:
        _write_stacks(paths, kind, settings, missing, folder, key)
    return [_known_stack(axis, *_files(folder, key, axis)) for axis in axes]


def known_stacks(
    paths: Sequence[Path], kind: Kind, settings: PreprocessConfig, axes: Sequence[SliceAxis], folder: Path
) -> list[SliceStack] | None:
    """The stacks of one case if ``folder`` holds all of them, without reading a volume; else None."""
    content = known_contents(paths, folder)
    if content is None:
        return None
    files = [_files(folder, _key_of(content, kind, settings), axis) for axis in axes]
    if not all(file.exists() for pair in files for file in pair):
        return None
    return [_known_stack(axis, *pair) for axis, pair in zip(axes, files, strict=True)]


def decode(raw: np.ndarray) -> tuple[Tensor, Tensor]:
    """Stored slices (S, contrasts, h, w) to image (S * contrasts, h, w) in [-1, 1] and mask (S, h, w) bool.

    The contrasts of a slice are neighbours.
    """
    mask = torch.from_numpy(raw[:, 0] != OUTSIDE)
    image = torch.from_numpy(raw.astype(np.float32) / SCALE)
    return image.clamp_(-1, 1).flatten(0, 1), mask


def fingerprint(mr: Sequence[SliceStack], ct: Sequence[SliceStack], settings: PreprocessConfig) -> dict[str, Any]:
    """Statistics of the training sets, in plain numbers: spacing, foreground quantiles, histograms in the body.

    ``mr_histogram`` has its edges in [-1, 1], ``ct_histogram`` in HU; both are sums of all stacks with equal weight.
    """
    edges_hu = to_hu(torch.from_numpy(HISTOGRAM_EDGES), settings).tolist()
    return {
        "mr": [stack.statistics["case"] for stack in mr],
        "ct": [stack.statistics["case"] for stack in ct],
        "mr_histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": _mean_histogram(mr)},
        "ct_histogram": {"edges": edges_hu, "counts": _mean_histogram(ct)},
    }


def _key(paths: Sequence[Path], kind: Kind, settings: PreprocessConfig, folder: Path) -> str:
    try:
        return _key_of(contents_hash(paths, folder), kind, settings)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _key_of(content: str, kind: Kind, settings: PreprocessConfig) -> str:
    words = json.dumps([FORMAT, kind, asdict(settings), content], sort_keys=True)
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _not_writable(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder}: cannot be written ({error.strerror}); give another --data.cache")


def _files(folder: Path, key: str, axis: SliceAxis) -> tuple[Path, Path]:
    return folder / f"{key}_{axis}.npy", folder / f"{key}_{axis}.json"


def _known_stack(axis: SliceAxis, pixels: Path, facts: Path) -> SliceStack:
    known = json.loads(facts.read_text())
    return SliceStack(axis, pixels, tuple(known["heights"]), known["statistics"], tuple(known["warnings"]))


def _write_stacks(
    paths: Sequence[Path],
    kind: Kind,
    settings: PreprocessConfig,
    axes: Sequence[SliceAxis],
    folder: Path,
    key: str,
) -> None:
    volume, case, judged = _prepared(paths, kind, settings)
    case_facts = {"case": case_statistics(case, volume.array), "audit": judged}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for axis in axes:
            pixels, facts = _files(folder, key, axis)
            slices, heights = _slices(case, axis, settings)
            first = slices[:, 0]
            body = first[first != OUTSIDE] / np.float32(SCALE)
            statistics = {**case_facts, "histogram": np.histogram(body, HISTOGRAM_EDGES)[0].tolist()}
            with atomic_write(pixels) as file:
                np.save(file, slices)
            write_text(facts, json.dumps({"heights": heights, "statistics": statistics, "warnings": volume.warnings}))
    except OSError as error:
        raise _not_writable(folder, error) from error


def _prepared(paths: Sequence[Path], kind: Kind, settings: PreprocessConfig) -> tuple[Volume, Prepared, dict[str, Any]]:
    """A case as it was read, checked and prepared, and the facts that the audit judges."""
    if kind != "pair":
        volume, case = load_prepared(paths, kind, settings)
        return volume, case, measure_case(volume, case, kind)
    volume = load_volume(paths)
    try:
        check_pair(volume)
        return volume, prepare_pair(volume, settings), measure_pair(volume)
    except VolumeError as error:
        raise VolumeError(f"{paths[0]}: {error}") from None


def _slices(case: Prepared, axis: SliceAxis, settings: PreprocessConfig) -> tuple[np.ndarray, list[float]]:
    grid = network_grid(case, axis, settings.spacing_mm)
    mask = mask_to_network(case.mask, grid)
    image = to_network(case.image.as_tensor(), grid)
    area = mask.float().sum(dim=(1, 2, 3))
    kept = (area >= BLANK_FRACTION * area.max()).nonzero()[:, 0]
    heights = (kept - kept[0]) / max(1, int(kept[-1] - kept[0]))
    stored = torch.where(mask, (image * SCALE).round(), OUTSIDE).to(torch.int16)
    return stored[kept].numpy(), heights.tolist()


def _mean_histogram(stacks: Sequence[SliceStack]) -> list[float]:
    counts = np.array([stack.statistics["histogram"] for stack in stacks], dtype=np.float64)
    return (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
