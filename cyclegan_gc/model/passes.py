"""Runs many slices through a network in the memory that is available."""

from copy import deepcopy
from itertools import chain

import torch
from torch import Tensor, nn

from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.model.strips import translate_in_strips

STRIPS = 8
"""Number of parts of a slice that does not fit on the accelerator."""


class Passes:
    """Runs networks over slices; where memory is short it uses less, also for later slices.

    First the batch is halved, down to one slice. A slice that does not fit by itself goes in strips, with the same
    result. Last, a copy of the network runs on the CPU; the caller's network is never moved or changed. After a change
    of the weights use a new object.

    Args:
        batch_size: slices per pass to begin with.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.in_strips = False
        self.notes: list[str] = []
        self._copies: dict[nn.Module, nn.Module] = {}

    @torch.inference_mode()
    def run(self, network: nn.Module, images: Tensor) -> Tensor:
        """``(N, C, H, W)`` on any device to the network's output, float32 on the CPU.

        Raises:
            RuntimeError: if the memory does not hold one slice even on the CPU.
        """
        done, position = [], 0
        while position < len(images):
            batch = images[position : position + self.batch_size]
            try:
                done.append(self._translate(self._copies.get(network, network), batch).float().cpu())
            except (RuntimeError, MemoryError) as error:
                if not _memory_is_short(error) or not self._shrink(network):
                    raise
                continue
            position += len(batch)
        return torch.cat(done)

    def _translate(self, network: nn.Module, batch: Tensor) -> Tensor:
        if self.in_strips and isinstance(network, ResnetGenerator):
            return translate_in_strips(network, batch, rows=-(-batch.shape[-2] // STRIPS))
        return network(batch.to(_device(network)))

    def _shrink(self, network: nn.Module) -> bool:
        """Choose a way that needs less memory; False where none is left."""
        if self.batch_size > 1:
            self.batch_size //= 2
            self.notes.append(f"Memory was short; {self.batch_size} slices a pass.")
        elif network in self._copies or _device(network).type == "cpu":
            return False
        elif not self.in_strips:
            self.in_strips = True
            self.notes.append("Memory was short; slices went through the network in strips.")
        else:
            self._copies[network] = _copy_on_cpu(network)
            self.in_strips = False
            self.notes.append("Memory was short; the network ran on the CPU.")
        return True


def _copy_on_cpu(network: nn.Module) -> nn.Module:
    """A copy on the CPU; nothing is allocated on the full accelerator."""
    weights = {id(each): nn.Parameter(each.detach().cpu(), each.requires_grad) for each in network.parameters()}
    buffers = {id(each): each.detach().cpu() for each in network.buffers()}
    return deepcopy(network, {**weights, **buffers})


def _device(network: nn.Module) -> torch.device:
    """Where a network lies; one without any tensor runs on the CPU."""
    return next(chain(network.parameters(), network.buffers(), [torch.empty(0)])).device


def _memory_is_short(error: Exception) -> bool:
    """CUDA raises its own class of error; MPS and the CPU raise a RuntimeError with these words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory")
    )
