"""How values are spread at each depth below the skin: held alike between translations and real images, without pairs.

A translation and a real image of the other modality show different people, but at one height and one depth below the
skin they show the same tissues in about the same shares: scalp, skull, brain. A discriminator has to find that out;
here it is said.
"""

from itertools import pairwise

import torch
from torch import Tensor

DEPTHS = (0.0, 0.08, 0.16, 0.24, 0.36, 0.5, 1.0)
"""Shells of the body by depth below the skin, as shares of the greatest depth in the slice."""
QUANTILES = 33
LEAST_PIXELS = 30
"""A shell of fewer pixels in either image says nothing."""


def depth_histogram_loss(fake: Tensor, fake_depth: Tensor, real: Tensor, real_depth: Tensor) -> Tensor:
    """Distance (Wasserstein) of the values of two images within each shell of depth, mean over shells and samples.

    Distances are those between 33 quantiles from 2 to 98 %, so what fills less than 2 % of a shell is left to the other
    terms, and where in its shell a value lies does not count. The two images of a sample need not be of one size or
    person. Depths are counted in pixels, which should be about square.

    Args:
        fake: translations, ``(N, C, H, W)``.
        fake_depth: of each pixel below the skin as a share of the greatest in its slice, ``(N, S, H, W)``, 0 outside
            the body; C is a multiple of S, and the channels of a slice lie side by side.
        real: images of the modality that the translations are in, ``(N, C, H', W')``.
        real_depth: the same of them, ``(N, S, H', W')``.

    Returns:
        A scalar in units of the images, with a gradient towards ``fake`` alone; 0 where no shell has pixels enough.
    """
    kinds = fake.shape[1] // fake_depth.shape[1]
    of_samples = []
    for sample in range(len(fake)):
        shells = _shells(fake_depth[sample], real_depth[sample])
        distances = [
            _distance(fake[sample, kind::kinds][fake_shell], real[sample, kind::kinds][real_shell])
            for kind in range(kinds)
            for fake_shell, real_shell in shells
        ]
        of_samples.append(torch.stack(distances).mean() if distances else fake[sample].sum() * 0)
    return torch.stack(of_samples).mean()


def _shells(one: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Where each shell lies in both images, of those that have pixels enough."""
    shells = [tuple((depth > lower) & (depth <= upper) for depth in (one, other)) for lower, upper in pairwise(DEPTHS)]
    return [(a, b) for a, b in shells if min(int(a.sum()), int(b.sum())) >= LEAST_PIXELS]


def _distance(fake: Tensor, real: Tensor) -> Tensor:
    """Between two sets of values: mean absolute difference of their quantiles, from 2 to 98 %."""
    fake, real = (values if values.dtype == torch.float64 else values.float() for values in (fake, real.detach()))
    shares = torch.linspace(0.02, 0.98, QUANTILES, device=fake.device, dtype=fake.dtype)
    fake, real = torch.quantile(fake, shares), torch.quantile(real, shares)
    return (fake - real).abs().mean()
