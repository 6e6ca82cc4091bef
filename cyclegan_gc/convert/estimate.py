"""Estimate of time and memory for a batch, from the headers and a timed pass through the network."""

import time
from collections.abc import Sequence
from math import prod

import numpy as np
import torch

from cyclegan_gc.convert.job import Job
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.formats.sources import source_grid
from cyclegan_gc.inference import fine_enough, wanted_pixel_mm
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.grid import pixel_mm
from cyclegan_gc.trained_model import Member

LONG = 10
"""Smallest number of cases for which an estimate is made."""
SECONDS_PER_VOXEL = 1.5e-7
"""Time for reading, preparing, checking and writing."""
BYTES_PER_VOXEL = 80
"""Peak memory per voxel of one volume, while three equal volumes are read, translated and written."""
TIMED_PIXELS = 192
TIMED_PASSES = 4

Spacing = tuple[float, float, float]
Grid = tuple[tuple[int, ...], Spacing]
"""Shape of a volume, and its voxels (H, W, D) in mm."""


def estimate(jobs: Sequence[Job], members: Sequence[Member]) -> str:
    """A sentence with the number of cases, the time if none is finished yet, and the memory without the networks.

    Cases with an unreadable header are counted with no time.
    """
    grids = [grid for job in jobs if (grid := _grid(job))]
    voxels = [prod(shape) for shape, _ in grids]
    speeds = {id(member.translator): _seconds_per_pixel(member) for member in members}
    network = sum(
        speeds[id(member.translator)] * _pixels(shape, spacing_mm, member)
        for shape, spacing_mm in grids
        for member, is_fine in zip(members, fine_enough([spacing_mm] * len(members), members), strict=True)
        if is_fine
    )
    gigabytes = BYTES_PER_VOXEL * max(voxels, default=0) / 1e9
    return (
        f"{len(jobs)} cases, about {_in_words(network + SECONDS_PER_VOXEL * sum(voxels))} if none is finished yet, and "
        f"{gigabytes:.1f} GB of memory."
    )


def _grid(job: Job) -> Grid | None:
    try:
        shape, affine = source_grid(job.source)
    except VolumeError:
        return None
    across, along, up = to_ras(np.broadcast_to(False, shape), affine)[1]
    return shape, (along, across, up)


def _pixels(shape: tuple[int, ...], spacing_mm: Spacing, member: Member) -> float:
    """Pixels of whole slices at the pixel size of the network; an upper limit, since only the body is translated."""
    height, width = pixel_mm(spacing_mm, member.axis)
    wanted = wanted_pixel_mm(spacing_mm, member)
    return prod(shape) * (1.0 if wanted is None else height * width / wanted**2)


def _seconds_per_pixel(member: Member) -> float:
    passes, image = Passes(1), torch.zeros(1, member.translator.in_channels, TIMED_PIXELS, TIMED_PIXELS)
    marks = [time.perf_counter()]
    for _ in range(TIMED_PASSES):
        passes.run(member.translator.generator, image)
        marks.append(time.perf_counter())
    # The fastest pass: the first one includes the warm-up, and other programs may slow down the rest.
    return float(np.diff(marks).min()) / TIMED_PIXELS**2


def _in_words(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
