"""One volume through one generator or several, on its own grid: whole slices, in one plane or fused from several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cyclegan_gc.config import SOURCE_MODALITY, Fusion, SliceAxis
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.inference.fusion import fuse, in_range_of, without_coarse_planes
from cyclegan_gc.metrics import slice_discontinuity
from cyclegan_gc.metrics.cycle import cycle_error
from cyclegan_gc.model.cyclegan import air_outside
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.grid import (
    NetworkGrid,
    around,
    mask_to_network,
    network_grid,
    pixel_mm,
    to_network,
    to_plane,
    to_source,
)
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.prepare.preprocess import AIR_HU, Prepared, prepare, turn_back
from cyclegan_gc.trained_model import Member, Translator

SYNTHETIC_MR_SCALE = 1000
"""Synthetic MR has no unit; its [-1, 1] is written as 0 to this value."""
CYCLE_SLICES = 12
"""Slices, spread over the body, on which the cycle error is measured."""
FAR_FACTOR = 1.25
"""Pixels larger or smaller than every training case's by more than this are far from the training."""


@dataclass(frozen=True)
class Translation:
    """A translated volume on the source's axes."""

    array: NDArray[np.int16]
    """(X, Y, Z): HU, rounded, -1000 outside the body; for ``ct_to_mr`` 0 to 1000."""
    mask: NDArray[np.bool_]
    """(X, Y, Z): the body."""
    uncertainty: NDArray[np.int16] | None
    """(X, Y, Z): standard deviation over the members, in the result's unit, rounded; None for a single member."""
    cycle_error: float | None
    """:func:`cyclegan_gc.metrics.cycle.cycle_error` of the input in the body; None for a model without the opposite
    generator."""
    discontinuity: dict[str, float]
    """:func:`cyclegan_gc.metrics.slice_discontinuity` of the ``source``, of one plane (``single``) and ``fused``."""
    planes: tuple[SliceAxis, ...]
    """Planes that were fused."""
    notes: tuple[str, ...]
    """Remarks for the user: resampled pixels, short memory."""


def translate_volume(
    members: Sequence[Member], volume: Volume, *, batch_size: int = 8, fusion: Fusion = "mean"
) -> Translation:
    """Translate a volume slice by slice, whole slices, by each member, and fuse the results.

    Args:
        members: from :func:`cyclegan_gc.trained_model.members_of`; all of one direction.
        volume: MR, or CT in HU for the direction ``ct_to_mr``.
        batch_size: slices per pass; any size gives the same result up to rounding.
        fusion: of several members; the median holds all of them in memory.

    Raises:
        VolumeError: if no body is found or a value is not finite (without a name; the caller knows it).
    """
    return translate_cases(prepare_for(members, volume), members, batch_size=batch_size, fusion=fusion)


def prepare_for(members: Sequence[Member], volume: Volume) -> list[Prepared]:
    """The volume as each member's model sees it; models with equal settings share one."""
    modality = SOURCE_MODALITY[members[0].translator.direction]
    cases = {settings: prepare(volume, modality, settings) for settings in {m.translator.preprocess for m in members}}
    return [cases[member.translator.preprocess] for member in members]


def translate_cases(
    cases: Sequence[Prepared], members: Sequence[Member], *, batch_size: int = 8, fusion: Fusion = "mean"
) -> Translation:
    """As :func:`translate_volume`, for cases from :func:`prepare_for`.

    Raises:
        VolumeError: if a value in the body is not finite (without a name; the caller knows it).
    """
    passes = Passes(batch_size)
    cases, members, left_out = without_coarse_planes(cases, members)
    case, member = cases[0], members[0]
    first = member.translator
    grids = [_grid(case, member) for case, member in zip(cases, members, strict=True)]
    slices = _translate(case, member, grids[0], passes)
    single, lost = _as_volume(slices, grids[0]), _cycle_error(slices, member, passes)
    del slices
    others = (
        in_range_of(_as_volume(_translate(case, member, grid, passes), grid), member.translator, first)
        for case, member, grid in zip(cases[1:], members[1:], grids[1:], strict=True)
    )
    fused, spread = fuse(single, others, fusion, lambda volume: _in_unit(volume, first))

    outside = AIR_HU if member.translator.direction == "mr_to_ct" else 0
    values = torch.where(case.mask, fused.round(), outside)
    if not values.isfinite().all():
        raise VolumeError("the network gave values that are not finite; convert it with another checkpoint")
    stages = {"source": case.image.as_tensor()[:1], "single": _in_unit(single, first)}
    stages |= {} if spread is None else {"fused": fused}
    return Translation(
        array=_on_source(values, case),
        mask=np.asfortranarray(turn_back(case.mask, case)),
        uncertainty=None if spread is None else _on_source(torch.where(case.mask, spread.round(), 0), case),
        cycle_error=lost,
        planes=tuple(dict.fromkeys(each.axis for each in members)),
        discontinuity={name: _discontinuity(stage, case, member.axis) for name, stage in stages.items()},
        notes=(*_resampled(grids), *left_out, *passes.notes),
    )


def wanted_pixel_mm(spacing_mm: tuple[float, float, float], member: Member) -> float | None:
    """The pixel size at which a network sees a volume of voxels (H, W, D); None for the volume's own.

    For a model trained without a fixed pixel size, a case far from its training is resampled to the median size.
    """
    if member.translator.preprocess.spacing_mm is not None:
        return member.translator.preprocess.spacing_mm
    cases = member.translator.fingerprint[SOURCE_MODALITY[member.translator.direction]]
    known = [pixel_mm(each["spacing_mm"], member.axis) for each in cases]
    low, high = np.min(known) / FAR_FACTOR, np.max(known) * FAR_FACTOR
    near = all(low <= own <= high for own in pixel_mm(spacing_mm, member.axis))
    return None if near else float(np.median(known))


def _grid(case: Prepared, member: Member) -> NetworkGrid:
    return network_grid(case, member.axis, wanted_pixel_mm(case.spacing_mm, member), member.translator.crop)


class _Slices(NamedTuple):
    """Slices of a volume as the network sees them."""

    images: Tensor
    """(N, C, h, w), C the contrasts."""
    masks: Tensor
    """(N, 1, h, w)."""
    translated: Tensor
    """(N, C', h, w), the other modality's."""


def _translate(case: Prepared, member: Member, grid: NetworkGrid, passes: Passes) -> _Slices:
    images, masks = to_network(case.image.as_tensor(), grid), mask_to_network(case.mask, grid)
    generator, context = member.translator.generator, member.translator.context
    if member.mirrored:
        flipped = translate_slices(generator, images.flip(-1), masks.flip(-1), context, passes)
        return _Slices(images, masks, flipped.flip(-1))
    return _Slices(images, masks, translate_slices(generator, images, masks, context, passes))


def translate_slices(generator: nn.Module, images: Tensor, masks: Tensor, context: int, passes: Passes) -> Tensor:
    """Translate the slices of a volume in their order, each with its neighbours.

    With neighbours (2.5-D) the generator translates each slice several times, once in its own place and as a
    neighbour. The result is the mean.

    Args:
        generator: in evaluation mode.
        images: ``(D, C, h, w)`` in [-1, 1], C the contrasts.
        masks: ``(D, 1, h, w)`` bool, the body.
        context: neighbours on each side.
        passes: how many slices go through at once.

    Returns:
        ``(D, C', h, w)`` float32 on the CPU, air outside the body.
    """
    if not context:
        return air_outside(passes.run(generator, images), masks)
    count = len(images)
    places = torch.tensor([around(index, count, context) for index in range(count)])
    translated = passes.run(generator, images[places].flatten(1, 2)).unflatten(1, (2 * context + 1, -1))
    total, times = torch.zeros_like(translated[:, 0]), torch.zeros(count)
    for neighbour in range(2 * context + 1):
        # At the ends the last slice is repeated; the translations of a repetition do not count.
        true = places[:, neighbour] == torch.arange(count) + neighbour - context
        total.index_add_(0, places[true, neighbour], translated[true, neighbour])
        times.index_add_(0, places[true, neighbour], torch.ones(int(true.sum())))
    return air_outside(total / times[:, None, None, None], masks)


def _as_volume(slices: _Slices, grid: NetworkGrid) -> Tensor:
    """The translation in the networks' range, (1, H, W, D); of several contrasts the first."""
    return to_source(slices.translated[:, :1], slices.masks, grid)


def _in_unit(volume: Tensor, translator: Translator) -> Tensor:
    """From the networks' range to HU, or to the scale of synthetic MR."""
    if translator.direction == "mr_to_ct":
        return to_hu(volume, translator.preprocess)
    return (volume + 1) / 2 * SYNTHETIC_MR_SCALE


def _cycle_error(slices: _Slices, member: Member, passes: Passes) -> float | None:
    if member.translator.back is None:
        return None
    count, context = len(slices.images), member.translator.context
    chosen = torch.linspace(0, count - 1, min(CYCLE_SLICES, count)).round().long()
    images, masks, _ = (each[chosen] for each in slices)
    places = torch.tensor([around(index, count, context) for index in chosen.tolist()])
    returned = passes.run(member.translator.back, slices.translated[places].flatten(1, 2))
    back, masks = returned.unflatten(1, (2 * context + 1, -1))[:, context], masks.expand_as(images)
    return cycle_error(images[masks].numpy(), back[masks].numpy())


def _discontinuity(volume: Tensor, case: Prepared, axis: SliceAxis) -> float:
    return slice_discontinuity(to_plane(volume, axis)[0].numpy(), to_plane(case.mask, axis)[0].numpy())


def _resampled(grids: Sequence[NetworkGrid]) -> list[str]:
    """A sentence for each plane whose pixels the network saw at another size."""
    notes = {}
    for grid in (grid for grid in grids if grid.resampled):
        own = " x ".join(f"{mm:.3g}" for mm in grid.pixel_mm)
        seen = " x ".join(f"{mm:.3g}" for mm in grid.network_pixel_mm)
        notes[grid.axis] = (
            f"{grid.axis.capitalize()} pixels of {own} mm went through the network at {seen} mm and back."
        )
    return list(notes.values())


def _on_source(volume: Tensor, case: Prepared) -> NDArray[np.int16]:
    return np.asfortranarray(turn_back(volume.to(torch.int16), case))
