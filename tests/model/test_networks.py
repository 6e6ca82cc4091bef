import itertools

import pytest
import torch
from torch import nn

from cyclegan_gc.model.networks import PatchGAN, ResnetGenerator

VARIANTS = list(itertools.product((2, 4), ("conv", "unshuffle"), ("resize", "transpose")))


@pytest.mark.parametrize(("reduction", "stem", "upsampling"), VARIANTS)
def test_a_generator_keeps_the_size_and_stays_in_the_unit_range(reduction, stem, upsampling):
    result = ResnetGenerator(4, 2, reduction, stem, upsampling)(torch.randn(2, 1, 24, 32))
    assert result.shape == (2, 1, 24, 32)
    assert result.abs().max() <= 1


@pytest.mark.parametrize(("reduction", "stem", "upsampling"), VARIANTS)
def test_no_convolution_before_an_instance_norm_has_a_bias(reduction, stem, upsampling):
    modules = list(ResnetGenerator(4, 2, reduction, stem, upsampling).modules())
    followed = [(one, two) for one, two in itertools.pairwise(modules) if isinstance(two, nn.InstanceNorm2d)]
    assert len(followed) >= 6
    assert all(convolution.bias is None for convolution, _ in followed)


def test_the_default_generator_is_the_nine_block_resnet():
    generator = ResnetGenerator()
    assert sum(p.numel() for p in generator.parameters()) == 11_360_385
    assert len(generator.blocks) == 9


def test_each_slice_of_a_batch_is_translated_as_if_alone():
    generator, batch = ResnetGenerator(4, 2), torch.randn(3, 1, 16, 16)
    torch.testing.assert_close(generator(batch)[1:2], generator(batch[1:2]))


def test_a_size_that_is_no_multiple_of_four_is_refused_with_the_size():
    with pytest.raises(ValueError, match=r"\(18, 16\)"):
        ResnetGenerator(4, 1)(torch.zeros(1, 1, 18, 16))


def test_a_score_of_the_discriminator_sees_a_patch_of_70_pixels():
    image = torch.randn(1, 1, 128, 128, requires_grad=True)
    discriminator = PatchGAN(width=4).eval()
    for block in discriminator.modules():
        if hasattr(block, "N"):
            block.N = nn.Identity()  # the norm looks at the whole slice
    discriminator(image)[0, 0, 7, 7].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].abs() > 0
    assert seen.any(dim=0).sum() == seen.any(dim=1).sum() == 70
