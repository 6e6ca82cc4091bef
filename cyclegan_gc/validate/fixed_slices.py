"""A look at fixed slices by the generators' moving averages: consistency figures, the score, and the score by case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from torch import Tensor

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.slices import load_slice
from cyclegan_gc.model.cyclegan import Batch, Networks, Translations, consistency_losses, translate
from cyclegan_gc.prepare.preprocess import to_hu
from cyclegan_gc.validate.score import RealCT, Slabs, combined_score, unpaired_parts
from cyclegan_gc.validate.watchdog import validation_figures

HEIGHTS = np.linspace(0.15, 0.85, 8)
"""Where the slabs lie in the body."""
SLAB = 3
"""Neighbouring slices of a slab."""
REAL_CASES = 32
"""Real CTs, at most, that synthetic CT is compared with."""
SLICES_A_PASS = 8


@dataclass(frozen=True)
class FixedSlices:
    """What every validation of a run looks at."""

    batch: Batch
    """Slabs of the held-out cases, 24 slices with their neighbours."""
    real: RealCT
    """Of real CTs, the training cases' among them, at the heights of the slabs."""
    mr_stacks: tuple[SliceStack, ...]
    """Where each MR slab comes from."""
    ct_stacks: tuple[SliceStack, ...]
    """The same of the CT."""


@dataclass(frozen=True)
class Look:
    """What a validation saw."""

    figures: dict[str, float]
    """Every consistency term, the parts of the score, ``score`` (lower is better), and what the watchdog looks at."""
    batch: Batch
    """The slices on the CPU, of several contrasts the first, without neighbours."""
    images: Translations
    """What became of them."""
    by_case: dict[str, dict[str, float]]
    """Parts of the score and ``score`` of each MR case, under a name that must not leave the run folder."""


def fixed_slices(
    mr: Sequence[SliceStack], ct: Sequence[SliceStack], all_ct: Sequence[SliceStack], config: TrainConfig
) -> FixedSlices:
    """Slabs spread over cases and heights, padded or cut to ``data.crop``; on the CPU."""
    crop, context = config.data.crop, config.data.context_slices
    (real_mr, mr_mask), (real_ct, ct_mask) = _slabs(mr, crop, context), _slabs(ct, crop, context)
    chosen = [all_ct[n] for n in np.unique(np.linspace(0, len(all_ct) - 1, REAL_CASES).round().astype(int))]
    images, masks = zip(*(_slabs([stack], crop) for stack in chosen), strict=True)
    slabs = Slabs.of(to_hu(torch.cat(images), config.preprocess), torch.cat(masks), SLAB)
    return FixedSlices(
        Batch(real_mr, real_ct, mr_mask, ct_mask),
        RealCT.of(slabs, config.preprocess.ct_window_hu),
        *(tuple(each[n % len(each)] for n in range(len(HEIGHTS))) for each in (mr, ct)),
    )


@torch.inference_mode()
def validate(networks: Networks, fixed: FixedSlices, config: TrainConfig, device: torch.device) -> Look:
    """Translate the fixed slices by ``networks`` and judge the result."""
    loss, batch = config.loss, fixed.batch
    passes = [
        _on(translate(networks, _on(part, device), identity=False), torch.device("cpu"))
        for part in batch.parts(-(-len(batch.real_mr) // SLICES_A_PASS))
    ]
    images = Translations(*(torch.cat([getattr(each, name) for each in passes]) for name in PICTURES))
    terms = consistency_losses(
        batch, images, gradient_mode=loss.gradient_mode, gradient_operator=loss.gradient_operator
    )
    batch, images = (_centre(each, config.data.ct_channels) for each in (batch, images))
    mr, back = (Slabs.of(image, batch.mr_mask, SLAB) for image in (batch.real_mr, images.rec_mr))
    sct = Slabs.of(to_hu(images.fake_ct, config.preprocess), batch.mr_mask, SLAB)
    window_hu = config.preprocess.ct_window_hu
    parts = unpaired_parts(mr, back, sct, fixed.real, window_hu)
    figures = {name: float(term) for name, term in terms.items()}
    watched = validation_figures(batch, images, sct, fixed.real, window_hu)
    by_case = {}
    for case in dict.fromkeys(stack.name for stack in fixed.mr_stacks):
        own = [n for n, stack in enumerate(fixed.mr_stacks) if stack.name == case]
        seen = [Slabs(each.values[own], each.mask[own]) for each in (mr, back, sct)]
        its = unpaired_parts(seen[0], seen[1], seen[2], fixed.real, window_hu)
        by_case[case] = {**its, "score": combined_score(its)}
    return Look({**figures, **parts, "score": combined_score(parts), **watched}, batch, images, by_case)


PICTURES = ("fake_ct", "fake_mr", "rec_mr", "rec_ct")


def _on(tensors: Any, device: torch.device) -> Any:
    """A batch or its translations on ``device``."""
    moved = {name: value.to(device) for name, value in vars(tensors).items() if value is not None}
    return type(tensors)(**moved)


def _centre(tensors: Any, slices: int) -> Any:
    """A batch or its translations without the neighbours of each slice, of several contrasts the first."""
    present = {name: value for name, value in vars(tensors).items() if value is not None}
    return type(tensors)(**{name: v.unflatten(1, (slices, -1))[:, slices // 2, :1] for name, v in present.items()})


def _slabs(stacks: Sequence[SliceStack], crop: tuple[int, int], context: int = 0) -> tuple[Tensor, Tensor]:
    """A slab of each height, from one stack after the other: images (24, C, h, w) and masks (24, S, h, w)."""
    chosen = [(stacks[n % len(stacks)], height) for n, height in enumerate(HEIGHTS)]
    slices = [load_slice(stack, index, context) for stack, height in chosen for index in _neighbours(stack, height)]
    fit = ResizeWithPadOrCrop(crop)
    # The cropper fills with 0, so air is made 0 and afterwards -1 again.
    fitted: Any = [(fit(image + 1), fit(mask.float())) for image, mask in slices]
    images, masks = zip(*((image.as_tensor() - 1, mask.as_tensor() > 0.5) for image, mask in fitted), strict=True)
    return torch.stack(images), torch.stack(masks)


def _neighbours(stack: SliceStack, height: float) -> list[int]:
    """Indices of a slab about ``height``; in a stack of fewer slices the last one repeats."""
    last = len(stack.heights) - 1
    start = min(max(0, round(height * last) - SLAB // 2), max(0, last - SLAB + 1))
    return [min(start + n, last) for n in range(SLAB)]
