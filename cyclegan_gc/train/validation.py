"""A look at fixed slices by the generators' moving averages: consistency figures and a panel of pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms.croppad.array import ResizeWithPadOrCrop
from torch import Tensor
from torchvision.io import write_png
from torchvision.utils import make_grid

from cyclegan_gc.config import LossConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.slices import load_slice
from cyclegan_gc.model.cyclegan import Batch, Translations, consistency_losses, translate
from cyclegan_gc.train.step import TrainState

SLICES = 8
PANEL_SLICES = 4


def validation_batch(mr: Sequence[SliceStack], ct: Sequence[SliceStack], crop: tuple[int, int]) -> Batch:
    """Fixed slices, spread over cases and heights, padded or cut to ``crop``; (8, 1, h, w) each, on the CPU."""
    (real_mr, mr_mask), (real_ct, ct_mask) = _spread(mr, crop), _spread(ct, crop)
    return Batch(real_mr, real_ct, mr_mask, ct_mask)


@torch.inference_mode()
def validate(state: TrainState, batch: Batch, loss: LossConfig) -> tuple[dict[str, float], np.ndarray]:
    """Consistency of the averaged generators on ``batch``, and a panel.

    Returns:
        Figures: every consistency term and ``score`` (both cycle errors and the mean gradient consistency loss; lower
        is better), and the panel, uint8 (H, W): rows of MR | sCT | reconstructed MR | CT | sMR | reconstructed CT.
    """
    images = translate(state.averaged_networks(), batch, identity=False)
    terms = consistency_losses(
        batch, images, gradient_mode=loss.gradient_mode, gradient_operator=loss.gradient_operator
    )
    losses = {name: float(loss) for name, loss in terms.items()}
    score = losses["cycle_mr"] + losses["cycle_ct"] + (losses["gradient_mr"] + losses["gradient_ct"]) / 2
    return {**losses, "score": score}, _panel(batch, images)


def save_panel(path: Path, panel: np.ndarray) -> None:
    """Write a panel as PNG, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(torch.from_numpy(panel)[None], str(path))


def _spread(stacks: Sequence[SliceStack], crop: tuple[int, int]) -> tuple[Tensor, Tensor]:
    heights = np.linspace(0.15, 0.85, SLICES)
    chosen = [(stacks[n % len(stacks)], height) for n, height in enumerate(heights)]
    slices = [load_slice(stack, round(height * (len(stack.heights) - 1))) for stack, height in chosen]
    fit = ResizeWithPadOrCrop(crop)
    # The cropper fills with 0, so air is made 0 and afterwards -1 again.
    fitted: Any = [(fit(image + 1), fit(mask.float())) for image, mask in slices]
    images, masks = zip(*((image.as_tensor() - 1, mask.as_tensor() > 0.5) for image, mask in fitted), strict=True)
    return torch.stack(images), torch.stack(masks)


def _panel(batch: Batch, images: Translations) -> np.ndarray:
    rows = (batch.real_mr, images.fake_ct, images.rec_mr, batch.real_ct, images.fake_mr, images.rec_ct)
    step = max(1, SLICES // PANEL_SLICES)
    grid = make_grid(torch.cat([row[::step].float().cpu() for row in rows]), nrow=PANEL_SLICES, padding=1)
    return ((grid[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
