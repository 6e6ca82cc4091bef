import itertools
from typing import Any

import pytest
import torch
from torch import nn

from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.model.strips import translate_in_strips

KINDS = list(itertools.product((2, 4), ("conv", "unshuffle"), ("resize", "transpose")))


def generator(reduction: Any = 4, stem: Any = "conv", upsampling: Any = "resize") -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(4, 2, reduction, stem, upsampling).eval()


def picture(height: int, width: int) -> torch.Tensor:
    """Dark above and bright below, with noise: whole-slice statistics differ from any tile's."""
    image = torch.linspace(-1, 1, height)[:, None].expand(height, width) ** 3
    return (image + 0.1 * torch.randn(2, 1, height, width, generator=torch.manual_seed(1))).clamp(-1, 1)


@pytest.mark.parametrize(("reduction", "stem", "upsampling"), KINDS)
@pytest.mark.parametrize("rows", [1, 7, 16, 1000])
def test_strips_give_what_the_whole_slice_gives(reduction, stem, upsampling, rows):
    network, image = generator(reduction, stem, upsampling), picture(48, 32)
    with torch.inference_mode():
        torch.testing.assert_close(translate_in_strips(network, image, rows), network(image), atol=1e-4, rtol=0)


def test_ordinary_tiles_show_a_seam_and_strips_do_not():
    network, image = generator(), picture(128, 64)
    with torch.inference_mode():
        tiles = torch.cat([network(image[..., :64, :]), network(image[..., 64:, :])], dim=-2)
        strips, whole = translate_in_strips(network, image, rows=8), network(image)

    def seam(result: torch.Tensor) -> float:
        """The jump between the rows beside the border over the usual jump between rows."""
        jumps = result.diff(dim=-2).abs().mean(dim=(0, 1, 3))
        return float(jumps[63] / jumps.median())

    assert seam(strips) == pytest.approx(seam(whole), rel=1e-3) and seam(whole) < 2
    assert seam(tiles) > 1.5 * seam(whole)


def test_a_layer_that_is_not_known_is_named():
    network = generator()
    network.tail.append(nn.ELU())
    with pytest.raises(TypeError, match="ELU"):
        translate_in_strips(network, picture(16, 16), rows=4)
