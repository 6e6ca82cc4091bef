"""Random grey values of training MRs, so that a model copes with other scanners."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from torch import Tensor

CURVE_SPREAD = 0.6
"""Standard deviation of the logarithm of a grey-value curve's slopes at full strength."""
PIECES = 4
"""Pieces of a curve, of equal width."""
BIAS_COEFFICIENT = 0.4
"""Largest coefficient of the bias field's logarithm at full strength."""
BIAS_DEGREE = 3
"""Degree of the field's logarithm, a polynomial of Legendre in height and width."""


class GreyValues(NamedTuple):
    """Another scanner's grey values: a rising curve for each contrast, and a bias field for all of them."""

    curves: NDArray[np.float64]
    """(contrasts, 4, pieces): coefficients of each piece's cubic polynomial, the highest power first."""
    bias: NDArray[np.float64]
    """(4, 4): coefficients of the field's logarithm."""


def random_grey_values(contrasts: int, strength: float, random: np.random.Generator) -> GreyValues:
    """Smooth rising maps of [0, 1] onto itself and a smooth field; ``strength`` goes from 0, no change, to 1."""
    bias = np.zeros((BIAS_DEGREE + 1, BIAS_DEGREE + 1))
    terms = np.add(*np.indices(bias.shape)) <= BIAS_DEGREE
    bias[terms] = BIAS_COEFFICIENT * strength * random.uniform(-1, 1, terms.sum())
    slopes = np.exp(CURVE_SPREAD * strength * random.standard_normal((contrasts, PIECES)))
    heights = np.pad(slopes.cumsum(axis=1) / slopes.sum(axis=1, keepdims=True), [(0, 0), (1, 0)])
    curves = np.array([PchipInterpolator(np.linspace(0, 1, PIECES + 1), each).c for each in heights])
    return GreyValues(curves, bias)


def as_another_scanner(images: Tensor, drawn: Sequence[GreyValues]) -> Tensor:
    """MRs with other grey values; air and black stay -1.

    All slices of a slab share curves and field. After the field each contrast is scaled back to its maximum before the
    field, as the normalisation of a scan would do.

    Args:
        images: ``(N, S * contrasts, h, w)`` in [-1, 1]; the contrasts of a slice are neighbours.
        drawn: the grey values of each image.
    """
    curves, bias = (torch.from_numpy(np.array(each)).to(images) for each in zip(*drawn, strict=True))
    height, width = (
        torch.from_numpy(legendre.legvander(np.linspace(-1, 1, n), BIAS_DEGREE)).to(images) for n in images.shape[-2:]
    )
    # One by one: a product of many matrices may round differently.
    field = torch.stack([(height @ each @ width.T).exp() for each in bias])[:, None, None]
    values = ((images + 1) / 2).unflatten(1, (-1, curves.shape[1]))  # (N, S, contrasts, h, w)
    piece = (values * PIECES).long().clamp_(max=PIECES - 1)
    along, changed = values - piece / PIECES, torch.zeros_like(values)
    for coefficients in curves.unbind(2):
        of_slices = coefficients[:, None].expand(-1, values.shape[1], -1, -1)
        changed = changed * along + of_slices.gather(-1, piece.flatten(3)).view_as(piece)
    brightest = changed.amax(dim=(1, 3, 4), keepdim=True)
    changed = changed * field
    changed = changed * (brightest / changed.amax(dim=(1, 3, 4), keepdim=True).clamp_min(1e-6))
    return (2 * changed - 1).clamp(-1, 1).flatten(1, 2)
