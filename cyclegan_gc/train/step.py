"""One training step, and the state that it changes."""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import get_total_norm
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from cyclegan_gc.checkpoint import averaged_weights
from cyclegan_gc.config import LossConfig, PairedConfig, TrainConfig
from cyclegan_gc.distributed import ALONE, Ranks
from cyclegan_gc.model.acceleration import Accelerated
from cyclegan_gc.model.cyclegan import Batch, Networks
from cyclegan_gc.model.image_pool import ImagePool, PoolState
from cyclegan_gc.train.networks import GENERATORS, build_networks
from cyclegan_gc.train.objectives import POOLS, StepLosses, paired_losses, unpaired_losses


@dataclass(frozen=True)
class TrainState:
    """Everything that a step changes: networks, their averages, optimisers, learning rates and image pools."""

    networks: dict[str, nn.Module]
    """Those of the objective by name, see :mod:`cyclegan_gc.train.networks`."""
    accelerated: dict[str, nn.Module]
    """The same networks as the steps run them: in the chosen precision, compiled or not."""
    averages: dict[str, AveragedModel]
    optimizers: dict[str, Optimizer]
    schedulers: dict[str, LambdaLR]
    scaler: GradScaler
    """Of the losses in fp16; passes everything through otherwise."""
    pools: dict[str, ImagePool]

    def averaged_networks(self) -> dict[str, nn.Module]:
        """The networks with the generators' moving averages in their place."""
        return {**self.networks, **{name: average.module for name, average in self.averages.items()}}


def build_state(config: TrainConfig, device: torch.device, rank: int = 0) -> TrainState:
    """Fresh networks on ``device`` with what trains them; the same seed gives the same weights on every rank."""
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
        schedulers={name: LambdaLR(each, _learning_rate_course(config.steps)) for name, each in optimizers.items()},
        scaler=GradScaler(device.type, enabled=config.precision == "fp16"),
        pools={
            name: ImagePool(optimizer.pool_size, (rank << 34) + 2 * config.seed + n)
            for n, name in enumerate(POOLS)
            if config.objective == "unpaired"
        },
    )


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
    """Continue exactly where ``saved`` was taken; on another number of ranks with the pools dealt out anew.

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
    """Fresh training from another run's weights: its generators' moving averages, and those discriminators that it has.

    Raises:
        RuntimeError: if the weights are another architecture's.
    """
    for name, average in state.averages.items():
        for network in (state.networks[name], average.module):
            network.load_state_dict(averaged_weights(saved, name))
    for name in state.networks.keys() - state.averages.keys() & saved["networks"].keys():
        state.networks[name].load_state_dict(saved["networks"][name])


def _adam(networks: Iterable[nn.Module], config: TrainConfig) -> Adam:
    parameters = [parameter for network in networks for parameter in network.parameters()]
    return Adam(parameters, lr=config.optimizer.learning_rate, betas=config.optimizer.betas)


def _average(network: nn.Module, decay: float) -> AveragedModel:
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))
    average.eval()  # no dropout where it is looked at
    return average


def _learning_rate_course(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 for the first half, then linear to 0."""
    return lambda step: min(1.0, 2 * (steps - step) / steps)
