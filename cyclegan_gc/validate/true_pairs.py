"""Whole volumes that a validation looks at: one of the held-out MRs, and pairs with a true CT where there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cyclegan_gc.checkpoint import TrainedModel
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.pairs import Pair, find_pairs
from cyclegan_gc.data.slices import load_slice
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.formats.volumes import read_contrasts, read_volume
from cyclegan_gc.inference import Member, prepare_for, translate_cases
from cyclegan_gc.metrics import bone_dice, mae
from cyclegan_gc.model.cyclegan import air_outside
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.grid import from_plane, pixel_mm, seen_mm
from cyclegan_gc.prepare.preprocess import Prepared, to_hu
from cyclegan_gc.validate.panels import TranslatedPair

MOST_PAIRS, MOST_JUDGES = 3, 8
"""Of ``data.validation_pairs``, and of the held-out pairs that choose best.pt."""
SLICES_A_PASS = 8


@dataclass(frozen=True)
class TruePair:
    """An MR, prepared, and the true CT of the same person on its grid."""

    name: str
    """A name that must not leave the run folder."""
    mr: NDArray
    ct_hu: NDArray
    mask: NDArray[np.bool_]
    affine: NDArray
    spacing_mm: tuple[float, float, float]
    prepared: Prepared


def load_pairs(config: TrainConfig, fingerprint: Mapping[str, Any]) -> list[TruePair]:
    """The first pairs of ``data.validation_pairs``, at most three; none where it is not set.

    Raises:
        UserError: if nothing is there, an MR has no CT of its name, or a pair does not lie on one grid.
    """
    if config.data.validation_pairs is None:
        return []
    found = find_pairs(config.data.validation_pairs, config.data.contrasts, "--data.validation_pairs")
    return [load_pair(files, config, fingerprint) for files in found[:MOST_PAIRS]]


def load_pair(files: Pair, config: TrainConfig, fingerprint: Mapping[str, Any]) -> TruePair:
    """One pair in memory, the MR prepared.

    Raises:
        UserError: if a volume cannot be read or no body is found in its CT.
    """
    mr, ct = read_contrasts(files.mr), read_volume(files.ct)
    mask = ct_body_mask(ct.array, ct.spacing_mm)
    if not mask.any():
        raise UserError(f"{files.ct}: no body found in this CT; it must be in HU")
    prepared = prepare_for([_member(nn.Identity(), config, fingerprint)], mr)[0]
    return TruePair(files.name, mr.array, ct.array, mask, mr.affine, mr.spacing_mm, prepared)


def translate_pairs(
    generator: nn.Module, pairs: Sequence[TruePair], config: TrainConfig, fingerprint: Mapping[str, Any]
) -> tuple[list[TranslatedPair], list[dict[str, float | None]]]:
    """Each pair's synthetic CT beside its true one, and how far they are apart in the body.

    Returns:
        The pairs, and for each ``mae_body_hu`` and ``bone_dice`` (above 250 HU; None where there is no bone).

    Raises:
        VolumeError: if a value of a synthetic CT is not finite.
    """
    member, seen, figures = _member(generator, config, fingerprint), [], []
    for pair in pairs:
        sct = translate_cases([pair.prepared], [member], batch_size=SLICES_A_PASS).array
        figures.append(
            {"mae_body_hu": mae(sct, pair.ct_hu, pair.mask), "bone_dice": bone_dice(sct, pair.ct_hu, pair.mask)}
        )
        turned = (to_ras(image, pair.affine) for image in (pair.mr, sct, pair.ct_hu, pair.mask))
        (mr, spacing_mm), (sct, _), (ct, _), (mask, _) = turned
        seen.append(TranslatedPair(pair.name, mr, sct, ct, mask, spacing_mm))
    return seen, figures


def mean_figures(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each figure over the cases that have it."""
    names = dict.fromkeys(name for each in figures for name in each)
    known = {name: [v for each in figures if (v := each[name]) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


@torch.inference_mode()
def translate_stack(
    generator: nn.Module, stack: SliceStack, config: TrainConfig
) -> tuple[NDArray, NDArray, tuple[float, float, float]]:
    """All prepared slices of one MR as volumes: the MR in [-1, 1], its synthetic CT in HU, and a voxel's size in mm.

    Both are ``(H, W, D)``, to the back, to the left and upwards, of several contrasts the first.
    """
    context = config.data.context_slices
    slices = [load_slice(stack, index, context) for index in range(len(stack.heights))]
    images, masks = (torch.stack(each) for each in zip(*slices, strict=True))
    translated = air_outside(Passes(SLICES_A_PASS).run(generator, images), masks)
    channels = config.data.ct_channels
    mr = images.unflatten(1, (channels, -1))[:, context, 0]
    sct = to_hu(translated[:, context].clone(), config.preprocess)
    turned = [from_plane(each.permute(1, 2, 0)[None], stack.axis)[0].numpy() for each in (mr, sct)]
    return turned[0], turned[1], _network_spacing_mm(stack, config)


def slice_pixel_mm(stack: SliceStack, config: TrainConfig) -> tuple[float, float]:
    """Height and width of a pixel of the network's slices."""
    height, width = pixel_mm(stack.statistics["case"]["spacing_mm"], stack.axis)
    return seen_mm(height, config.preprocess.spacing_mm), seen_mm(width, config.preprocess.spacing_mm)


def _network_spacing_mm(stack: SliceStack, config: TrainConfig) -> tuple[float, float, float]:
    """Of the stack as a volume (H, W, D)."""
    height, width, depth = stack.statistics["case"]["spacing_mm"]
    row, column = slice_pixel_mm(stack, config)
    return {
        "axial": (row, column, depth),
        "coronal": (height, column, row),
        "sagittal": (column, width, row),
    }[stack.axis]


def _member(generator: nn.Module, config: TrainConfig, fingerprint: Mapping[str, Any]) -> Member:
    """The generator as conversion takes it."""
    model = TrainedModel(
        generator=generator,
        back=None,
        direction="mr_to_ct",
        preprocess=config.preprocess,
        slice_axes=config.data.slice_axes,
        context=config.data.context_slices,
        contrasts=config.data.contrasts,
        crop=config.data.crop,
        fingerprint=dict(fingerprint),
        step=0,
        sha256="",
    )
    return Member(model, config.data.slice_axes[0])
