"""Laws of the gradient correlation, in each of its modes and operators."""

from typing import get_args

import pytest
import torch
from torch import Tensor

from cyclegan_gc.model.losses import (
    Mode,
    Operator,
    gradient_consistency_loss,
    gradient_correlation,
)

close = torch.testing.assert_close
each_mode = pytest.mark.parametrize("mode", get_args(Mode))
each_operator = pytest.mark.parametrize("operator", get_args(Operator))
each_shape = pytest.mark.parametrize("shape", [(3, 2, 24, 20), (2, 1, 8, 12, 10)])


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 1


@each_shape
@each_mode
@each_operator
def test_an_image_correlates_perfectly_with_itself(shape: tuple[int, ...], mode: Mode, operator: Operator):
    image = noise(*shape)
    close(gradient_correlation(image, image, mode=mode, operator=operator), torch.ones(shape[0]))


@each_mode
@each_operator
def test_flat_and_striped_images_too_correlate_perfectly_with_themselves(mode: Mode, operator: Operator):
    stripes = torch.arange(16.0).remainder(4).expand(1, 1, 16, 16)
    for image in (torch.full((1, 1, 16, 16), -1.0), stripes, stripes.mT):
        close(gradient_correlation(image, image, mode=mode, operator=operator), torch.ones(1))


@each_mode
@each_operator
def test_brightness_and_contrast_do_not_matter(mode: Mode, operator: Operator):
    image = noise(3, 1, 32, 32)
    for scale in (0.5, 5.0):
        value = gradient_correlation(image, scale * image - 2, mode=mode, operator=operator)
        close(value, torch.ones(3), atol=1e-4, rtol=0)


@each_operator
def test_inversion_is_minus_one_signed_and_plus_one_absolute(operator: Operator):
    image = noise(3, 1, 32, 32)
    signed = gradient_correlation(image, -image, mode="signed", operator=operator)
    close(signed, -torch.ones(3), atol=1e-4, rtol=0)
    close(gradient_correlation(image, -image, mode="absolute", operator=operator), torch.ones(3))


@each_shape
@each_mode
@each_operator
def test_it_is_symmetric_and_bounded(shape: tuple[int, ...], mode: Mode, operator: Operator):
    a, b = noise(*shape), noise(*shape, seed=1)
    value = gradient_correlation(a, b, mode=mode, operator=operator)
    close(value, gradient_correlation(b, a, mode=mode, operator=operator))
    for other in (b, a + b, b - a, 100 * a, torch.zeros_like(a)):
        assert gradient_correlation(a, other, mode=mode, operator=operator).abs().max() <= 1 + 1e-6


@each_shape
@each_mode
@each_operator
def test_flips_transpositions_and_quarter_turns_of_both_change_nothing(
    shape: tuple[int, ...], mode: Mode, operator: Operator
):
    a, b = noise(*shape), 0.5 * noise(*shape) + noise(*shape, seed=1)
    value = gradient_correlation(a, b, mode=mode, operator=operator)
    turns = [lambda x, d=d: x.flip(d) for d in range(2, len(shape))]
    for turn in (*turns, lambda x: x.mT, lambda x: x.transpose(2, -1), lambda x: x.rot90(1, (-2, -1))):
        close(gradient_correlation(turn(a), turn(b), mode=mode, operator=operator), value)


@each_mode
@each_operator
def test_the_order_of_the_batch_and_the_other_samples_do_not_matter(mode: Mode, operator: Operator):
    a, b = noise(4, 2, 16, 16), noise(4, 2, 16, 16, seed=1)
    value = gradient_correlation(a, b, mode=mode, operator=operator)
    order = torch.tensor([2, 0, 3, 1])
    close(gradient_correlation(a[order], b[order], mode=mode, operator=operator), value[order])
    b[0] = 1000 * b[0] + noise(2, 16, 16, seed=2)
    assert torch.equal(gradient_correlation(a, b, mode=mode, operator=operator)[1:], value[1:])


def test_a_bright_sample_does_not_hide_a_wrong_one():
    right, wrong = 1000 * noise(1, 1, 32, 32), noise(1, 1, 32, 32, seed=1)
    value = gradient_correlation(torch.cat([right, wrong]), torch.cat([right, noise(1, 1, 32, 32, seed=2)]))
    assert value[0] > 0.99 and abs(value[1]) < 0.2


def test_each_channel_has_its_own_statistics():
    a, b = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    single = [gradient_correlation(a[:, [c]], b[:, [c]]) for c in range(3)]
    close(gradient_correlation(a, b), torch.stack(single).mean(dim=0))


@each_mode
@each_operator
def test_independent_noise_is_about_zero(mode: Mode, operator: Operator):
    value = gradient_correlation(noise(4, 1, 128, 128), noise(4, 1, 128, 128, seed=1), mode=mode, operator=operator)
    assert value.abs().max() < 0.05


@each_mode
@each_operator
def test_flat_against_structure_is_about_zero_and_two_flat_images_agree(mode: Mode, operator: Operator):
    flat, structure = torch.full((2, 1, 32, 32), -1.0), noise(2, 1, 32, 32)
    assert gradient_correlation(flat, structure, mode=mode, operator=operator).abs().max() < 0.02
    close(gradient_correlation(flat, flat + 0.5, mode=mode, operator=operator), torch.ones(2))


@each_mode
@each_operator
@pytest.mark.parametrize("ripple", [0.0, 1e-7, 1e-3])
def test_nearly_flat_images_have_finite_bounded_gradients(mode: Mode, operator: Operator, ripple: float):
    flat = (ripple * noise(2, 1, 16, 16)).requires_grad_()
    for other in (noise(2, 1, 16, 16, seed=1), torch.zeros(2, 1, 16, 16)):
        (gradient,) = torch.autograd.grad(gradient_consistency_loss(flat, other, mode=mode, operator=operator), flat)
        assert gradient.isfinite().all() and gradient.abs().max() < 10


@each_mode
@each_operator
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(2, 1, 5, 6), (1, 1, 4, 5, 4)])
def test_the_gradient_reaches_both_images_and_is_exact(
    mode: Mode, operator: Operator, masked: bool, shape: tuple[int, ...]
):
    # A ramp under small noise keeps every derivative away from the kink of the absolute value at 0.
    ramp = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape[2:]), indexing="ij")).sum(0).double()
    a, b = (ramp + 0.3 * noise(*shape, seed=s, dtype=torch.float64) for s in (0, 1))
    mask = torch.ones(1, 1, *shape[2:], dtype=torch.bool)
    mask[..., 0] = False

    def loss(a: Tensor, b: Tensor) -> Tensor:
        return gradient_consistency_loss(a, b, mode=mode, operator=operator, mask=mask if masked else None)

    assert torch.autograd.gradcheck(loss, (a.requires_grad_(), b.requires_grad_()))
