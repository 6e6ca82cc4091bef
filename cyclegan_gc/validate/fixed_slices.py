"""The fixed slices of every validation: their translations, the score and the figures of the watchdog."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cyclegan_gc.config import LossConfig
from cyclegan_gc.data.planes import Stack, upright
from cyclegan_gc.data.reading import read
from cyclegan_gc.inference import translate_slices
from cyclegan_gc.model.cyclegan import Batch, Translations, consistency_losses
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.score import RealCT, Slabs, combined_score, unpaired_parts
from cyclegan_gc.validate.watchdog import validation_figures

HEIGHTS = np.linspace(0.15, 0.85, 8)
"""Relative heights of the slabs in the body."""
SLAB = 3
"""Neighbouring slices of a slab that are judged."""
REAL_CASES = 32
"""Real CTs, at most, that synthetic CT is compared with."""
SLICES_A_PASS = 8


@dataclass(frozen=True)
class FixedSlices:
    """Slabs of the held-out cases and figures of real CTs at the same heights; on the CPU."""

    mr: Tensor
    """(N, contrasts, h, w); a model of 2.5-D also has the slices beside each slab."""
    mr_mask: Tensor
    """(N, 1, h, w)."""
    ct: Tensor
    ct_mask: Tensor
    judged: Tensor
    """Indices of the 24 slices that are judged; the others are their neighbours."""
    real: RealCT
    """Figures of real CTs, the training cases among them."""
    mr_stacks: tuple[Stack, ...]
    """Case of each MR slab."""
    ct_stacks: tuple[Stack, ...]
    """Case of each CT slab."""


@dataclass(frozen=True)
class Look:
    """Figures and pictures of one validation of the fixed slices."""

    figures: dict[str, float]
    """Every consistency term, the parts of the score, ``score`` (lower is better), and the watchdog's figures."""
    batch: Batch
    """The judged slices (24, 1, h, w), the first of several contrasts."""
    images: Translations
    """Their translations, as ``convert`` would write them."""
    by_case: dict[str, dict[str, float]]
    """Parts of the score and ``score`` of each MR case, under a name that must not leave the run folder."""


def fixed_slices(
    mr: Sequence[Stack],
    ct: Sequence[Stack],
    all_ct: Sequence[Stack],
    crop: tuple[int, int],
    translator: Translator,
) -> FixedSlices:
    """Slabs spread over cases and heights, padded or cut to ``crop``.

    Args:
        mr: held-out cases, each in every plane.
        ct: held-out cases.
        all_ct: real CTs to compare with.
        crop: height and width of the slices.
        translator: with the settings of the run.
    """
    # A slice and its neighbours are means over their own neighbours, there and back.
    margin, settings = 4 * translator.context, translator.preprocess
    (mr_images, mr_mask), (ct_images, ct_mask) = slabs(mr, crop, margin), slabs(ct, crop, margin)
    chosen = [all_ct[n] for n in np.unique(np.linspace(0, len(all_ct) - 1, REAL_CASES).round().astype(int))]
    images, masks = zip(*(slabs([stack], crop) for stack in chosen), strict=True)
    real = Slabs.of(to_hu(torch.cat(images), settings), torch.cat(masks), SLAB)
    return FixedSlices(
        mr_images,
        mr_mask,
        ct_images,
        ct_mask,
        torch.arange(len(mr_images)).view(len(HEIGHTS), -1)[:, margin : margin + SLAB].flatten(),
        RealCT.of(real, settings.ct_window_hu),
        *(tuple(_one_a_height(each)) for each in (mr, ct)),
    )


def look_at(fixed: FixedSlices, translator: Translator, loss: LossConfig) -> Look:
    """Translate the fixed slices there and back and judge the result.

    Args:
        fixed: from :func:`fixed_slices`.
        translator: of both directions.
        loss: form of the gradient correlation.
    """
    batch, images = _translated(fixed, translator)
    terms = consistency_losses(
        batch, images, gradient_mode=loss.gradient_mode, gradient_operator=loss.gradient_operator
    )
    batch, images = _first_contrast(batch), _first_contrast(images)
    settings = translator.preprocess
    mr, back = (Slabs.of(image, batch.mr_mask, SLAB) for image in (batch.real_mr, images.rec_mr))
    sct = Slabs.of(to_hu(images.fake_ct, settings), batch.mr_mask, SLAB)
    parts = unpaired_parts(mr, back, sct, fixed.real, settings.ct_window_hu)
    figures = {name: float(term) for name, term in terms.items()}
    watched = validation_figures(batch, images, sct, fixed.real, settings.ct_window_hu)
    by_case = {}
    for case in dict.fromkeys(stack.name for stack in fixed.mr_stacks):
        own = [n for n, stack in enumerate(fixed.mr_stacks) if stack.name == case]
        seen = [Slabs(each.values[own], each.mask[own]) for each in (mr, back, sct)]
        its = unpaired_parts(seen[0], seen[1], seen[2], fixed.real, settings.ct_window_hu)
        by_case[case] = {**its, "score": combined_score(its)}
    return Look({**figures, **parts, "score": combined_score(parts), **watched}, batch, images, by_case)


def _translated(fixed: FixedSlices, translator: Translator) -> tuple[Batch, Translations]:
    """The judged slices and their translations there and back."""
    mr_to_ct, ct_to_mr, context = translator.generator, translator.back, translator.context
    assert ct_to_mr is not None, "a model of the unpaired objective has both directions"
    passes, kept = Passes(SLICES_A_PASS), fixed.judged
    fake_ct = translate_slices(mr_to_ct, fixed.mr, fixed.mr_mask, context, passes)
    fake_mr = translate_slices(ct_to_mr, fixed.ct, fixed.ct_mask, context, passes)
    rec_mr = translate_slices(ct_to_mr, fake_ct, fixed.mr_mask, context, passes)
    rec_ct = translate_slices(mr_to_ct, fake_mr, fixed.ct_mask, context, passes)
    batch = Batch(fixed.mr[kept], fixed.ct[kept], fixed.mr_mask[kept], fixed.ct_mask[kept])
    return batch, Translations(fake_ct[kept], fake_mr[kept], rec_mr[kept], rec_ct[kept])


def _first_contrast(tensors: Any) -> Any:
    """A batch or its translations with the first of several contrasts alone."""
    return type(tensors)(**{name: value[:, :1] for name, value in vars(tensors).items() if value is not None})


def slabs(stacks: Sequence[Stack], crop: tuple[int, int], margin: int = 0) -> tuple[Tensor, Tensor]:
    """A slab at each height, from one stack after the other: images (N, contrasts, h, w) and masks (N, 1, h, w).

    ``margin`` slices lie on both sides of the three of a slab.
    """
    chosen = list(zip(_one_a_height(stacks), HEIGHTS, strict=True))
    found = read([upright(stack, n, crop) for stack, height in chosen for n in _indices(stack, height, margin)])
    return found.image, found.mask


def _one_a_height(stacks: Sequence[Stack]) -> list[Stack]:
    """One stack for each height: few are repeated in turn; of many, evenly spaced ones are taken."""
    count = len(stacks)
    if count <= len(HEIGHTS):
        return [stacks[n % count] for n in range(len(HEIGHTS))]
    return [stacks[n] for n in np.linspace(0, count - 1, len(HEIGHTS)).round().astype(int)]


def _indices(stack: Stack, height: float, margin: int) -> list[int]:
    """Indices of a slab about ``height``; beyond the ends of the stack the last slice repeats."""
    last = stack.count - 1
    start = min(max(0, round(height * last) - SLAB // 2), max(0, last - SLAB + 1))
    return [min(max(start + n, 0), last) for n in range(-margin, SLAB + margin)]
