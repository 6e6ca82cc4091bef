"""One training step, and the state that it changes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclegan_gc.config import LossConfig, TrainConfig
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
from cyclegan_gc.model.image_pool import ImagePool


@dataclass(frozen=True)
class TrainState:
    """Everything that a step changes: networks, their averages, optimisers, learning rates and image pools."""

    networks: Networks
    averages: dict[str, AveragedModel]
    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LambdaLR]
    pools: dict[str, ImagePool]

    def averaged_networks(self) -> Networks:
        """The networks with the generators' moving averages in their place."""
        return replace(self.networks, **{name: average.module for name, average in self.averages.items()})


def build_state(config: TrainConfig, device: torch.device) -> TrainState:
    """Fresh networks on ``device`` with what trains them; the same seed gives the same weights."""
    net, optimizer = config.network, config.optimizer
    generator = (net.width, net.blocks, net.reduction, net.stem, net.upsampling)
    discriminator = (net.discriminator_width, net.discriminator_layers)
    networks = Networks(
        mr_to_ct=build_generator(*generator, seed=4 * config.seed).to(device),
        ct_to_mr=build_generator(*generator, seed=4 * config.seed + 1).to(device),
        ct_discriminator=build_discriminator(*discriminator, seed=4 * config.seed + 2).to(device),
        mr_discriminator=build_discriminator(*discriminator, seed=4 * config.seed + 3).to(device),
    )
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
        optimizers=optimizers,
        schedulers={name: LambdaLR(each, _learning_rate_course(config.steps)) for name, each in optimizers.items()},
        pools={name: ImagePool(optimizer.pool_size, 2 * config.seed + n) for n, name in enumerate(("ct", "mr"))},
    )


def train_step(state: TrainState, batch: Batch, weights: LossConfig) -> dict[str, Tensor]:
    """One generator update, then one discriminator update, on one unpaired batch.

    Returns:
        Every loss term, unweighted and detached, under its own name, beside the weighted sum ``generator``.
    """
    images = translate(state.networks, batch, identity=weights.identity > 0)
    generator = generator_losses(
        state.networks,
        batch,
        images,
        gradient_mode=weights.gradient_mode,
        gradient_operator=weights.gradient_operator,
    )
    total = weighted_sum(generator, cycle=weights.cycle, gradient=weights.gradient, identity=weights.identity)
    update(state.optimizers["generators"], total)

    discriminator = discriminator_losses(state.networks, batch, images, state.pools["ct"], state.pools["mr"])
    update(state.optimizers["discriminators"], discriminator["discriminator_ct"] + discriminator["discriminator_mr"])

    for name, average in state.averages.items():
        average.update_parameters(getattr(state.networks, name))
    for scheduler in state.schedulers.values():
        scheduler.step()
    return {name: loss.detach() for name, loss in {**generator, **discriminator, "generator": total}.items()}


def update(optimizer: Optimizer, loss: Tensor) -> None:
    """One step of ``optimizer`` down the gradient of ``loss``."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.zero_grad(set_to_none=True)
    # `inputs=` keeps this loss out of the other networks' gradients, so nothing is frozen and thawed.
    loss.backward(inputs=parameters)
    optimizer.step()


def state_dict(state: TrainState) -> dict[str, Any]:
    """Plain types and tensors from which :func:`load_state` continues bit for bit."""
    return {
        "networks": {name: network.state_dict() for name, network in vars(state.networks).items()},
        "ema": {name: average.state_dict() for name, average in state.averages.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
        "schedulers": {name: scheduler.state_dict() for name, scheduler in state.schedulers.items()},
        "pools": {name: pool.state_dict() for name, pool in state.pools.items()},
        "rng": torch.get_rng_state(),
    }


def load_state(state: TrainState, saved: dict[str, Any], device: torch.device) -> None:
    """Continue exactly where ``saved`` was taken.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, network in vars(state.networks).items():
        network.load_state_dict(saved["networks"][name])
    for part, key in ((state.averages, "ema"), (state.optimizers, "optimizers"), (state.schedulers, "schedulers")):
        for name, each in part.items():
            each.load_state_dict(saved[key][name])
    for name, pool in state.pools.items():
        pool.load_state_dict(saved["pools"][name], device)
    torch.set_rng_state(saved["rng"])


def _adam(parameters: Iterable[nn.Parameter], config: TrainConfig) -> Adam:
    return Adam(parameters, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)


def _average(network: nn.Module, decay: float) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))


def _learning_rate_course(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 for the first half, then linear to 0."""
    return lambda step: min(1.0, 2 * (steps - step) / steps)
