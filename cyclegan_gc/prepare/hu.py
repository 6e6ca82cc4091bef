"""HU to the networks' range [-1, 1] and back: linear, or with more room for soft tissue."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from torch import Tensor

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.model.cyclegan import AIR

TensorLike = TypeVar("TensorLike", bound=Tensor)
SOFT_TISSUE = (-0.6, 0.4)
"""The part of [-1, 1] that soft tissue takes, where it has a range of its own."""


def from_hu(image: TensorLike, mask: Tensor, settings: PreprocessConfig) -> TensorLike:
    """HU to [-1, 1] as a new tensor: clipped at the window, air outside ``mask``, whose shape is the image's."""
    unit = _between_knots(image, *hu_knots(settings))
    return unit.masked_fill_(~mask, AIR)  # pyright: ignore[reportReturnType]


def to_hu(image: Tensor, settings: PreprocessConfig) -> Tensor:
    """[-1, 1] to HU; a new tensor."""
    hu, unit = hu_knots(settings)
    return _between_knots(image, unit, hu)


def hu_knots(settings: PreprocessConfig) -> tuple[list[float], list[float]]:
    """HU, and their values in [-1, 1]; straight lines join them."""
    low, high = settings.ct_window_hu
    if settings.soft_tissue_hu is None:
        return [low, high], [-1.0, 1.0]
    return [low, *settings.soft_tissue_hu, high], [-1.0, *SOFT_TISSUE, 1.0]


def _between_knots(image: Tensor, source: Sequence[float], target: Sequence[float]) -> Tensor:
    """Straight lines between the knots, constant beyond them."""
    result = image.clone().fill_(target[0])
    for (start, end), (low, high) in zip(pairwise(source), pairwise(target), strict=True):
        result.add_((image - start).div_(end - start).clamp_(0, 1).mul_(high - low))
    return result
