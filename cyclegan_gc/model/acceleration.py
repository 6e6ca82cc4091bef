"""How a network is run: in which precision, compiled, with which order in memory. What it computes is the network's."""

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Accelerated(nn.Module):
    """Runs ``network`` under autocast or compiled; what comes out of 16 bits is float32 again.

    Losses stay outside, in float32: a correlation of gradients has no digits left in 16 bits.

    Args:
        network: keeps its parameters, so it is what is saved.
        precision: of its convolutions; its weights are float32 in any case.
        compiled: by ``torch.compile``, at the first call.
    """

    def __init__(self, network: nn.Module, precision: Precision = "fp32", *, compiled: bool = False) -> None:
        super().__init__()
        self.dtype = DTYPES.get(precision)
        self.run = torch.compile(network) if compiled else network

    def forward(self, image: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the network's output; of a discriminator that returns a list, its last entry."""
        with torch.autocast(image.device.type, dtype=self.dtype) if self.dtype else nullcontext():
            result = self.run(image)
        image = result if isinstance(result, Tensor) else result[-1]
        return image.float() if image.dtype in DTYPES.values() else image
