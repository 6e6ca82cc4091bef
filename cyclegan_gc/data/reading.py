"""Reads planes from prepared volumes by trilinear interpolation, on the training device or from memory maps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.data.cache import DEPTH_SCALE, OUTSIDE, SCALE, PreparedVolume
from cyclegan_gc.data.planes import Plane
from cyclegan_gc.device import free_bytes
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.model.cyclegan import AIR

RESIDENT_SHARE = 0.25
"""Share of a GPU's free memory that the volumes may take with ``--data.resident auto``."""


@dataclass(frozen=True)
class PlaneImages:
    """Planes as they were read; S is a slice and its neighbours."""

    image: Tensor
    """(N, S * contrasts, h, w) float32 in [-1, 1], air outside the body; the contrasts of a slice are neighbours."""
    mask: Tensor
    """(N, S, h, w) bool, the body."""
    depth: Tensor | None = None
    """(N, S, h, w) float32: depth below the skin as a share of the greatest in the volume, 0 outside the body."""


@dataclass(frozen=True)
class Resident:
    """Volumes that are kept on the training device, one after the other."""

    values: Tensor
    """(voxels, contrasts) int16."""
    depths: Tensor | None
    """(voxels, 1) uint8."""
    starts: dict[Path, int]
    """First voxel of each volume."""

    @staticmethod
    def of(volumes: Sequence[PreparedVolume], device: torch.device, *, depths: bool) -> "Resident":
        """All of ``volumes`` on ``device``.

        Raises:
            TrainingStoppedError: if they do not fit.
        """
        values = [_open(volume.path) for volume in volumes]
        starts = np.cumsum([0, *(len(each) for each in values)]).tolist()
        first = {volume.path: start for volume, start in zip(volumes, starts, strict=False)}
        try:
            below = torch.cat([_open(volume.depth_path) for volume in volumes]).to(device) if depths else None
            return Resident(torch.cat(values).to(device), below, first)
        except torch.OutOfMemoryError as error:
            raise TrainingStoppedError(f"{device}: the volumes do not fit; give --data.resident false") from error


def are_kept_on(device: torch.device, volumes: Sequence[PreparedVolume], resident: bool | str) -> bool:
    """Whether volumes are to be kept on ``device`` instead of being read from the memory maps, as always on the CPU.

    With ``resident`` auto they are if they take at most a quarter of its free memory.
    """
    if device.type == "cpu" or resident != "auto":
        return resident is True and device.type != "cpu"
    files = [path for volume in volumes for path in (volume.path, volume.depth_path)]
    free = free_bytes(device)
    return free is not None and sum(path.stat().st_size for path in files) <= RESIDENT_SHARE * free


def read(planes: Sequence[Plane], kept: Resident | None = None, *, depths: bool = False) -> PlaneImages:
    """Read planes of one size: all at once from ``kept``, or one by one from the memory maps, on the CPU.

    One by one, the bits of a plane do not depend on the others.
    """
    if kept is not None:
        return _read(
            planes, kept.values, kept.depths if depths else None, [kept.starts[plane.volume.path] for plane in planes]
        )
    parts = []
    for plane in planes:
        below = _open(plane.volume.depth_path) if depths else None
        parts.append(_read([plane], _open(plane.volume.path), below, [0]))
    depth = torch.cat([part.depth for part in parts]) if depths else None
    return PlaneImages(torch.cat([part.image for part in parts]), torch.cat([part.mask for part in parts]), depth)


def _read(planes: Sequence[Plane], values: Tensor, depths: Tensor | None, starts: Sequence[int]) -> PlaneImages:
    """Planes from a flat tensor in which each one's volume begins at its place in ``starts``."""
    device, contrasts = values.device, values.shape[1]
    integer = torch.int32 if len(values) < 2**31 else torch.int64
    shapes = torch.tensor([plane.volume.shape for plane in planes], dtype=integer, device=device).T[
        ..., None, None, None
    ]
    # Each volume has a rim of air one voxel wide, in which everything beyond its borders lies.
    places = [
        torch.minimum(place.add_(1).clamp_min_(0), n + 1)
        for place, n in zip(_places(planes, device), shapes, strict=True)
    ]
    _, height, width = shapes + 2
    start = torch.tensor(starts, dtype=integer, device=device)[:, None, None, None]

    def voxel(depth: Tensor, row: Tensor, column: Tensor) -> Tensor:
        return start + (depth.to(integer) * height + row.to(integer)) * width + column.to(integer)

    # Values come from the volume itself, so that no air is mixed in where the body is cut off.
    inner = [torch.minimum(place.clamp_min(1), n) for place, n in zip(places, shapes, strict=True)]
    low = [torch.minimum(place.floor(), n) for place, n in zip(inner, shapes, strict=True)]
    first = voxel(*low)
    corners = torch.stack([first, first + width, first + height * width, first + (height + 1) * width])
    # A voxel and its neighbour in the row lie side by side, so four readings give all eight corners.
    side_by_side = values.as_strided((len(values) - 1, 2 * contrasts), (contrasts, 1))
    found = side_by_side.index_select(0, corners.flatten()).view(2, 2, *first.shape, 2, contrasts).float()
    upwards, backwards, leftwards = ((place - floor)[..., None] for place, floor in zip(inner, low, strict=True))
    found = torch.lerp(found[..., 0, :], found[..., 1, :], leftwards)
    below, above = torch.lerp(found[:, 0], found[:, 1], backwards)
    image = torch.lerp(below, above, upwards).div_(SCALE).clamp_(min=AIR)

    nearest = voxel(*(place.round() for place in places)).flatten()
    mask = (values[:, 0].index_select(0, nearest) != OUTSIDE).view_as(first)
    image = image.masked_fill_(~mask[..., None], AIR).movedim(-1, 2).flatten(1, 2)
    if depths is None:
        return PlaneImages(image, mask)
    return PlaneImages(image, mask, (depths[:, 0].index_select(0, nearest) / DEPTH_SCALE).view_as(first))


def _places(planes: Sequence[Plane], device: torch.device) -> list[Tensor]:
    """The (depth, height, width) of each pixel in its volume, each (N, S, h, w) float32."""
    affines = np.stack([plane.affine for plane in planes]).transpose(1, 0, 2)
    slices = np.array([plane.slices for plane in planes])
    height, width = (np.arange(side) for side in planes[0].size)
    found = []
    for along_slices, along_rows, along_columns, offset in (axis.T[..., None] for axis in affines):
        parts = (
            (along_slices * slices + offset)[:, :, None, None],
            (along_rows * height)[:, None, :, None],
            (along_columns * width)[:, None, None, :],
        )
        across, down, right = (torch.from_numpy(part).float().to(device) for part in parts)
        found.append(across + down + right)
    return found


# Each open map needs a file descriptor, and many systems allow 1024.
@lru_cache(maxsize=256)
def _open(path: Path) -> Tensor:
    """The voxels of a file, (voxels, contrasts), in a memory map."""
    try:
        # Copy-on-write, because torch warns of an array that cannot be written to; nothing writes.
        return torch.from_numpy(np.load(path, mmap_mode="c")).flatten(0, 2)
    except (OSError, ValueError, EOFError) as error:
        if not isinstance(error, OSError):  # damaged; without it the volume is prepared again
            path.unlink(missing_ok=True)
        raise TrainingStoppedError(
            f"{path}: a prepared volume is lost or damaged ({error}); go on with --resume auto, which prepares it again"
        ) from error
