"""Baselines without a network: the best single HU value, and the monotone map from MR to HU without pairs.

A network that beats neither has learnt nothing about anatomy; plausible pictures can have the error of a constant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.checkpoint import Histogram
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.model_files import public_name
from cyclegan_gc.trained_model import read_state

COUNTED_HU = (-1024, 3071)


@dataclass(frozen=True)
class HistogramModel:
    """Histogram matching of a checkpoint: the histograms of its training sets and its normalisation of MR."""

    mr: Histogram
    """Histogram of the training MR over normalised intensities in [-1, 1]."""
    ct: Histogram
    """Histogram of the training CT over HU."""
    settings: PreprocessConfig
    """The normalisation of the training."""
    name: str = ""
    """The checkpoint for people, such as "RUN/last.pt, step 3000"."""


def load_histogram_model(checkpoint: Path) -> HistogramModel:
    """The baseline from the histograms of the training sets that a checkpoint holds.

    Raises:
        UserError: if the file is not a checkpoint.
    """
    state = read_state(checkpoint)
    known = state["fingerprint"]
    return HistogramModel(
        known["mr_histogram"],
        known["ct_histogram"],
        PreprocessConfig(**state["config"]["preprocess"]),
        f"{public_name(checkpoint)}, step {state['step']}",
    )


def histogram_match(mr_normalised: NDArray, mr: Histogram, ct: Histogram) -> NDArray[np.float32]:
    """Apply the monotone map that turns the training MR's histogram into the training CT's.

    An intensity at quantile q of the training MR's body voxels becomes the HU at quantile q of the training CT's. This
    is the best that unpaired data allow without looking at a voxel's neighbours.

    Args:
        mr_normalised: any shape, in the unit of ``mr``'s edges; values beyond them count as the edge.
        mr: histogram of the training MR.
        ct: histogram of the training CT, in HU.

    Returns:
        HU, same shape; it never falls where the MR rises.

    Raises:
        ValueError: if a histogram is empty or its edges do not fit its counts.
    """
    mr_edges, mr_shares = _quantiles(mr)
    ct_edges, ct_shares = _quantiles(ct)
    return np.interp(np.interp(mr_normalised, mr_edges, mr_shares), ct_shares, ct_edges).astype(np.float32)


def count_hu(ct: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the mask's voxels at each whole HU from -1024 to 3071; values beyond count at the ends."""
    low, high = COUNTED_HU
    bins = np.rint(np.clip(ct[mask], low, high)).astype(np.int64) - low
    return np.bincount(bins, minlength=high - low + 1) / bins.size


def best_constant_hu(shares: Iterable[NDArray[np.float64]]) -> float:
    """The HU value with the lowest mean MAE over cases, to 1 HU: the median of all cases pooled with equal weight.

    It is chosen on the very CTs that it is scored on, so it is a generous baseline on purpose.

    Args:
        shares: `count_hu` of every case.
    """
    cumulative = np.cumsum(sum(shares))
    return float(COUNTED_HU[0] + np.searchsorted(cumulative, cumulative[-1] / 2))


def _quantiles(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The edges around all counted voxels, and the share of voxels below each edge, rising from 0 to 1."""
    edges, counts = (np.asarray(histogram[key], dtype=np.float64) for key in ("edges", "counts"))
    used = np.flatnonzero(counts)
    if edges.size != counts.size + 1 or not used.size:
        raise ValueError(f"a histogram needs counts and one edge more, got {counts.size} and {edges.size}")
    first, last = used[0], used[-1] + 1
    return edges[first : last + 1], np.append(0.0, np.cumsum(counts[first:last]) / counts.sum())
