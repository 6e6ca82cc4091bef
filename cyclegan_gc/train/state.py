"""The training state: build, save and restore it."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclegan_gc.checkpoint import averaged_weights
from cyclegan_gc.config import Direction, TrainConfig
from cyclegan_gc.distributed import ALONE, Ranks
from cyclegan_gc.model.acceleration import Accelerated
from cyclegan_gc.model.image_pool import ImagePool, PoolState
from cyclegan_gc.model.networks import PatchGAN, initialised
from cyclegan_gc.trained_model import generator_of

POOLS = ("ct", "mr")
"""Modalities of the image pools."""
GENERATORS = ("mr_to_ct", "ct_to_mr")
"""The other networks are discriminators."""
PAIR_SEED = 1 << 40
"""Seed of the discriminator of pairs, beyond the seeds of the four unpaired networks."""


@dataclass(frozen=True)
class TrainState:
    """Everything that a step changes: networks, their averages, optimisers, learning rates and image pools."""

    networks: dict[str, nn.Module]
    """Networks of the objective by name."""
    accelerated: dict[str, nn.Module]
    """The same networks as the steps run them: in the chosen precision, compiled or not."""
    averages: dict[str, AveragedModel]
    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LambdaLR]
    scaler: GradScaler
    """Scaler of the losses in fp16; passes everything through otherwise."""
    pools: dict[str, ImagePool]

    def averaged_networks(self) -> dict[str, nn.Module]:
        """The networks with the generators' moving averages in their place."""
        return {**self.networks, **{name: average.module for name, average in self.averages.items()}}


def build_state(config: TrainConfig, device: torch.device, rank: int = 0) -> TrainState:
    """Fresh networks on ``device`` with optimisers and pools; the same seed gives the same weights on every rank."""
    if config.precision == "fp16":  # the scaler leaves out steps that overflow, the first one usually
        warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
    optimizer = config.optimizer
    networks = build_networks(config, device)
    generators = [name for name in networks if name in GENERATORS]
    optimizers: dict[str, Optimizer] = {
        "generators": _adam([networks[name] for name in generators], config),
        "discriminators": _adam([networks[name] for name in networks if name not in GENERATORS], config),
    }
    return TrainState(
        networks=networks,
        averages={name: _average(networks[name], optimizer.ema_decay) for name in generators},
        accelerated={
            name: Accelerated(network, config.precision, compiled=config.compile) for name, network in networks.items()
        },
        optimizers=optimizers,
        schedulers={name: LambdaLR(each, _learning_rate_factor(config.steps)) for name, each in optimizers.items()},
        scaler=GradScaler(device.type, enabled=config.precision == "fp16"),
        pools={
            name: ImagePool(optimizer.pool_size, (rank << 34) + 2 * config.seed + n)
            for n, name in enumerate(POOLS)
            if config.objective == "unpaired"
        },
    )


def build_networks(config: TrainConfig, device: torch.device) -> dict[str, nn.Module]:
    """Fresh networks on ``device``; the same seed gives the same weights.

    The unpaired objective has four networks, the paired one ``mr_to_ct`` alone. Where there are pairs,
    ``pair_discriminator`` sees an MR beside a CT.
    """
    net, seed = config.network, 4 * config.seed
    mr, ct = config.data.mr_channels, config.data.ct_channels

    def generator(direction: Direction, own_seed: int) -> nn.Module:
        built = initialised(generator_of(net, {"mr": mr, "ct": ct}, direction), own_seed)
        built.recompute = config.activation_checkpointing
        return built

    def discriminator(channels: int, own_seed: int) -> nn.Module:
        return initialised(PatchGAN(net.discriminator_width, net.discriminator_layers, channels), own_seed)

    networks: dict[str, nn.Module] = {"mr_to_ct": generator("mr_to_ct", seed)}
    if config.objective == "unpaired":
        networks["ct_to_mr"] = generator("ct_to_mr", seed + 1)
        networks["ct_discriminator"] = discriminator(ct, seed + 2)
        networks["mr_discriminator"] = discriminator(mr, seed + 3)
    if config.data.pairs is not None:
        networks["pair_discriminator"] = discriminator(mr + ct, PAIR_SEED + config.seed)
    order = torch.channels_last if config.channels_last else torch.preserve_format
    return {name: network.to(device).to(memory_format=order) for name, network in networks.items()}


def state_dict(state: TrainState, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Plain types and tensors from which :func:`load_state` continues bit for bit; complete on the first rank."""
    return {
        "networks": {name: network.state_dict() for name, network in state.networks.items()},
        "ema": {name: average.state_dict() for name, average in state.averages.items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
        "schedulers": {name: scheduler.state_dict() for name, scheduler in state.schedulers.items()},
        "scaler": state.scaler.state_dict(),
        "pools": ranks.collect({name: pool.state_dict() for name, pool in state.pools.items()}),
        "rng": torch.get_rng_state(),
    }


def load_state(state: TrainState, saved: dict[str, Any], device: torch.device, ranks: Ranks = ALONE) -> None:
    """Continue exactly where ``saved`` was taken; with another number of ranks the pools are distributed again.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, network in state.networks.items():
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
    """Begin with the weights of another run: its generators' moving averages, and the discriminators of both runs.

    Exported weights have no discriminators; these begin anew.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, average in state.averages.items():
        for network in (state.networks[name], average.module):
            network.load_state_dict(averaged_weights(saved, name))
    discriminators = saved.get("networks", {})
    for name in state.networks.keys() - state.averages.keys() & discriminators.keys():
        state.networks[name].load_state_dict(discriminators[name])


def _adam(networks: Iterable[nn.Module], config: TrainConfig) -> Adam:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return Adam(parameters, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)


def _average(network: nn.Module, decay: float) -> AveragedModel:
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average.eval()  # evaluation mode: no dropout
    return average


def _learning_rate_factor(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 for the first half, then linear to 0."""
    return lambda step: min(1.0, 2 * (steps - step) / steps)
