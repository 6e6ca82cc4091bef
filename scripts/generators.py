#!/usr/bin/env python3
"""Measures the cost of the generators of the configs: operations, parameters and the speed of whole training steps.

    python scripts/generators.py

Every network trains on the same random slices with one thread. The first step of each is not timed; then the networks
take turns. Speeds are ratios of CPU time to configs/hip.yaml (after Hiasa et al.: ResNet with 9 blocks, width 64): the
median over the rounds, with the range. In GFLOP a multiplication and its addition count as two. Both generators of a
run are alike. The steps are without the depth term.
"""

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from cyclegan_gc.config import DataConfig, LossConfig, NetworkConfig, OptimizerConfig, TrainConfig
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.state import TrainState, build_state
from cyclegan_gc.train.step import train_step

CONFIGS = Path(__file__).parents[1] / "configs"
REFERENCE = "configs/hip.yaml"
CHANGED = {
    "`--network.stem unshuffle`": {"stem": "unshuffle"},
    "`--network.width 32`": {"width": 32},
    "`--network.stem unshuffle --network.width 32`": {"stem": "unshuffle", "width": 32},
}
"""Options that are also measured on the reference."""
COLUMNS = ("networks", "GFLOP a slice", "parameters", "GFLOP a step", "steps per second")


@dataclass(frozen=True)
class Cost:
    """Operations and parameters of a generator, and operations of a step with it."""

    gflop_slice: float
    parameters: int
    gflop_step: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="height and width of the slices in pixels")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, each of one step")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = random_batch(options.size)
    states = {name: state_of(network, batch) for name, network in networks().items()}
    costs = {name: cost_of(state, batch) for name, state in states.items()}
    seconds = [{name: step_seconds(state, batch) for name, state in states.items()} for _ in range(options.rounds)]
    print(f"slices of {options.size} x {options.size}, batch 1, one thread, {options.rounds} rounds\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name, cost in costs.items():
        ratios = [each[REFERENCE] / each[name] for each in seconds]
        figures = f"{cost.gflop_slice:.2f} | {cost.parameters / 1e6:.2f} M | {cost.gflop_step:.1f}"
        print(f"| {name} | {figures} | {np.median(ratios):.2g} ({min(ratios):.2g} to {max(ratios):.2g}) |")


def networks() -> dict[str, NetworkConfig]:
    """The distinct networks of the configs, the last also with the reference's discriminators, and the variants."""
    alike: dict[NetworkConfig, list[str]] = {}
    for name in ("hip.yaml", "head.yaml", "phantom.yaml"):
        settings = yaml.safe_load((CONFIGS / name).read_text())["network"]
        alike.setdefault(NetworkConfig(**settings), []).append(f"configs/{name}")
    found = {", ".join(names): network for network, names in alike.items()}
    reference, (small, network) = found[REFERENCE], list(found.items())[-1]
    patches = {name: getattr(reference, name) for name in ("discriminator_width", "discriminator_layers")}
    found[f"{small}, discriminators of {REFERENCE}"] = replace(network, **patches)
    return found | {f"{REFERENCE}, {name}": replace(reference, **change) for name, change in CHANGED.items()}


def state_of(network: NetworkConfig, batch: Batch) -> TrainState:
    height, width = batch.real_mr.shape[-2:]
    data = DataConfig("MR", "CT", crop=(height, width))
    config = TrainConfig(Path("RUN"), data, network=network, optimizer=OptimizerConfig(batch_size=1))
    return build_state(config, torch.device("cpu"))


def random_batch(size: int) -> Batch:
    body = torch.ones(1, 1, size, size, dtype=torch.bool)
    mr, ct = 2 * torch.rand(2, 1, 1, size, size) - 1
    return Batch(real_mr=mr, real_ct=ct, mr_mask=body, ct_mask=body)


def cost_of(state: TrainState, batch: Batch) -> Cost:
    """Count operations and parameters in the first step, which also reserves memory."""
    generator = state.networks["mr_to_ct"]
    with FlopCounterMode(display=False) as forward, torch.no_grad():
        generator(batch.real_mr)
    with FlopCounterMode(display=False) as step:
        train_step(state, batch, LossConfig())
    parameters = sum(each.numel() for each in generator.parameters())
    return Cost(forward.get_total_flops() / 1e9, parameters, step.get_total_flops() / 1e9)


def step_seconds(state: TrainState, batch: Batch) -> float:
    """CPU seconds of one step."""
    since = time.process_time()
    train_step(state, batch, LossConfig())
    return time.process_time() - since


if __name__ == "__main__":
    main()
