"""Which translations of a case are fused, and how."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.config import Fusion
from cyclegan_gc.prepare.grid import pixel_mm
from cyclegan_gc.prepare.hu import from_hu, hu_knots, to_hu
from cyclegan_gc.prepare.preprocess import Prepared
from cyclegan_gc.trained_model import Member, Translator

COARSE_FACTOR = 2.0
"""Planes whose pixels are more than this many times as large as the finest plane's and the network's are too coarse."""


def without_coarse_planes(
    cases: Sequence[Prepared], members: Sequence[Member]
) -> tuple[list[Prepared], list[Member], list[str]]:
    """Cases and members without the planes that are too coarse and that nobody named, and a sentence on these."""
    fine = fine_enough([case.spacing_mm for case in cases], members)
    kept = [(case, member) for case, member, is_fine in zip(cases, members, fine, strict=True) if is_fine]
    coarse = sorted({member.axis for member in members} - {member.axis for _, member in kept})
    words = " and ".join(coarse).capitalize()
    notes = [f"{words} planes were left out: pixels of {max(cases[0].spacing_mm):.3g} mm."] if coarse else []
    return [case for case, _ in kept], [member for _, member in kept], notes


def fine_enough(spacings_mm: Sequence[tuple[float, float, float]], members: Sequence[Member]) -> list[bool]:
    """Whether each member translates a volume with voxels of this size (H, W, D): its plane was named or is fine."""
    both = list(zip(spacings_mm, members, strict=True))

    def coarsest_mm(spacing_mm: tuple[float, float, float], member: Member) -> float:
        return max(*pixel_mm(spacing_mm, member.axis), member.translator.preprocess.spacing_mm or 0)

    def limit_mm(own: Member) -> float:
        """Of the planes of one model, so that no model of an ensemble is lost."""
        generator = own.translator.generator
        return COARSE_FACTOR * min(coarsest_mm(*each) for each in both if each[1].translator.generator is generator)

    return [member.named or coarsest_mm(mm, member) <= limit_mm(member) for mm, member in both]


def in_range_of(volume: Tensor, own: Translator, first: Translator) -> Tensor:
    """A translation in the range of another model's networks, whose window may differ."""
    if own.direction == "ct_to_mr" or hu_knots(own.preprocess) == hu_knots(first.preprocess):
        return volume
    hu = to_hu(volume, own.preprocess)
    return from_hu(hu, torch.ones_like(hu, dtype=torch.bool), first.preprocess)


def fuse(
    first: Tensor, others: Iterable[Tensor], fusion: Fusion, in_unit: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor | None]:
    """Mean or median of volumes and their standard deviation; None for it where there is one volume only.

    The mean is taken in the networks' range, where soft tissue has as much room as the rest: in HU, bone in one volume
    of three would outvote soft tissue in two. For it the others are never held together (Welford 1962).

    Args:
        first: in the networks' range.
        others: in the networks' range.
        fusion: how they are fused.
        in_unit: from the networks' range to the unit of the results.
    """
    if fusion == "median":
        stack = in_unit(torch.stack([first, *others]))
        spread = stack.std(dim=0, correction=0) if len(stack) > 1 else None
        return torch.from_numpy(np.median(stack.numpy(), axis=0)), spread
    count, total, mean, squares = 1, first, in_unit(first), None
    for count, other in enumerate(others, start=2):
        total = total + other
        value = in_unit(other)
        change = value - mean
        mean = mean + change / count
        squares = (0 if squares is None else squares) + change * (value - mean)
    return in_unit(total / count), None if squares is None else (squares / count).sqrt()
