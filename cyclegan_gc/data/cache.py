"""The cache: each volume is prepared once, into memory-mapped files found by its content and settings."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.audit.facts import measure_case
from cyclegan_gc.audit.pairs import measure_pair
from cyclegan_gc.config import PreprocessConfig, SliceAxis
from cyclegan_gc.data.pairs import prepare_pair, read_pair
from cyclegan_gc.errors import UserError, named
from cyclegan_gc.formats.content import contents_hash, known_contents
from cyclegan_gc.formats.sources import Source
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.metrics.depth_profile import depth_profile, mean_profile
from cyclegan_gc.metrics.skull import skull
from cyclegan_gc.prepare.body import depth_below_skin
from cyclegan_gc.prepare.grid import DIRECTIONS, coarsen, seen_mm
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import AIR_HU, Prepared, load_prepared, turn_back
from cyclegan_gc.prepare.statistics import case_statistics
from cyclegan_gc.voxels import bounding_box

FORMAT = 10
"""Increased whenever the same content and settings would give other voxels or facts."""
OUTSIDE = -32768
"""Stored value outside the body."""
SCALE = 32767
DEPTH_SCALE = 255
BLANK_FRACTION = 0.1
"""Slices beyond the first and last ones with this share of the largest body area are left out."""
HISTOGRAM_EDGES = np.linspace(-1, 1, 513)

Kind = Modality | Literal["pair"]
"""Kind of a case; the volumes of a pair are its MR contrasts and, last, the CT on their grid."""
Shape = tuple[int, int, int]
Sizes = tuple[float, float, float]


@dataclass(frozen=True)
class PreparedVolume:
    """A case as training samples are read from it: on disk, cut to the body, with a rim of air one voxel wide.

    Lengths and sizes are those along (depth, height, width): upwards, to the back and to the left of the patient.
    """

    path: Path
    """int16 ``.npy`` of shape (D + 2, H + 2, W + 2, contrasts). A CT has one contrast; in a pair the CT is last. Values
    are -32768 outside the body (in a pair, the MR's body), else the normalised value times 32767."""
    shape: Shape
    """(D, H, W), without the rim."""
    voxel_mm: Sizes
    pixel_mm: Sizes
    """Pixel size of the network's slices along each axis; voxels are larger where the source's were."""
    spans: dict[SliceAxis, tuple[int, int]]
    """First and last slice of each plane with enough body in it, counted upwards, to the front and to the left."""
    statistics: dict[str, Any]
    """``case``: see :func:`case_statistics`; ``audit``: facts for the audit, for a pair its alignment; ``histogram`` of
    the normalised values in the body; of a CT also ``depth``, its :func:`depth_profile`, and ``skull``, None without a
    vault. With several contrasts all are those of the first."""
    warnings: tuple[str, ...]
    """Warnings of the reader, without the file's name."""
    content: str
    """Hash of the source files."""
    source: str = ""
    """Path of the case, of a pair that of its MR, if the caller gave it; it never leaves the run folder."""

    @property
    def name(self) -> str:
        """Name of the case for messages on this machine."""
        return self.source or self.path.stem

    @property
    def depth_path(self) -> Path:
        """uint8 ``.npy`` of shape (D + 2, H + 2, W + 2, 1): depth below the skin, as a share of the
        greatest times 255."""
        return self.path.with_name(f"{self.path.stem}_depth.npy")

    def count(self, axis: SliceAxis) -> int:
        """Number of slices in a plane."""
        first, last = self.spans[axis]
        return last - first + 1


def cached_volume(sources: Sequence[Source], kind: Kind, settings: PreprocessConfig, folder: Path) -> PreparedVolume:
    """A case, prepared now or found in ``folder``.

    Args:
        sources: the MR or the CT, or the MR and the CT of a pair.
        kind: kind of the case.
        settings: preprocessing.
        folder: the cache.

    Raises:
        VolumeError: if the volume cannot be used; one line with the path.
    """
    with _writing(folder):
        content = contents_hash(sources, folder)
    pixels = _file(content, kind, settings, folder)
    known = _known(pixels)
    if known is not None:
        return known
    prepared = _prepared(sources, kind, settings)
    with _writing(folder):
        _write(pixels, content, *prepared, settings)
        return _read(pixels)


def known_volume(
    sources: Sequence[Source], kind: Kind, settings: PreprocessConfig, folder: Path
) -> PreparedVolume | None:
    """A case if ``folder`` holds it, without reading the volume; else None."""
    content = known_contents(sources, folder)
    return None if content is None else _known(_file(content, kind, settings, folder))


def fingerprint(
    mr: Sequence[PreparedVolume], ct: Sequence[PreparedVolume], settings: PreprocessConfig
) -> dict[str, Any]:
    """Statistics of the training sets, in plain numbers: spacing, foreground quantiles, histograms in the body.

    ``mr_histogram`` has its edges in [-1, 1], ``ct_histogram`` in HU; both are sums over all volumes with equal weight.
    ``ct_depth`` is the mean :func:`cyclegan_gc.metrics.depth_profile.depth_profile` of the CTs, and ``ct_skulls`` are
    the measures of those with a skull vault (:class:`cyclegan_gc.metrics.skull.Skull`).
    """
    edges_hu = to_hu(torch.from_numpy(HISTOGRAM_EDGES), settings).tolist()
    return {
        "mr": [volume.statistics["case"] for volume in mr],
        "ct": [volume.statistics["case"] for volume in ct],
        "mr_histogram": {"edges": HISTOGRAM_EDGES.tolist(), "counts": _mean_histogram(mr)},
        "ct_histogram": {"edges": edges_hu, "counts": _mean_histogram(ct)},
        "ct_depth": _mean_depth_profile(ct),
        "ct_skulls": [volume.statistics["skull"] for volume in ct if volume.statistics["skull"]],
    }


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); give another --data.cache") from error


def _file(content: str, kind: Kind, settings: PreprocessConfig, folder: Path) -> Path:
    words = json.dumps([FORMAT, kind, asdict(settings), content], sort_keys=True)
    return folder / f"{hashlib.sha256(words.encode()).hexdigest()[:32]}.npy"


def _known(pixels: Path) -> PreparedVolume | None:
    """The volume of a file in the cache; its facts are written last, so it is whole if they are there."""
    volume = _read(pixels) if pixels.with_suffix(".json").exists() else None
    return volume if volume and pixels.exists() and volume.depth_path.exists() else None


def _read(pixels: Path) -> PreparedVolume:
    facts = json.loads(pixels.with_suffix(".json").read_text())
    facts["spans"] = {axis: tuple(span) for axis, span in facts["spans"].items()}
    sizes = {name: tuple(facts[name]) for name in ("shape", "voxel_mm", "pixel_mm", "warnings")}
    return PreparedVolume(pixels, **{**facts, **sizes})


def _write(
    pixels: Path, content: str, volume: Volume, case: Prepared, facts: dict[str, Any], settings: PreprocessConfig
) -> None:
    image, mask, voxel_mm, cut = _cut_out(case, settings.spacing_mm)
    stored = np.where(mask[..., None], np.rint(image * SCALE), OUTSIDE).astype(np.int16)
    histogram = np.histogram(stored[mask, 0] / np.float32(SCALE), HISTOGRAM_EDGES)[0].tolist()
    found = PreparedVolume(
        pixels,
        mask.shape,
        voxel_mm,
        tuple(seen_mm(mm, settings.spacing_mm) for mm in voxel_mm),  # pyright: ignore[reportArgumentType]
        {axis: _span(mask, axis) for axis in DIRECTIONS},
        {"case": case_statistics(case, volume.array), "histogram": histogram, **facts},
        tuple(volume.warnings),
        content,
    )
    depth = np.ceil(DEPTH_SCALE * depth_below_skin(mask, voxel_mm, cut)).astype(np.uint8)
    pixels.parent.mkdir(parents=True, exist_ok=True)
    for path, array, air in ((found.depth_path, depth[..., None], 0), (pixels, stored, OUTSIDE)):
        with atomic_write(path) as file:
            np.save(file, np.ascontiguousarray(np.pad(array, [(1, 1)] * 3 + [(0, 0)], constant_values=air)))
    known = {name: value for name, value in vars(found).items() if name not in ("path", "source")}
    write_text(pixels.with_suffix(".json"), json.dumps(known))


def _prepared(
    sources: Sequence[Source], kind: Kind, settings: PreprocessConfig
) -> tuple[Volume, Prepared, dict[str, Any]]:
    """A case as it was read, checked and prepared, and the statistics of its own kind."""
    first = sources[0]
    if kind != "pair":
        volume, case = load_prepared(first.readable_files(), kind, settings, first.frames)
        facts = {"audit": measure_case(volume, case, kind)}
        return volume, case, {**facts, **_anatomy(volume, case)} if kind == "ct" else facts
    volume = read_pair(*sources)
    with named(first.path):
        return volume, prepare_pair(volume, settings), {"audit": measure_pair(volume)}


def _cut_out(
    case: Prepared, wanted_mm: float | None
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Sizes, list[tuple[bool, bool]]]:
    """The body's box, upwards first: image (D, H, W, contrasts), mask, voxel size, and the sides that end the volume.

    An axis that is finer than the network's pixels is resampled to them.
    """
    box = bounding_box(case.mask[0].numpy())
    inside = (slice(None), *box)
    cut = [(side.start == 0, side.stop == n) for side, n in zip(box, case.mask.shape[1:], strict=True)]
    image, mask, spacing_mm = coarsen(case.image.as_tensor()[inside], case.mask[inside], case.spacing_mm, wanted_mm)
    height, width, depth = spacing_mm
    upwards = image.permute(3, 1, 2, 0).numpy(), mask[0].permute(2, 0, 1).numpy()
    return *upwards, (depth, height, width), [cut[2], *cut[:2]]


def _span(mask: NDArray[np.bool_], axis: SliceAxis) -> tuple[int, int]:
    along = DIRECTIONS[axis][:, 0]
    turned = np.moveaxis(mask, int(np.abs(along).argmax()), 0)[:: int(along.sum())]
    area = turned.sum(axis=(1, 2))
    kept = np.flatnonzero(area >= BLANK_FRACTION * area.max())
    return int(kept[0]), int(kept[-1])


def _anatomy(volume: Volume, case: Prepared) -> dict[str, Any]:
    """HU at each depth below the skin and the skull of a CT, on its own grid."""
    mask = turn_back(case.mask, case)
    hu = np.where(mask, volume.array, AIR_HU)
    head = skull(hu, mask, volume.affine)
    return {"depth": depth_profile(hu, mask, volume.affine).tolist(), "skull": list(head) if head else None}


def _mean_depth_profile(volumes: Sequence[PreparedVolume]) -> list[list[float]]:
    return mean_profile(np.array([volume.statistics["depth"] for volume in volumes])).tolist()


def _mean_histogram(volumes: Sequence[PreparedVolume]) -> list[float]:
    counts = np.array([volume.statistics["histogram"] for volume in volumes], dtype=np.float64)
    return (counts / counts.sum(axis=1, keepdims=True)).mean(axis=0).tolist()
