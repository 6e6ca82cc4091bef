"""Loss on the distribution of values at each depth below the skin; it needs no pairs.

A translation and a real image of the other modality show different people, but at one height and one depth below the
skin they show the same tissues in about the same shares: scalp, skull, brain. A discriminator must learn this; here it
is given.
"""

from itertools import pairwise

import torch
from torch import Tensor

DEPTHS = (0.0, 0.08, 0.16, 0.24, 0.36, 0.5, 1.0)
"""Shells of the body by depth below the skin, as shares of the greatest depth."""
QUANTILES = 33
LEAST_PIXELS = 30
"""Shells with fewer pixels in either image are left out."""


def depth_histogram_loss(fake: Tensor, fake_depth: Tensor, real: Tensor, real_depth: Tensor) -> Tensor:
    """Wasserstein distance between the values of two images in each shell of depth, mean over shells and samples.

    It is computed from 33 quantiles from 2 to 98 %, so tissue that fills less than 2 % of a shell is left to the other
    terms, and the place of a value within its shell does not matter. The two images of a sample may differ in size and
    person.

    Args:
        fake: translations, ``(N, C, H, W)``.
        fake_depth: depth of each pixel below the skin as a share of the greatest in its volume, ``(N, S, H, W)``, 0
            outside the body; C is a multiple of S, and the channels of a slice are neighbours.
        real: images in the same modality as the translations, ``(N, C, H', W')``.
        real_depth: depth in the real images' volumes, ``(N, S, H', W')``.

    Returns:
        A scalar in units of the images, with a gradient for ``fake`` only; 0 where no shell has enough pixels.
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
    """Masks of each shell in both images, for the shells that have enough pixels."""
    shells = [tuple((depth > lower) & (depth <= upper) for depth in (one, other)) for lower, upper in pairwise(DEPTHS)]
    return [(a, b) for a, b in shells if min(int(a.sum()), int(b.sum())) >= LEAST_PIXELS]


def _distance(fake: Tensor, real: Tensor) -> Tensor:
    """Mean absolute difference between the quantiles of two sets of values, from 2 to 98 %."""
    fake, real = (values if values.dtype == torch.float64 else values.float() for values in (fake, real.detach()))
    shares = torch.linspace(0.02, 0.98, QUANTILES, device=fake.device, dtype=fake.dtype)
    fake, real = torch.quantile(fake, shares), torch.quantile(real, shares)
    return (fake - real).abs().mean()
