"""Precision and compilation of a network's forward pass; apart from rounding the result is the same."""

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["fp32", "bf16", "fp16"]

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Accelerated(nn.Module):
    """Runs ``network`` under autocast or compiled and returns float32.

    Losses are computed outside, in float32: 16 bits are too few for a correlation of gradients.

    Args:
        network: holds the parameters; this is the module to save.
        precision: of the convolutions; the weights are float32 in any case.
        compiled: compile with ``torch.compile`` at the first call.
    """

    def __init__(self, network: nn.Module, precision: Precision = "fp32", *, compiled: bool = False) -> None:
        super().__init__()
        self.dtype = DTYPES.get(precision)
        self.run = torch.compile(network) if compiled else network

    def forward(self, image: Tensor) -> Tensor:
        """Run ``(N, C, H, W)`` through the network."""
        with torch.autocast(image.device.type, dtype=self.dtype) if self.dtype else nullcontext():
            result = self.run(image)
        return result.float() if result.dtype in DTYPES.values() else result
