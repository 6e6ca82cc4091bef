"""One training step, and the state that it changes."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclegan_gc.checkpoint import averaged_weights
from cyclegan_gc.config import LossConfig, TrainConfig
from cyclegan_gc.distributed import ALONE, Ranks
from cyclegan_gc.model.acceleration import Accelerated
from cyclegan_gc.model.cyclegan import (
    Batch,
    Networks,
    build_discriminator,
    build_generator,
    discriminator_losses,
    generator_losses,
    translate,
    weighted_sum,
)
from cyclegan_gc.model.image_pool import ImagePool, PoolState

POOLS = ("ct", "mr")


@dataclass(frozen=True)
class TrainState:
    """Everything that a step changes: networks, their averages, optimisers, learning rates and image pools."""

    networks: Networks
    accelerated: Networks
    """The same networks as the steps run them: in the chosen precision, compiled or not."""
    averages: dict[str, AveragedModel]
    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LambdaLR]
    scaler: GradScaler
    """Of the losses in fp16; passes everything through otherwise."""
    pools: dict[str, ImagePool]

    def averaged_networks(self) -> Networks:
        """The networks with the generators' moving averages in their place."""
        return replace(self.networks, **{name: average.module for name, average in self.averages.items()})


def build_state(config: TrainConfig, device: torch.device, rank: int = 0) -> TrainState:
    """Fresh networks on ``device`` with what trains them; the same seed gives the same weights on every rank."""
    if config.precision == "fp16":  # the scaler leaves out steps that overflow, the first one usually
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
    optimizer = config.optimizer
    networks = _build_networks(config, device)
    optimizers: dict[str, Optimizer] = {
        "generators": _adam(networks.generator_parameters(), config),
        "discriminators": _adam(networks.discriminator_parameters(), config),
    }
    return TrainState(
        networks=networks,
        averages={
            "mr_to_ct": _average(networks.mr_to_ct, optimizer.ema_decay),
            "ct_to_mr": _average(networks.ct_to_mr, optimizer.ema_decay),
        },
        accelerated=Networks(
            **{
                name: Accelerated(network, config.precision, compiled=config.compile)
                for name, network in vars(networks).items()
            }
        ),
        optimizers=optimizers,
        schedulers={name: LambdaLR(each, _learning_rate_course(config.steps)) for name, each in optimizers.items()},
        scaler=GradScaler(device.type, enabled=config.precision == "fp16"),
        pools={
            name: ImagePool(optimizer.pool_size, (rank << 34) + 2 * config.seed + n) for n, name in enumerate(POOLS)
        },
    )


def train_step(
    state: TrainState, batch: Batch, weights: LossConfig, *, parts: int = 1, ranks: Ranks = ALONE
) -> dict[str, Tensor]:
    """One generator update, then one discriminator update, on one unpaired batch.

    Args:
        state: is changed.
        batch: this rank's share of the step.
        weights: of the loss.
        parts: the batch goes through the networks in so many equal parts; the result is the whole batch's.
        ranks: the processes over which the gradients are averaged.

    Returns:
        Every loss term, unweighted and detached, under its own name; beside them the weighted sum ``generator``, the
        discriminators' mean scores and the norms of both gradients.
    """
    batches = batch.parts(parts)
    terms: list[dict[str, Tensor]] = []
    fakes: dict[str, list[Tensor]] = {name: [] for name in POOLS}

    def generator_totals() -> Iterator[Tensor]:
        for part in batches:
            images = translate(state.accelerated, part, identity=weights.identity > 0)
            losses = generator_losses(
                state.accelerated,
                part,
                images,
                gradient_mode=weights.gradient_mode,
                gradient_operator=weights.gradient_operator,
            )
            total = weighted_sum(losses, cycle=weights.cycle, gradient=weights.gradient, identity=weights.identity)
            terms.append({**losses, "generator": total})
            fakes["ct"].append(images.fake_ct.detach())
            fakes["mr"].append(images.fake_mr.detach())
            yield total / parts

    def discriminator_totals() -> Iterator[Tensor]:
        # A pool is asked once for the whole batch, so that it draws the same numbers however the batch is cut.
        shown = [state.pools[name].exchange(torch.cat(fakes[name])).chunk(parts) for name in POOLS]
        for number, (part, fake_ct, fake_mr) in enumerate(zip(batches, *shown, strict=True)):
            losses = discriminator_losses(state.accelerated, part, fake_ct, fake_mr)
            terms[number].update(losses)
            yield (losses["discriminator_ct"] + losses["discriminator_mr"]) / parts

    norms = {
        "gradient_norm_generators": update(state.optimizers["generators"], generator_totals(), state.scaler, ranks),
        "gradient_norm_discriminators": update(
            state.optimizers["discriminators"], discriminator_totals(), state.scaler, ranks
        ),
    }
    state.scaler.update()
    for name, average in state.averages.items():
        average.update_parameters(getattr(state.networks, name))
    for scheduler in state.schedulers.values():
        scheduler.step()
    return {**{name: _mean([each[name].detach() for each in terms]) for name in terms[0]}, **norms}


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


def state_dict(state: TrainState, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Plain types and tensors from which :func:`load_state` continues bit for bit; complete on the first rank."""
    return {
        "networks": {name: network.state_dict() for name, network in vars(state.networks).items()},
        "ema": {name: average.state_dict() for name, average in state.averages.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
        "schedulers": {name: scheduler.state_dict() for name, scheduler in state.schedulers.items()},
        "scaler": state.scaler.state_dict(),
        "pools": ranks.collect({name: pool.state_dict() for name, pool in state.pools.items()}),
        "rng": torch.get_rng_state(),
    }


def load_state(state: TrainState, saved: dict[str, Any], device: torch.device, ranks: Ranks = ALONE) -> None:
    """Continue exactly where ``saved`` was taken; on another number of ranks with the pools dealt out anew.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, network in vars(state.networks).items():
        network.load_state_dict(saved["networks"][name])
    for part, key in ((state.averages, "ema"), (state.optimizers, "optimizers"), (state.schedulers, "schedulers")):
        for name, each in part.items():
            each.load_state_dict(saved[key][name])
    if state.scaler.is_enabled() and saved["scaler"]:
        state.scaler.load_state_dict(saved["scaler"])
    pools = saved["pools"]
    for name, pool in state.pools.items():
        known: PoolState = pools[ranks.rank % len(pools)][name]
        if ranks.rank >= len(pools):  # it begins with another rank's images but draws its own numbers
            known = {"images": known["images"], "generator": pool.state_dict()["generator"]}
        pool.load_state_dict(known, device)
    torch.set_rng_state(saved["rng"])


def begin_with(state: TrainState, saved: dict[str, Any]) -> None:
    """Fresh training from another run's weights: its generators' moving averages and its discriminators.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, average in state.averages.items():
        for network in (getattr(state.networks, name), average.module):
            network.load_state_dict(averaged_weights(saved, name))
    for name in ("ct_discriminator", "mr_discriminator"):
        getattr(state.networks, name).load_state_dict(saved["networks"][name])


def _build_networks(config: TrainConfig, device: torch.device) -> Networks:
    net, seed = config.network, 4 * config.seed
    architecture = (net.width, net.blocks, net.reduction, net.stem, net.upsampling)
    mr, ct = config.data.mr_channels, config.data.ct_channels
    generators = [
        build_generator(*architecture, in_channels=mr, out_channels=ct, seed=seed),
        build_generator(*architecture, in_channels=ct, out_channels=mr, seed=seed + 1),
    ]
    for generator in generators:
        generator.recompute = config.activation_checkpointing
    patches = (net.discriminator_width, net.discriminator_layers)
    discriminators = [
        build_discriminator(*patches, channels=ct, seed=seed + 2),
        build_discriminator(*patches, channels=mr, seed=seed + 3),
    ]
    networks = [network.to(device) for network in (*generators, *discriminators)]
    if config.channels_last:
        networks = [network.to(memory_format=torch.channels_last) for network in networks]
    return Networks(*networks)


def _mean(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.stack(tensors).mean()


def _adam(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Adam:
    return Adam(parameters, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)


def _average(network: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _learning_rate_course(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 for the first half, then linear to 0."""
    return lambda step: min(1.0, 2 * (steps - step) / steps)
