"""The unpaired objective: two generators, two discriminators, cycle and gradient consistency (Hiasa et al. 2018).

    L = L_LSGAN(mr_to_ct) + L_LSGAN(ct_to_mr) + cycle * (L1(rec_mr, mr) + L1(rec_ct, ct))
        + gradient * (L_GC(mr, fake_ct) + L_GC(ct, fake_mr)) / 2
        + identity * (L1(idt_mr, mr) + L1(idt_ct, ct)) + depth_histogram * (H_mr + H_ct)

L1 is the mean absolute difference, L_GC = 1 - GC comes from :mod:`cyclegan_gc.model.losses`, and H from
:mod:`cyclegan_gc.model.depth_histogram`.

Images are ``(N, C, H, W)`` in [-1, 1], masks ``(N, S, H, W)`` bool, true inside the body. S is 1, or the slices of a
slab in 2.5-D; C is S for CT and S times the number of contrasts for MR, where the contrasts of a slice are neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from cyclegan_gc.model.depth_histogram import depth_histogram_loss
from cyclegan_gc.model.losses import (
    Mode,
    Operator,
    gradient_consistency_loss,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
)

AIR = -1.0
"""Normalised value outside the body, in both modalities."""


@dataclass(frozen=True)
class Networks:
    """The four networks of the objective."""

    mr_to_ct: nn.Module
    ct_to_mr: nn.Module
    ct_discriminator: nn.Module
    mr_discriminator: nn.Module

    @staticmethod
    def of(networks: Mapping[str, nn.Module]) -> "Networks":
        """The four networks of the objective, taken from a mapping by their names."""
        return Networks(**{each.name: networks[each.name] for each in fields(Networks)})


@dataclass(frozen=True)
class Batch:
    """Real slices and their body masks; in a batch of registered pairs both masks are the MR's."""

    real_mr: Tensor
    real_ct: Tensor
    mr_mask: Tensor
    ct_mask: Tensor
    mr_depth: Tensor | None = None
    """Depth of each pixel below the skin, as :func:`depth_histogram_loss` needs it; None where that term is off."""
    ct_depth: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        return Batch(**{name: tensor.to(device) for name, tensor in vars(self).items() if tensor is not None})

    def parts(self, count: int) -> "list[Batch]":
        """The batch cut into ``count`` equal parts, in order."""
        cut = {name: tensor.chunk(count) for name, tensor in vars(self).items() if tensor is not None}
        return [Batch(**dict(zip(cut, tensors, strict=True))) for tensors in zip(*cut.values(), strict=True)]


@dataclass(frozen=True)
class Translations:
    """The generators' outputs for a batch; the identity images are None where that term is off."""

    fake_ct: Tensor
    fake_mr: Tensor
    rec_mr: Tensor
    rec_ct: Tensor
    idt_ct: Tensor | None = None
    idt_mr: Tensor | None = None


def air_outside(image: Tensor, mask: Tensor) -> Tensor:
    """Set an image ``(N, C, H, W)`` to air outside the body mask ``(N, S, H, W)``, in training and in conversion.

    Without it, training starts with some minutes of inverted contrast: a dark head on a bright background.
    """
    return torch.where(mask.repeat_interleave(image.shape[1] // mask.shape[1], dim=1), image, AIR)


def translate(networks: Networks, batch: Batch, *, identity: bool) -> Translations:
    """Translate each input to the other modality and back, inside the input's body."""
    fake_ct = air_outside(networks.mr_to_ct(batch.real_mr), batch.mr_mask)
    fake_mr = air_outside(networks.ct_to_mr(batch.real_ct), batch.ct_mask)
    return Translations(
        fake_ct=fake_ct,
        fake_mr=fake_mr,
        rec_mr=air_outside(networks.ct_to_mr(fake_ct), batch.mr_mask),
        rec_ct=air_outside(networks.mr_to_ct(fake_mr), batch.ct_mask),
        idt_ct=air_outside(networks.mr_to_ct(batch.real_ct), batch.ct_mask) if identity else None,
        idt_mr=air_outside(networks.ct_to_mr(batch.real_mr), batch.mr_mask) if identity else None,
    )


def generator_losses(
    networks: Networks,
    batch: Batch,
    images: Translations,
    *,
    gradient_mode: Mode = "absolute",
    gradient_operator: Operator = "central",
) -> dict[str, Tensor]:
    """Every term of the generators' loss by its name, unweighted."""
    losses = {
        "adversarial_ct": lsgan_generator_loss(networks.ct_discriminator(images.fake_ct)),
        "adversarial_mr": lsgan_generator_loss(networks.mr_discriminator(images.fake_mr)),
        **consistency_losses(batch, images, gradient_mode=gradient_mode, gradient_operator=gradient_operator),
    }
    if images.idt_ct is not None and images.idt_mr is not None:
        losses["identity_ct"] = nn.functional.l1_loss(images.idt_ct, batch.real_ct)
        losses["identity_mr"] = nn.functional.l1_loss(images.idt_mr, batch.real_mr)
    if batch.mr_depth is not None and batch.ct_depth is not None:
        mr, ct = (batch.real_mr, batch.mr_depth), (batch.real_ct, batch.ct_depth)
        losses["depth_histogram_ct"] = depth_histogram_loss(images.fake_ct, batch.mr_depth, *ct)
        losses["depth_histogram_mr"] = depth_histogram_loss(images.fake_mr, batch.ct_depth, *mr)
    return losses


def consistency_losses(
    batch: Batch, images: Translations, *, gradient_mode: Mode = "absolute", gradient_operator: Operator = "central"
) -> dict[str, Tensor]:
    """Cycle and gradient consistency, which need no discriminator; gradients are compared inside the body only."""
    mode, operator = gradient_mode, gradient_operator
    return {
        "cycle_mr": nn.functional.l1_loss(images.rec_mr, batch.real_mr),
        "cycle_ct": nn.functional.l1_loss(images.rec_ct, batch.real_ct),
        "gradient_mr": gradient_loss_inside(batch.real_mr, images.fake_ct, batch.mr_mask, mode=mode, operator=operator),
        "gradient_ct": gradient_loss_inside(batch.real_ct, images.fake_mr, batch.ct_mask, mode=mode, operator=operator),
    }


def gradient_loss_inside(real: Tensor, fake: Tensor, mask: Tensor, *, mode: Mode, operator: Operator) -> Tensor:
    """Gradient consistency loss of two images inside the body.

    In 2.5-D the slices form a slab ``(S, H, W)``, whose gradients across slices count too. A CT is compared with each
    contrast of an MR.
    """
    one, other = torch.broadcast_tensors(*(_by_contrast(image, mask.shape[1]) for image in (real, fake)))
    return gradient_consistency_loss(one, other, mode=mode, operator=operator, mask=_by_contrast(mask, mask.shape[1]))


def weighted_sum(
    losses: dict[str, Tensor], *, cycle: float, gradient: float, identity: float, depth_histogram: float = 0.0
) -> Tensor:
    """The generators' total loss from its unweighted terms; gradient consistency is the mean of both directions."""
    total = losses["adversarial_ct"] + losses["adversarial_mr"]
    total = total + cycle * (losses["cycle_mr"] + losses["cycle_ct"])
    total = total + gradient * (losses["gradient_mr"] + losses["gradient_ct"]) / 2
    if "identity_ct" in losses:
        total = total + identity * (losses["identity_mr"] + losses["identity_ct"])
    if "depth_histogram_ct" in losses:
        total = total + depth_histogram * (losses["depth_histogram_mr"] + losses["depth_histogram_ct"])
    return total


def discriminator_losses(networks: Networks, batch: Batch, fake_ct: Tensor, fake_mr: Tensor) -> dict[str, Tensor]:
    """Least-squares loss of each discriminator on real slices and on fakes from its pool, which are detached.

    ``discriminator_ct`` and ``discriminator_mr`` are to be minimised. Under the same names with ``_on_real`` and
    ``_on_fake`` are the detached mean scores: 1 means taken for real, 0 taken for fake.
    """
    losses = {}
    for name, real, fake in (("ct", batch.real_ct, fake_ct), ("mr", batch.real_mr, fake_mr)):
        discriminator = getattr(networks, f"{name}_discriminator")
        on_real, on_fake = discriminator(real), discriminator(fake)
        losses[f"discriminator_{name}"] = lsgan_discriminator_loss(on_real, on_fake)
        losses[f"discriminator_{name}_on_real"] = on_real.detach().mean()
        losses[f"discriminator_{name}_on_fake"] = on_fake.detach().mean()
    return losses


def _by_contrast(image: Tensor, slices: int) -> Tensor:
    """``(N, S * contrasts, H, W)`` to ``(N, contrasts, S, H, W)``, or ``(N, contrasts, H, W)`` of single slices."""
    return image if slices == 1 else image.unflatten(1, (slices, -1)).transpose(1, 2)
