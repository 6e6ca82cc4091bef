"""The two kinds of network: a ResNet generator (Johnson et al. 2016, as in Zhu et al. 2017) and a PatchGAN."""

from typing import Literal, TypeVar

import torch
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Stem = Literal["conv", "unshuffle"]
Upsampling = Literal["resize", "transpose"]
Reduction = Literal[2, 4]
Network = TypeVar("Network", bound=nn.Module)


class ResnetGenerator(nn.Module):
    """Image to image through residual blocks at a lower resolution: stem, blocks, up-sampling, tanh.

    ``(N, in, H, W)`` in [-1, 1] to ``(N, out, H, W)`` in [-1, 1]; H and W are multiples of the reduction and at least
    16. No convolution before an instance norm has a bias: the norm would cancel it, and Adam would turn its rounding
    noise into steps.

    Args:
        width: channels at full resolution (64 in Zhu et al. 2017); the blocks carry ``reduction * width``.
        blocks: residual blocks (9 in Zhu et al. 2017 and Hiasa et al. 2018).
        reduction: how many times smaller the slices are in the blocks (4 in Zhu et al. 2017). 2 keeps structures that
            are one or two pixels thick, such as the skull in coarse slices.
        stem: ``conv`` is the 7x7 convolution and strided ones; ``unshuffle`` moves each patch into channels first and
            convolves at full resolution only at the end: 5 to 10 % fewer operations.
        upsampling: ``resize`` (nearest neighbour, then convolution) avoids checkerboard patterns; ``transpose`` is the
            transposed convolution of the original.
        in_channels: channels of the input.
        out_channels: channels of the output.
        dropout: share of features that each block drops while the network trains (noise of the paired objective, as
            in Isola et al. 2017); nothing is dropped in evaluation mode.
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 9,
        reduction: Reduction = 4,
        stem: Stem = "conv",
        upsampling: Upsampling = "resize",
        in_channels: int = 1,
        out_channels: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.recompute = False
        """Recompute each block's inner features in the backward pass: less memory, a third slower."""
        # Each halving of the resolution doubles the channels.
        halvings = [width * factor for factor in (1, 2) if factor < reduction]
        self.stem = (_conv_stem if stem == "conv" else _unshuffle_stem)(in_channels, halvings)
        self.blocks = nn.Sequential(*(ResidualBlock(reduction * width, dropout) for _ in range(blocks)))
        self.tail = nn.Sequential(
            *(_upsample(2 * channels, channels, upsampling) for channels in reversed(halvings)),
            *_output(width, out_channels, kernel=7 if stem == "conv" else 3),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Translate ``(N, in, H, W)`` to ``(N, out, H, W)``."""
        if image.shape[-2] % self.reduction or image.shape[-1] % self.reduction:
            raise ValueError(f"height and width must be multiples of {self.reduction}, got {tuple(image.shape[-2:])}")
        features = self.stem(image)
        for block in self.blocks:
            again = self.recompute and torch.is_grad_enabled()
            features = checkpoint(block, features, use_reentrant=False) if again else block(features)
        return self.tail(features)


class ResidualBlock(nn.Module):
    """``x + f(x)`` with two 3x3 convolutions, reflected borders, instance norm and dropout between them."""

    def __init__(self, channels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(N, C, H, W)`` to the same shape."""
        return features + self.body(features)


class PatchGAN(PatchDiscriminator):
    """The discriminator of Isola et al. 2017, for patches of 70x70 at ``layers=3``."""

    def __init__(self, width: int = 64, layers: int = 3, in_channels: int = 1) -> None:
        super().__init__(2, channels=width, in_channels=in_channels, num_layers_d=layers, norm="INSTANCE")

    def forward(self, image: Tensor) -> Tensor:
        """Score map ``(N, 1, h, w)`` of an image ``(N, C, H, W)``; 1 is the target for real, 0 for fake."""
        return super().forward(image)[-1]


def initialised(network: Network, seed: int) -> Network:
    """The network, its convolutions' weights drawn from N(0, 0.02), as in Zhu et al. 2017, and its biases set to 0."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network


def _conv_stem(in_channels: int, halvings: list[int]) -> nn.Sequential:
    first = nn.Conv2d(in_channels, halvings[0], 7, padding=3, padding_mode="reflect", bias=False)
    strided = (nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False) for channels in halvings)
    return nn.Sequential(*(layer for convolution in (first, *strided) for layer in _norm_relu(convolution)))


def _unshuffle_stem(in_channels: int, halvings: list[int]) -> nn.Sequential:
    factor = 2 ** len(halvings)
    convolution = nn.Conv2d(in_channels * factor**2, 2 * halvings[-1], 3, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(nn.PixelUnshuffle(factor), *_norm_relu(convolution))


def _upsample(channels: int, out_channels: int, upsampling: Upsampling) -> nn.Sequential:
    if upsampling == "transpose":
        convolution = nn.ConvTranspose2d(channels, out_channels, 3, 2, padding=1, output_padding=1, bias=False)
        return nn.Sequential(*_norm_relu(convolution))
    convolution = nn.Conv2d(channels, out_channels, 3, padding=1, padding_mode="reflect", bias=False)
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *_norm_relu(convolution))


def _output(width: int, out_channels: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(width, out_channels, kernel, padding=kernel // 2, padding_mode="reflect"), nn.Tanh()


def _norm_relu(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, nn.Module, nn.Module]:
    return convolution, nn.InstanceNorm2d(convolution.out_channels), nn.ReLU(inplace=True)
