"""Which translations of a case are fused, and how."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.config import Fusion
from cyclegan_gc.prepare.grid import pixel_mm
from cyclegan_gc.prepare.preprocess import Prepared
from cyclegan_gc.trained_model import Member

COARSE_FACTOR = 2.0
"""Planes with pixels this much larger than those of the finest plane, or of the network, are too coarse."""


def without_coarse_planes(
    cases: Sequence[Prepared], members: Sequence[Member]
) -> tuple[list[Prepared], list[Member], list[str]]:
    """Cases and members without the planes that are too coarse and that nobody named, and a sentence on these."""

    def coarsest_mm(case: Prepared, member: Member) -> float:
        return max(*pixel_mm(case.spacing_mm, member.axis), member.translator.preprocess.spacing_mm or 0)

    both = list(zip(cases, members, strict=True))
    limit = COARSE_FACTOR * min(coarsest_mm(*each) for each in both)
    kept = [(case, member) for case, member in both if member.named or coarsest_mm(case, member) <= limit]
    coarse = sorted({member.axis for _, member in both} - {member.axis for _, member in kept})
    words = " and ".join(coarse).capitalize()
    notes = [f"{words} planes were left out: pixels of {max(cases[0].spacing_mm):.3g} mm."] if coarse else []
    return [case for case, _ in kept], [member for _, member in kept], notes


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
