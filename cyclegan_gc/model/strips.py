"""Runs slices that are too large for the accelerator layer by layer in strips.

Ordinary tiles each have their own mean and variance, so an instance norm changes the brightness from tile to tile. Here
every layer is finished over the whole slice before the next one starts, so the strips are not visible.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from cyclegan_gc.model.networks import ResidualBlock, ResnetGenerator

POINTWISE = (nn.InstanceNorm2d, nn.ReLU, nn.Dropout, nn.Tanh, nn.PixelUnshuffle, nn.Upsample)
"""Layers without weights; they run on the CPU, where the whole feature map is."""


def translate_in_strips(generator: ResnetGenerator, image: Tensor, rows: int) -> Tensor:
    """``generator(image)`` up to rounding, with one strip of one convolution at a time on the generator's device.

    The feature maps are kept on the CPU; the device holds the weights, and ``rows`` rows (plus the kernel's margin) of
    one layer's input and output.

    The generator is in evaluation mode, the image ``(N, C, H, W)``.

    Raises:
        TypeError: if the generator has a layer of an unknown type.
    """
    features = image.cpu()
    for layer in (generator.stem, generator.blocks, generator.tail):
        features = _apply(layer, features, rows)
    return features


def _apply(layer: nn.Module, features: Tensor, rows: int) -> Tensor:
    if isinstance(layer, nn.Sequential):
        for each in layer:
            features = _apply(each, features, rows)
        return features
    if isinstance(layer, ResidualBlock):
        return features + _apply(layer.body, features, rows)
    if isinstance(layer, nn.Conv2d):
        return torch.cat(list(_convolved(layer, features, rows)), dim=-2)
    if isinstance(layer, nn.ConvTranspose2d):
        return torch.cat(list(_transposed(layer, features, rows)), dim=-2)
    if isinstance(layer, POINTWISE):
        return layer(features)
    raise TypeError(f"{type(layer).__name__}: not known how to run it in strips")


def _convolved(layer: nn.Conv2d, features: Tensor, rows: int) -> Iterator[Tensor]:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    above, beside = (int(n) for n in layer.padding)
    padded = functional.pad(features, (beside, beside, above, above), mode=mode)
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    height = (padded.shape[-2] - kernel) // stride + 1
    for start in range(0, height, rows):
        end = min(start + rows, height)
        strip = padded[..., start * stride : (end - 1) * stride + kernel, :].to(layer.weight.device)
        yield functional.conv2d(strip, layer.weight, layer.bias, layer.stride).cpu()


def _transposed(layer: nn.ConvTranspose2d, features: Tensor, rows: int) -> Iterator[Tensor]:
    """Row u of the unpadded result depends on the input rows i with i * stride <= u < i * stride + kernel."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    above, beside = (int(n) for n in layer.padding)
    height = features.shape[-2]
    total = (height - 1) * stride - 2 * above + kernel + layer.output_padding[0]
    for start in range(0, total, rows):
        end = min(start + rows, total)
        first = max(0, math.ceil((start + above - kernel + 1) / stride))
        last = min(height, (end - 1 + above) // stride + 1)
        strip = features[..., first:last, :].to(layer.weight.device)
        made = functional.conv_transpose2d(
            strip, layer.weight, layer.bias, layer.stride, (0, beside), (stride - 1, layer.output_padding[1])
        )
        offset = start + above - first * stride
        yield made[..., offset : offset + end - start, :].cpu()
