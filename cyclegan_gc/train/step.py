"""One training step: the generators' update, then the discriminators'; with the losses of both."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from cyclegan_gc.config import LossConfig, PairedConfig
from cyclegan_gc.distributed import ALONE, Ranks
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
from cyclegan_gc.train.state import POOLS, TrainState


def train_step(
    state: TrainState,
    batch: Batch | None,
    weights: LossConfig,
    *,
    pairs: Batch | None = None,
    paired: PairedConfig = PairedConfig(),  # noqa: B008 it is frozen
    parts: int = 1,
    ranks: Ranks = ALONE,
) -> dict[str, Tensor]:
    """One generator update, then one discriminator update, on an unpaired batch, a batch of pairs or both together.

    Args:
        state: is changed.
        batch: this rank's share of the step, unpaired; None with objective paired.
        weights: of the unpaired loss.
        pairs: this rank's share of registered pairs; None where the step has none.
        paired: weights and forms of the pairs' terms.
        parts: each batch goes through the networks in so many equal parts; the result is the whole batch's.
        ranks: the processes over which the gradients are averaged.

    Returns:
        Every loss term, unweighted and detached, under its own name; beside them their weighted sum
        ``generator``, the discriminators' mean scores and the norms of both gradients.
    """
    objectives: list[StepLosses] = []
    if batch is not None:
        objectives.append(unpaired_losses(Networks.of(state.accelerated), state.pools, batch, weights, parts))
    if pairs is not None:
        generator, discriminator = state.accelerated["mr_to_ct"], state.accelerated["pair_discriminator"]
        objectives.append(paired_losses(generator, discriminator, pairs, paired, parts))
    losses = {
        "generators": chain.from_iterable(each.of_generators for each in objectives),
        "discriminators": chain.from_iterable(each.of_discriminators for each in objectives),
    }
    norms = {
        f"gradient_norm_{name}": update(state.optimizers[name], each, state.scaler, ranks)
        for name, each in losses.items()
    }
    state.scaler.update()
    for name, average in state.averages.items():
        average.update_parameters(state.networks[name])
    for scheduler in state.schedulers.values():
        scheduler.step()
    terms = [each.means() for each in objectives]
    merged = {name: value for each in terms for name, value in each.items()}
    return {**merged, "generator": torch.stack([each["generator"] for each in terms]).sum(), **norms}


def update(optimizer: Optimizer, losses: Iterable[Tensor], scaler: GradScaler, ranks: Ranks = ALONE) -> Tensor:
    """One step of ``optimizer`` down the gradient of the sum of ``losses``, averaged over the ranks.

    Returns:
        Euclidean norm of the gradient; 0 in fp16 where it overflowed and the step was left out.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    for loss in losses:
        # `inputs=` keeps this loss out of the other networks' gradients, so no network has to be frozen.
        scaler.scale(loss).backward(inputs=parameters)
    ranks.average_gradients(parameters)
    if scaler.is_enabled():
        scaler.unscale_(optimizer)
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    scaler.step(optimizer)
    return norm.nan_to_num(0, 0, 0) if scaler.is_enabled() else norm


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
