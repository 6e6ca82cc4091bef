"""Whole volumes that a validation looks at: one of the held-out MRs, and a few pairs with a true CT where there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cyclegan_gc.checkpoint import TrainedModel
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.body import ct_body_mask
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.data.files import case_id, find_cases, find_volumes
from cyclegan_gc.data.frames import same_grid, to_ras
from cyclegan_gc.data.grid import from_plane, pixel_mm, seen_mm
from cyclegan_gc.data.preprocess import Prepared, to_hu
from cyclegan_gc.data.slices import load_slice
from cyclegan_gc.data.volumes import read_contrasts, read_volume
from cyclegan_gc.errors import UserError
from cyclegan_gc.inference import Member, prepare_for, translate_cases
from cyclegan_gc.metrics import bone_dice, mae
from cyclegan_gc.model.cyclegan import Networks, air_outside
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.train.panels import Pair

MOST_PAIRS = 3
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
    folder = Path(config.data.validation_pairs).expanduser()
    cts = {case_id(path): path for path in find_volumes(folder / "ct")}
    cases = list(find_cases(folder / "mr", config.data.contrasts)[0].items())[:MOST_PAIRS]
    return [_load_pair(case_id(case), paths, cts, _member(None, config, fingerprint)) for case, paths in cases]


def translate_pairs(
    networks: Networks, pairs: Sequence[TruePair], config: TrainConfig, fingerprint: Mapping[str, Any]
) -> tuple[list[Pair], list[dict[str, float | None]]]:
    """Each pair's synthetic CT beside its true one, and how far they are apart in the body.

    Returns:
        The pairs, and for each ``mae_body_hu`` and ``bone_dice`` (above 250 HU; None where there is no bone).
    """
    member, seen, figures = _member(networks, config, fingerprint), [], []
    for pair in pairs:
        sct = translate_cases([pair.prepared], [member], batch_size=SLICES_A_PASS).array
        figures.append(
            {"mae_body_hu": mae(sct, pair.ct_hu, pair.mask), "bone_dice": bone_dice(sct, pair.ct_hu, pair.mask)}
        )
        turned = (to_ras(image, pair.affine) for image in (pair.mr, sct, pair.ct_hu, pair.mask))
        (mr, spacing_mm), (sct, _), (ct, _), (mask, _) = turned
        seen.append(Pair(pair.name, mr, sct, ct, mask, spacing_mm))
    return seen, figures


def mean_figures(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each figure over the cases that have it."""
    names = dict.fromkeys(name for each in figures for name in each)
    known = {name: [v for each in figures if (v := each[name]) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


@torch.inference_mode()
def translate_stack(
    networks: Networks, stack: SliceStack, config: TrainConfig
) -> tuple[NDArray, NDArray, tuple[float, float, float]]:
    """All prepared slices of one MR as volumes: the MR in [-1, 1], its synthetic CT in HU, and a voxel's size in mm.

    Both are ``(H, W, D)``, to the back, to the left and upwards, of several contrasts the first.
    """
    context = config.data.context_slices
    slices = [load_slice(stack, index, context) for index in range(len(stack.heights))]
    images, masks = (torch.stack(each) for each in zip(*slices, strict=True))
    translated = air_outside(Passes(SLICES_A_PASS).run(networks.mr_to_ct, images), masks)
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


def _member(networks: Networks | None, config: TrainConfig, fingerprint: Mapping[str, Any]) -> Member:
    """The networks as conversion takes them; without them what preparation needs."""
    nothing = torch.nn.Identity()
    model = TrainedModel(
        generator=networks.mr_to_ct if networks else nothing,
        back=networks.ct_to_mr if networks else nothing,
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


def _load_pair(name: str, paths: Sequence[Path], cts: Mapping[str, Path], member: Member) -> TruePair:
    if name not in cts:
        raise UserError(
            f"{paths[0]}: no CT named {name} beside it; --data.validation_pairs needs mr/ and ct/ of equal names"
        )
    mr, ct = read_contrasts(paths), read_volume(cts[name])
    if not same_grid(mr.array.shape, mr.affine, ct.array.shape, ct.affine):
        raise UserError(f"{cts[name]}: not on the grid of its MR; resample it, or leave out --data.validation_pairs")
    mask = ct_body_mask(ct.array, ct.spacing_mm)
    if not mask.any():
        raise UserError(f"{cts[name]}: no body found in this CT; it must be in HU")
    return TruePair(name, mr.array, ct.array, mask, mr.affine, mr.spacing_mm, prepare_for([member], mr)[0])
