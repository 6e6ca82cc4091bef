"""One volume through one generator or several, on its own grid: whole slices, in one plane or fused from several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cyclegan_gc.checkpoint import TrainedModel
from cyclegan_gc.config import Fusion, SliceAxis
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.metrics import slice_discontinuity
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
from cyclegan_gc.prepare.preprocess import AIR_HU, Prepared, prepare, to_hu, turn_back

SYNTHETIC_MR_SCALE = 1000
"""Synthetic MR has no unit; its [-1, 1] is written as 0 to this value."""
CYCLE_SLICES = 12
"""Slices, spread over the body, on which the cycle error is measured."""
FAR_FACTOR = 1.25
"""Pixels larger or smaller than every training case's by more than this are far from the training."""


class Member(NamedTuple):
    """One of the translations that are fused: a model, a plane, mirrored or not."""

    model: TrainedModel
    axis: SliceAxis
    mirrored: bool = False


@dataclass(frozen=True)
class Translation:
    """What became of a volume, on the source's axes."""

    array: NDArray[np.int16]
    """(X, Y, Z): HU, rounded, -1000 outside the body; for ``ct_to_mr`` 0 to 1000."""
    mask: NDArray[np.bool_]
    """(X, Y, Z): the body."""
    uncertainty: NDArray[np.int16] | None
    """(X, Y, Z): standard deviation over the members, in the result's unit, rounded; None for a single member."""
    cycle_error: float | None
    """Error of the input translated there and back over its own variation in the body; 1 where nothing comes back, None
    for a model without a way back."""
    discontinuity: dict[str, float]
    """:func:`cyclegan_gc.metrics.slice_discontinuity` of the ``source``, of one plane (``single``) and ``fused``."""
    notes: tuple[str, ...]
    """What was done otherwise than asked: pixels resampled, memory short."""


def members_of(
    models: Sequence[TrainedModel], planes: Sequence[SliceAxis] | None = None, *, mirror: bool = False
) -> list[Member]:
    """Every translation to be fused; without ``planes`` each model's first one.

    A sagittal slice is never mirrored: that would swap front and back.
    """
    return [
        Member(model, axis, mirrored)
        for model in models
        for axis in planes or model.slice_axes[:1]
        for mirrored in ((False, True) if mirror and axis != "sagittal" else (False,))
    ]


def translate_volume(
    members: Sequence[Member], volume: Volume, *, batch_size: int = 8, fusion: Fusion = "mean"
) -> Translation:
    """Translate a volume slice by slice, whole slices, by each member, and fuse the results.

    Args:
        members: from :func:`members_of`; all of one direction.
        volume: MR, or CT in HU for the direction ``ct_to_mr``.
        batch_size: slices per pass; any size gives the same result up to rounding.
        fusion: of several members; the median holds all of them in memory.

    Raises:
        VolumeError: if no body is found or a value is not finite (without a name; the caller knows it).
    """
    return translate_cases(prepare_for(members, volume), members, batch_size=batch_size, fusion=fusion)


def prepare_for(members: Sequence[Member], volume: Volume) -> list[Prepared]:
    """The volume as each member's model sees it; models with equal settings share one."""
    modality = "mr" if members[0].model.direction == "mr_to_ct" else "ct"
    cases = {settings: prepare(volume, modality, settings) for settings in {m.model.preprocess for m in members}}
    return [cases[member.model.preprocess] for member in members]


def translate_cases(
    cases: Sequence[Prepared], members: Sequence[Member], *, batch_size: int = 8, fusion: Fusion = "mean"
) -> Translation:
    """:func:`translate_volume` of what :func:`prepare_for` made.

    Raises:
        VolumeError: if a value in the body is not finite (without a name; the caller knows it).
    """
    passes = Passes(batch_size)
    case, member = cases[0], members[0]
    grids = [_grid(case, member) for case, member in zip(cases, members, strict=True)]
    slices = _translate(case, member, grids[0], passes)
    single, cycle_error = _as_volume(slices, member, grids[0]), _cycle_error(slices, member, passes)
    del slices
    others = (
        _as_volume(_translate(case, member, grid, passes), member, grid)
        for case, member, grid in zip(cases[1:], members[1:], grids[1:], strict=True)
    )
    fused, spread = fuse(single, others, fusion)

    outside = AIR_HU if member.model.direction == "mr_to_ct" else 0
    values = torch.where(case.mask, fused.round(), outside)
    if not values.isfinite().all():
        raise VolumeError("the network gave values that are not finite; convert it with another checkpoint")
    stages = {"source": case.image.as_tensor()[:1], "single": single} | ({} if spread is None else {"fused": fused})
    return Translation(
        array=_on_source(values, case),
        mask=np.asfortranarray(turn_back(case.mask, case)),
        uncertainty=None if spread is None else _on_source(torch.where(case.mask, spread.round(), 0), case),
        cycle_error=cycle_error,
        discontinuity={name: _discontinuity(stage, case, member.axis) for name, stage in stages.items()},
        notes=(*_resampled(grids), *passes.notes),
    )


def fuse(first: Tensor, others: Iterable[Tensor], fusion: Fusion) -> tuple[Tensor, Tensor | None]:
    """Mean or median of volumes and their standard deviation; None for it where there is one volume only.

    For the mean, the others are taken one by one and never held together (Welford 1962).
    """
    if fusion == "median":
        stack = torch.stack([first, *others])
        spread = stack.std(dim=0, correction=0) if len(stack) > 1 else None
        return torch.from_numpy(np.median(stack.numpy(), axis=0)), spread
    count, mean, squares = 1, first, None
    for count, other in enumerate(others, start=2):
        change = other - mean
        mean = mean + change / count
        squares = (0 if squares is None else squares) + change * (other - mean)
    return mean, None if squares is None else (squares / count).sqrt()


def wanted_pixel_mm(spacing_mm: tuple[float, float, float], member: Member) -> float | None:
    """The pixel size at which a network sees a volume of voxels (H, W, D); None for the volume's own.

    A model that took every pixel size as it came sees a case far from all of them at the usual one.
    """
    if member.model.preprocess.spacing_mm is not None:
        return member.model.preprocess.spacing_mm
    modality = "mr" if member.model.direction == "mr_to_ct" else "ct"
    known = [pixel_mm(each["spacing_mm"], member.axis) for each in member.model.fingerprint[modality]]
    low, high = np.min(known) / FAR_FACTOR, np.max(known) * FAR_FACTOR
    near = all(low <= own <= high for own in pixel_mm(spacing_mm, member.axis))
    return None if near else float(np.median(known))


def _grid(case: Prepared, member: Member) -> NetworkGrid:
    return network_grid(case, member.axis, wanted_pixel_mm(case.spacing_mm, member), member.model.crop)


class _Slices(NamedTuple):
    """As the network sees them."""

    images: Tensor
    """(N, C, h, w), C the contrasts."""
    masks: Tensor
    """(N, 1, h, w)."""
    translated: Tensor
    """(N, C', h, w), the other modality's."""


def _translate(case: Prepared, member: Member, grid: NetworkGrid, passes: Passes) -> _Slices:
    images, masks = to_network(case.image.as_tensor(), grid), mask_to_network(case.mask, grid)
    if member.mirrored:
        slices = _run(member.model.generator, images.flip(-1), member, passes).flip(-1)
    else:
        slices = _run(member.model.generator, images, member, passes)
    return _Slices(images, masks, air_outside(slices, masks))


def _run(network: nn.Module, slices: Tensor, member: Member, passes: Passes) -> Tensor:
    """All slices of a volume (D, C, h, w) through a network that sees each with its neighbours, (D, C', h, w).

    A slice is the mean of what is said of it in its own place and as a neighbour.
    """
    context, count = member.model.context, len(slices)
    if not context:
        return passes.run(network, slices)
    places = torch.tensor([around(index, count, context) for index in range(count)])
    said = passes.run(network, slices[places].flatten(1, 2)).unflatten(1, (2 * context + 1, -1))
    total, times = torch.zeros_like(said[:, 0]), torch.zeros(count)
    for neighbour in range(2 * context + 1):
        # At the ends the last slice is repeated; what is said of a repetition does not count.
        true = places[:, neighbour] == torch.arange(count) + neighbour - context
        total.index_add_(0, places[true, neighbour], said[true, neighbour])
        times.index_add_(0, places[true, neighbour], torch.ones(int(true.sum())))
    return total / times[:, None, None, None]


def _as_volume(slices: _Slices, member: Member, grid: NetworkGrid) -> Tensor:
    """The translation in its unit, (1, H, W, D); of several contrasts the first."""
    result = to_source(slices.translated[:, :1], slices.masks, grid)
    if member.model.direction == "mr_to_ct":
        return to_hu(result, member.model.preprocess)
    return (result + 1) / 2 * SYNTHETIC_MR_SCALE


def _cycle_error(slices: _Slices, member: Member, passes: Passes) -> float | None:
    if member.model.back is None:
        return None
    count, context = len(slices.images), member.model.context
    chosen = torch.linspace(0, count - 1, min(CYCLE_SLICES, count)).round().long()
    images, masks, _ = (each[chosen] for each in slices)
    places = torch.tensor([around(index, count, context) for index in chosen.tolist()])
    said = passes.run(member.model.back, slices.translated[places].flatten(1, 2))
    back, masks = said.unflatten(1, (2 * context + 1, -1))[:, context], masks.expand_as(images)
    inside = images[masks]
    if not len(inside):
        return 1.0
    variation = (inside - inside.median()).abs().mean().clamp_min(1e-6)
    return float((back[masks] - inside).abs().mean() / variation)


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
