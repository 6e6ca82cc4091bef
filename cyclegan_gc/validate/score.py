"""Score of synthetic CT on slices without pairs; it chooses best.pt and ends a run early.

No true CT of the same patient is used. The parts look for different faults, because each alone can be
satisfied by a wrong picture: a copy of the MR has perfect edges and cycles, a shuffled CT has perfect histograms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt
from torch import Tensor

from cyclegan_gc.metrics import dice
from cyclegan_gc.metrics.histograms import shares, wasserstein
from cyclegan_gc.metrics.voxelwise import AIR_BELOW_HU, BONE_ABOVE_HU, mean_step
from cyclegan_gc.model.depth_histogram import DEPTHS
from cyclegan_gc.model.losses import gradient_correlation

BIN_HU = 25.0
TISSUES_HU = (AIR_BELOW_HU, BONE_ABOVE_HU)
"""Air below, bone above, soft tissue between, as the challenges of synthetic CT divide them."""
OUTLINE_HU = -400.0
SHARE_FLOOR = 0.01
"""A tissue of less than this share of the body counts as this much: ratios of smaller shares are noise."""

SCALES = {
    "gradient": 2.0,
    "cycle": 0.4,
    "depth_histogram_hu": 50.0,
    "tissues": 1.0,
    "outline": 0.2,
    "roughness": 2.0,
}
"""Value of each part that counts as one point.

The distance by depth weighs most: on phantoms it follows the true error best over checkpoints (study ``selection`` of
``scripts/ablation.py``). The other parts catch faults that this distance misses. This was measured
without ``loss.depth_histogram``; a run that is trained on that term has a low distance by design. Gradient correlation
alone misleads: it is best early in a training, when a synthetic CT is a recoloured MR."""

Image = NDArray[np.floating]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Slabs:
    """Slices ``(slabs, slices, H, W)``, neighbours side by side, with their body masks."""

    values: Image
    mask: Mask

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Depth below the skin as a share of the greatest in the slice: single slices are all that is known."""
        return relative_depth(self.mask)

    def shells(self) -> Iterator[Mask]:
        """The pixels of each shell of depth."""
        return ((self.depth > lower) & (self.depth <= upper) for lower, upper in pairwise(DEPTHS))

    @staticmethod
    def of(images: Tensor, mask: Tensor, slices: int) -> "Slabs":
        """From ``(N, 1, H, W)`` whose every ``slices`` images are neighbours."""
        shape = (-1, slices, *images.shape[-2:])
        return Slabs(images.float().cpu().numpy().reshape(shape), mask.cpu().numpy().reshape(shape))


@dataclass(frozen=True)
class RealCT:
    """Figures of real CTs at the heights of the slices that are judged."""

    profile: NDArray[np.float64]
    """Histogram of HU in each shell of depth, ``(shells, bins)``, rows summing to 1."""
    means_hu: NDArray[np.float64]
    """Mean HU of each shell."""
    shares: NDArray[np.float64]
    """Share of air, soft tissue and bone in the body."""
    roughness: float
    """See :func:`roughness`."""

    @staticmethod
    def of(slabs: Slabs, window_hu: tuple[float, float]) -> "RealCT":
        """From slices of real CTs in HU."""
        histograms, edges = profile(slabs, window_hu), _edges(window_hu)
        means = histograms @ ((edges[1:] + edges[:-1]) / 2)
        return RealCT(histograms, means, tissue_shares(slabs), roughness(slabs))


def unpaired_parts(
    mr: Slabs, reconstructed_mr: Slabs, sct: Slabs, real: RealCT, window_hu: tuple[float, float]
) -> dict[str, float]:
    """The parts of the score; for all of them lower is better and 0 is perfect.

    Args:
        mr: input in [-1, 1].
        reconstructed_mr: the input after the way there and back.
        sct: its synthetic CT in HU.
        real: of real CTs.
        window_hu: CT window of the networks.

    Returns:
        ``gradient``: 1 - gradient correlation of MR and synthetic CT in the body (absolute, central), 0 to about 1.
        ``cycle``: mean absolute error of the way there and back in the body, in units of [-1, 1].
        ``depth_histogram_hu``: distance (Wasserstein) of HU to real CTs at the same depth below the skin, in HU.
        ``histogram_hu``: the same over the whole body.
        ``tissues``: mean over air, soft tissue and bone of how far their shares are from real CTs', as |log2 ratio|.
        ``outline``: 1 - Dice of the MR's body and what is not air in the synthetic CT, holes filled.
        ``roughness``: by how much steps from slice to slice exceed those of real CTs, as log2 of the ratio.
    """
    ratios = np.maximum(tissue_shares(sct), SHARE_FLOOR) / np.maximum(real.shares, SHARE_FLOOR)
    errors = np.abs(reconstructed_mr.values - mr.values)[mr.mask]
    own, weights, edges = profile(sct, window_hu), _weights(sct), _edges(window_hu)
    return {
        "gradient": 1 - _mean_gradient_correlation(mr, sct),
        "cycle": float(errors.mean()) if errors.size else 0.0,
        "depth_histogram_hu": depth_histogram_distance(own, real, window_hu),
        "histogram_hu": float(wasserstein(weights @ own, weights @ real.profile, edges)),
        "tissues": float(np.abs(np.log2(ratios)).mean()),
        "outline": 1 - float(_outline_dice(sct)),
        "roughness": max(0.0, float(np.log2(max(roughness(sct), 1e-6) / max(real.roughness, 1e-6)))),
    }


def combined_score(parts: dict[str, float]) -> float:
    """One number from :func:`unpaired_parts`; lower is better."""
    return sum(parts[name] / scale for name, scale in SCALES.items())


def depth_histogram_distance(own: NDArray[np.float64], real: RealCT, window_hu: tuple[float, float]) -> float:
    """Mean over the shells of depth of the distance (Wasserstein) from :func:`profile` to that of real CTs, in HU."""
    return float(wasserstein(own, real.profile, _edges(window_hu)).mean())


def expected_by_depth(slabs: Slabs, real: RealCT) -> Image:
    """Mean HU of real CTs at the depth of each pixel; 0 outside the body."""
    shells = np.digitize(slabs.depth, DEPTHS, right=True)
    return np.array([0.0, *real.means_hu, 0.0])[shells] * slabs.mask


def profile(slabs: Slabs, window_hu: tuple[float, float]) -> NDArray[np.float64]:
    """Histogram of the values in each shell of depth below the skin, ``(shells, bins)``, rows summing to 1."""
    return np.stack([shares(slabs.values[shell], _edges(window_hu)) for shell in slabs.shells()])


def tissue_shares(slabs: Slabs) -> NDArray[np.float64]:
    """Shares of air, soft tissue and bone in the body; they sum to 1."""
    inside = slabs.values[slabs.mask]
    counts = np.histogram(inside, (-np.inf, *TISSUES_HU, np.inf))[0]
    return counts / max(1, counts.sum())


def roughness(slabs: Slabs) -> float:
    """Mean step between neighbouring slices over the mean step between neighbouring pixels, in the body."""
    through, down, across = (mean_step(slabs.values, slabs.mask, axis) for axis in (1, 2, 3))
    return 2 * through / max(down + across, 1e-6)


def relative_depth(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to the outside as a share of the largest distance in its slice, in [0, 1].

    It is 0 outside the body. ``masks`` are ``(..., H, W)``; beyond their borders is outside.
    """
    slices = masks.reshape(-1, *masks.shape[-2:])
    return np.array([_slice_depth(mask) for mask in slices], dtype=np.float32).reshape(masks.shape)


def _weights(slabs: Slabs) -> NDArray[np.float64]:
    """Share of each shell in the body."""
    counts = np.array([np.count_nonzero(shell) for shell in slabs.shells()])
    return counts / max(1, counts.sum())


def _outline_dice(sct: Slabs) -> float:
    body = np.array([binary_fill_holes(values > OUTLINE_HU) for values in _each(sct.values)])
    return dice(body, sct.mask.reshape(body.shape)) or 0.0


def _mean_gradient_correlation(mr: Slabs, sct: Slabs) -> float:
    images = (torch.from_numpy(slabs.values.reshape(-1, 1, *slabs.values.shape[-2:])) for slabs in (mr, sct))
    one, other = images
    mask = torch.from_numpy(mr.mask.reshape(one.shape))
    return float(gradient_correlation(one, other / 1000, mask=mask).mean())


def _edges(window_hu: tuple[float, float]) -> NDArray[np.float64]:
    bins = max(1, round((window_hu[1] - window_hu[0]) / BIN_HU))
    return np.linspace(*window_hu, bins + 1)


def _each(stack: NDArray) -> Iterator[NDArray]:
    yield from stack.reshape(-1, *stack.shape[-2:])


def _slice_depth(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    depth = np.asarray(distance_transform_edt(np.pad(mask, 1)), dtype=np.float64)[1:-1, 1:-1]
    return depth / max(depth.max(), 1.0)
