"""Memory of a training step, estimated before the first one by a step on tensors without data."""

import weakref
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.device import free_bytes
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.state import build_state
from cyclegan_gc.train.step import train_step

HALVED = 0.72
"""Memory of a step in 16 bits relative to 32 bits, without the copies of the weights. Convolutions are halved, images
and losses are not (0.71 to 0.73, measured for five sizes of networks and slices)."""
BYTES_IN_16_BITS = 2


class MemoryMeter(TorchDispatchMode):
    """Counts the bytes of all tensors that live at once while it is active.

    Workspaces of the convolutions and reserves of the allocator do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: Any) -> None:
        if storage not in self._known:
            size = self._known[storage] = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size


def estimate_bytes(config: TrainConfig, ranks: int = 1) -> tuple[int, int]:
    """Bytes that one process always holds (weights, averages, optimisers, pools), and bytes that a step adds."""
    batch_size, (mr, ct) = config.optimizer.batch_size // ranks, (config.data.mr_channels, config.data.ct_channels)
    plain = replace(config, precision="fp32", compile=False)
    with torch.random.fork_rng(devices=[]), MemoryMeter() as meter:
        state = build_state(plain, torch.device("meta"))
        images = [torch.empty(batch_size, channels, *config.data.crop, device="meta") for channels in (mr, ct)]
        masks = [torch.empty(images[1].shape, dtype=torch.bool, device="meta") for _ in range(2)]
        batch = Batch(*images, *masks)
        unpaired, pairs = batch if state.pools else None, batch if "pair_discriminator" in state.networks else None
        for _ in range(2):  # the first one also makes the optimisers' state
            train_step(state, unpaired, config.loss, pairs=pairs, paired=config.paired, parts=config.accumulate)
            kept = meter.now
    pools = config.optimizer.pool_size * sum(image[0].nbytes for image in images) if state.pools else 0
    step = meter.peak - kept
    if config.precision != "fp32":  # autocast does not run on tensors without data
        weights = sum(p.numel() for network in state.networks.values() for p in network.parameters())
        step = round(HALVED * step) + BYTES_IN_16_BITS * weights
    return kept + pools, step


def memory_line(config: TrainConfig, device: torch.device, ranks: int = 1) -> tuple[str, bool]:
    """The estimate in words, and whether it fits into the memory that is free on ``device`` now."""
    kept, step = estimate_bytes(config, ranks)
    free = free_bytes(device)
    beside = "" if free is None else f"; {free / 1e9:.1f} GB free on {device}"
    line = f"memory: about {(kept + step) / 1e9:.2f} GB per process ({step / 1e9:.2f} of it for a step{beside})"
    return line, free is None or kept + step < free
