"""The losses of a step: the generators', then the discriminators' on what the generators made, part by part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cyclegan_gc.config import LossConfig, PairedConfig
from cyclegan_gc.model.cyclegan import (
    Batch,
    Networks,
    discriminator_losses,
    generator_losses,
    translate,
    weighted_sum,
)
from cyclegan_gc.model.image_pool import ImagePool
from cyclegan_gc.model.paired import (
    paired_discriminator_losses,
    paired_generator_losses,
    paired_sum,
    translate_pair,
)

POOLS = ("ct", "mr")


@dataclass(frozen=True)
class StepLosses:
    """Losses of one batch under one objective. Each part is computed on demand, so that only one is in memory."""

    of_generators: Iterator[Tensor]
    """Weighted generator loss of each part, divided by the number of parts."""
    of_discriminators: Iterator[Tensor]
    """Discriminator loss of each part, divided by the number of parts; to be taken after the generators'."""
    terms: list[dict[str, Tensor]]
    """Terms of each part, filled on the way: unweighted losses and, as ``generator``, their weighted sum."""

    def means(self) -> dict[str, Tensor]:
        """Every term of the whole batch, detached."""
        return {name: _mean([part[name].detach() for part in self.terms]) for name in self.terms[0]}


def unpaired_losses(
    networks: Networks, pools: Mapping[str, ImagePool], batch: Batch, weights: LossConfig, parts: int = 1
) -> StepLosses:
    """Losses of an unpaired batch; the discriminators see fakes out of ``pools``, which are changed."""
    batches, terms = batch.parts(parts), []
    fakes: dict[str, list[Tensor]] = {name: [] for name in POOLS}
    mode, operator = weights.gradient_mode, weights.gradient_operator

    def of_generators() -> Iterator[Tensor]:
        for part in batches:
            images = translate(networks, part, identity=weights.identity > 0)
            losses = generator_losses(networks, part, images, gradient_mode=mode, gradient_operator=operator)
            total = weighted_sum(
                losses,
                cycle=weights.cycle,
                gradient=weights.gradient,
                identity=weights.identity,
                depth_histogram=weights.depth_histogram,
            )
            terms.append({**losses, "generator": total})
            fakes["ct"].append(images.fake_ct.detach())
            fakes["mr"].append(images.fake_mr.detach())
            yield total / parts

    def of_discriminators() -> Iterator[Tensor]:
        # A pool is asked once for the whole batch, so that it draws the same numbers however the batch is cut.
        shown = [pools[name].exchange(torch.cat(fakes[name])).chunk(parts) for name in POOLS]
        for number, (part, fake_ct, fake_mr) in enumerate(zip(batches, *shown, strict=True)):
            losses = discriminator_losses(networks, part, fake_ct, fake_mr)
            terms[number].update(losses)
            yield (losses["discriminator_ct"] + losses["discriminator_mr"]) / parts

    return StepLosses(of_generators(), of_discriminators(), terms)


def paired_losses(
    generator: nn.Module, discriminator: nn.Module, batch: Batch, settings: PairedConfig, parts: int = 1
) -> StepLosses:
    """Losses of a batch of registered pairs; the discriminator sees each MR beside the newest fake, as in pix2pix."""
    batches, terms = batch.parts(parts), []
    fakes: list[Tensor] = []
    mode, operator, form = settings.gradient_mode, settings.gradient_operator, settings.adversarial

    def of_generators() -> Iterator[Tensor]:
        for part in batches:
            fakes.append(translate_pair(generator, part))
            losses = paired_generator_losses(
                discriminator, part, fakes[-1], adversarial=form, gradient_mode=mode, gradient_operator=operator
            )
            total = paired_sum(losses, l1=settings.l1, gradient=settings.gradient)
            terms.append({**losses, "generator": total})
            fakes[-1] = fakes[-1].detach()
            yield total / parts

    def of_discriminators() -> Iterator[Tensor]:
        for number, (part, fake_ct) in enumerate(zip(batches, fakes, strict=True)):
            losses = paired_discriminator_losses(discriminator, part, fake_ct, adversarial=form)
            terms[number].update(losses)
            yield losses["paired_discriminator"] / parts

    return StepLosses(of_generators(), of_discriminators(), terms)


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean()
