"""One training step, and the state that it changes."""

from collections.abc import Iterable
from itertools import chain

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from cyclegan_gc.config import LossConfig, PairedConfig
from cyclegan_gc.distributed import ALONE, Ranks
from cyclegan_gc.model.cyclegan import Batch, Networks
from cyclegan_gc.train.objectives import StepLosses, paired_losses, unpaired_losses
from cyclegan_gc.train.state import TrainState


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
        # `inputs=` keeps this loss out of the other networks' gradients, so nothing is frozen and thawed.
        scaler.scale(loss).backward(inputs=parameters)
    ranks.average_gradients(parameters)
    if scaler.is_enabled():
        scaler.unscale_(optimizer)
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    scaler.step(optimizer)
    return norm.nan_to_num(0, 0, 0) if scaler.is_enabled() else norm
