"""What needs no network: the best single HU value and the best unpaired monotone map from MR to HU.

A network that does not beat both has learnt nothing about anatomy: plausible pictures have matched a constant's error.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.prepare.preprocess import AIR_HU, normalise_mr

COUNTED_HU = (-1024, 3071)


class Histogram(TypedDict):
    """Counts of body voxels of a training set between ``len(counts) + 1`` rising ``edges``."""

    edges: list[float]
    counts: list[float]


@dataclass(frozen=True)
class HistogramModel:
    """What histogram matching needs from a checkpoint: the training sets' histograms and their normalisation of MR."""

    mr: Histogram
    """Over normalised intensities in [-1, 1]."""
    ct: Histogram
    """Over HU."""
    normalise_mr: Callable[[NDArray, tuple[float, float, float]], NDArray]
    """From a raw MR ``(X, Y, Z)`` and its spacing in mm to the same shape in [-1, 1]."""


def load_histogram_model(checkpoint: Path) -> HistogramModel:
    """The baseline from a checkpoint's fingerprint of its training sets.

    Raises:
        UserError: if the file is not a checkpoint.
    """
    state = load_checkpoint(checkpoint)
    settings = PreprocessConfig(**state["config"]["preprocess"])
    known = state["fingerprint"]
    return HistogramModel(
        known["mr_histogram"], known["ct_histogram"], lambda array, spacing: normalise_mr(array, spacing, settings)
    )


def histogram_match(mr_normalised: NDArray, mr: Histogram, ct: Histogram) -> NDArray[np.float32]:
    """The monotone map that carries the training MR's histogram onto the training CT's, applied to an MR.

    An intensity below which a share q of the MR's body voxels lie becomes the HU below which the share q of the CT's
    lie: what unpaired data offer without looking at any neighbourhood.

    Args:
        mr_normalised: any shape, in the unit of ``mr``'s edges; values beyond them count as the edge.
        mr: histogram of the training MR.
        ct: histogram of the training CT, in HU.

    Returns:
        HU, same shape; never falling where the MR rises.

    Raises:
        ValueError: if a histogram is empty or its edges do not fit its counts.
    """
    mr_edges, mr_shares = _quantiles(mr)
    ct_edges, ct_shares = _quantiles(ct)
    return np.interp(np.interp(mr_normalised, mr_edges, mr_shares), ct_shares, ct_edges).astype(np.float32)


def count_hu(ct: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the mask's voxels at each whole HU from -1024 to 3071; values beyond count as the end."""
    low, high = COUNTED_HU
    bins = np.rint(np.clip(ct[mask], low, high)).astype(np.int64) - low
    return np.bincount(bins, minlength=high - low + 1) / bins.size


def best_constant_hu(shares: Iterable[NDArray[np.float64]]) -> float:
    """The HU value with the lowest MAE averaged over cases, to 1 HU: the median of the cases pooled with equal weight.

    It has seen the true CTs that it is scored on, which no method has: a generous baseline on purpose.

    Args:
        shares: `count_hu` of every case.
    """
    cumulative = np.cumsum(sum(shares))
    return float(COUNTED_HU[0] + np.searchsorted(cumulative, cumulative[-1] / 2))


def constant_ct(hu: float, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """One HU value inside the mask, air outside."""
    return np.where(mask, np.float32(hu), np.float32(AIR_HU))


def _quantiles(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The edges from the first to the last voxel counted, and the share of voxels below each, rising from 0 to 1."""
    edges, counts = (np.asarray(histogram[key], dtype=np.float64) for key in ("edges", "counts"))
    used = np.flatnonzero(counts)
    if edges.size != counts.size + 1 or not used.size:
        raise ValueError(f"a histogram needs counts and one edge more, got {counts.size} and {edges.size}")
    first, last = used[0], used[-1] + 1
    return edges[first : last + 1], np.append(0.0, np.cumsum(counts[first:last]) / counts.sum())
