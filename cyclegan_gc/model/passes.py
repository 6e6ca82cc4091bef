"""Many slices through a network within the memory there is."""

import torch
from torch import Tensor, nn

from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.model.strips import translate_in_strips

STRIPS = 8
"""Parts of a slice that alone is too large for the accelerator."""


class Passes:
    """Runs networks over slices; where memory is short it goes on with less and remembers so.

    The batch is halved down to one slice; a slice that alone does not fit goes in strips, exactly; at last the network
    moves to the CPU.

    Args:
        batch_size: slices per pass to begin with.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.in_strips = False
        self.notes: list[str] = []

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
                done.append(self._translate(network, batch).float().cpu())
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
        """Go on with less memory; False where nothing is left to try."""
        if self.batch_size > 1:
            self.batch_size //= 2
            self.notes.append(f"Memory was short; {self.batch_size} slices a pass.")
        elif _device(network).type == "cpu":
            return False
        elif not self.in_strips:
            self.in_strips = True
            self.notes.append("Memory was short; slices went through the network in strips.")
        else:
            network.to("cpu")
            self.in_strips = False
            self.notes.append("Memory was short; the network moved to the CPU.")
        return True


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _memory_is_short(error: Exception) -> bool:
    """CUDA has an error of its own; MPS and the CPU raise a RuntimeError with these words."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        words in str(error).lower() for words in ("out of memory", "can't allocate memory")
    )
