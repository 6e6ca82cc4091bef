import math
from typing import get_args

import numpy as np
import pytest
import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from torch import Tensor

from cyclegan_gc.model.losses import (
    Mode,
    Operator,
    gradient_consistency_loss,
    gradient_correlation,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
)

close = torch.testing.assert_close
each_mode = pytest.mark.parametrize("mode", get_args(Mode))
each_operator = pytest.mark.parametrize("operator", get_args(Operator))


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return 2 * torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) - 1


def disc(radius: float, size: int = 64, centre: float = 32.0) -> Tensor:
    """Softly edged disc of height 1, (size, size)."""
    ticks = torch.arange(size, dtype=torch.float32) - centre
    return torch.sigmoid(2 * (radius - torch.hypot(ticks[:, None], ticks[None, :])))


def ring_pictures() -> tuple[Tensor, Tensor]:
    """One isolated ring, dark in the first and bright in the second, each with its own faint texture."""
    ring = disc(24) - disc(20)
    dark, bright = 0.5 - ring + 0.02 * noise(64, 64, seed=1), ring - 0.5 + 0.02 * noise(64, 64, seed=2)
    return dark[None, None], bright[None, None]


def head_pictures() -> tuple[Tensor, Tensor]:
    """A head-like disc: skin, skull and brain; the skull is dark in MR and bright in CT."""
    skin, skull, brain = disc(28), disc(25), disc(21)
    mr = -1 + 1.6 * skin - 1.5 * (skull - brain) - 0.4 * brain
    ct = -1 + 0.9 * skin + 1.0 * (skull - brain) + 0.1 * brain
    return mr[None, None], ct[None, None]


def test_signed_forward_is_the_printed_equation():
    """Equations 3 to 5 in plain numpy; each axis over its own valid region, H-1 x W and H x W-1 differences."""

    def ncc(a: np.ndarray, b: np.ndarray) -> float:
        a, b = a - a.mean(), b - b.mean()
        return (a * b).sum() / (math.sqrt((a**2).sum()) * math.sqrt((b**2).sum()))

    a, mixture = noise(1, 1, 24, 20, dtype=torch.float64), noise(1, 1, 24, 20, seed=1, dtype=torch.float64)
    b = a + mixture
    x, y = a[0, 0].numpy(), b[0, 0].numpy()
    printed = (ncc(x[1:] - x[:-1], y[1:] - y[:-1]) + ncc(x[:, 1:] - x[:, :-1], y[:, 1:] - y[:, :-1])) / 2
    ours = gradient_correlation(a, b, mode="signed", operator="forward").item()
    # The epsilon that keeps flat slices finite moves the fifth digit at most.
    assert ours == pytest.approx(printed, abs=1e-5)
    loss = gradient_consistency_loss(a, b, mode="signed", operator="forward").item()
    assert loss == pytest.approx(1 - printed, abs=1e-5)


def test_sobel_by_slices_is_the_sobel_convolution():
    a, b = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1)
    kernel = torch.tensor([1.0, 2, 1])[:, None] * torch.tensor([-1.0, 0, 1]) / 8
    kernels = torch.stack([kernel.T, kernel])[:, None]
    slopes = [torch.nn.functional.conv2d(x, kernels).flatten(2) for x in (a, b)]
    expected = torch.stack(
        [torch.stack([torch.corrcoef(torch.stack([p, q]))[0, 1] for p, q in zip(x, y, strict=True)]).mean()
         for x, y in zip(*slopes, strict=True)]
    )  # fmt: skip
    close(gradient_correlation(a, b, mode="signed", operator="sobel"), expected, atol=1e-4, rtol=0)


@each_mode
@each_operator
def test_a_stack_constant_along_z_equals_the_slice_when_z_weighs_nothing(mode: Mode, operator: Operator):
    a, b = noise(2, 1, 16, 18), noise(2, 1, 16, 18, seed=1)
    stack_a, stack_b = (x[:, :, None].expand(-1, -1, 5, -1, -1) for x in (a, b))
    stacked = gradient_correlation(stack_a, stack_b, mode=mode, operator=operator, axis_weights=(0, 1, 1))
    close(stacked, gradient_correlation(a, b, mode=mode, operator=operator))


def test_axis_weights_are_shares_of_their_sum():
    a, b = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1)
    rows, columns = (gradient_correlation(a, b, axis_weights=w) for w in ((1, 0), (0, 1)))
    close(gradient_correlation(a, b, axis_weights=(6, 2)), 0.75 * rows + 0.25 * columns)
    close(gradient_correlation(a, b), (rows + columns) / 2)


def test_a_ring_dark_here_and_bright_there_agrees_in_absolute_and_opposes_in_signed_gradients():
    dark, bright = ring_pictures()
    assert gradient_correlation(dark, bright, mode="absolute").item() == pytest.approx(0.95, abs=0.05)
    assert gradient_correlation(dark, bright, mode="signed").item() == pytest.approx(-0.95, abs=0.05)


@each_operator
def test_on_a_head_like_disc_signed_lies_far_below_absolute(operator: Operator):
    mr, ct = head_pictures()
    signed, absolute = (gradient_correlation(mr, ct, mode=m, operator=operator).item() for m in ("signed", "absolute"))
    assert absolute > 0.5 and signed < absolute - 0.5


@each_operator
def test_absolute_gradients_prefer_the_true_ct_to_a_shifted_one(operator: Operator):
    mr, ct = head_pictures()
    values = [gradient_correlation(mr, ct.roll(shift, dims=-1), operator=operator).item() for shift in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=True)


@each_mode
@each_operator
def test_nothing_outside_the_mask_has_any_influence(mode: Mode, operator: Operator):
    a, b = noise(2, 1, 24, 24), noise(2, 1, 24, 24, seed=1)
    mask = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    mask[..., 4:20, 6:22] = True
    inner = gradient_correlation(a[..., 4:20, 6:22], b[..., 4:20, 6:22], mode=mode, operator=operator)
    for outside in (0.0, 1e4, float("nan")):
        spoilt = a.masked_fill(~mask, outside).requires_grad_()
        value = gradient_correlation(spoilt, b, mode=mode, operator=operator, mask=mask)
        close(value, inner)
        (gradient,) = torch.autograd.grad(value.sum(), spoilt)
        assert gradient.isfinite().all() and not gradient[~mask.expand_as(a)].any()


@each_operator
def test_a_full_mask_equals_none_and_each_sample_may_have_its_own(operator: Operator):
    a, b = noise(2, 3, 16, 16), noise(2, 3, 16, 16, seed=1)
    own = disc(7, size=16, centre=8)[None, None].gt(0.5).repeat(2, 1, 1, 1)
    own[1] = True
    value = gradient_correlation(a, b, operator=operator, mask=own)
    close(value[1:], gradient_correlation(a, b, operator=operator)[1:])
    close(value[:1], gradient_correlation(a[:1], b[:1], operator=operator, mask=own[:1]))


@each_mode
@each_operator
def test_under_an_empty_mask_the_images_agree_and_the_gradient_is_zero(mode: Mode, operator: Operator):
    a, mask = noise(2, 1, 8, 8).requires_grad_(), torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    value = gradient_correlation(a, noise(2, 1, 8, 8, seed=1), mode=mode, operator=operator, mask=mask)
    close(value, torch.ones(2))
    assert not torch.autograd.grad(value.sum(), a)[0].any()


def test_half_precision_is_promoted_and_double_stays():
    a, b = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1)
    for dtype in (torch.float16, torch.bfloat16):
        half = gradient_correlation(a.to(dtype), b.to(dtype))
        assert half.dtype == torch.float32
        close(half, gradient_correlation(a.to(dtype).float(), b.to(dtype).float()), rtol=0, atol=0)
    assert gradient_correlation(a.double(), b.double()).dtype == torch.float64


def test_autocast_neither_changes_the_value_nor_the_type():
    a, b = noise(2, 1, 16, 16), noise(2, 1, 16, 16, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = gradient_correlation(a, b)
    assert value.dtype == torch.float32 and torch.equal(value, gradient_correlation(a, b))


def test_the_loss_is_one_minus_the_mean_correlation():
    a, b = noise(3, 1, 16, 16), noise(3, 1, 16, 16, seed=1)
    close(gradient_consistency_loss(a, b), 1 - gradient_correlation(a, b).mean())
    assert gradient_consistency_loss(a, a).item() == pytest.approx(0, abs=1e-6)


def test_descending_the_loss_brings_the_structure_over():
    target, image = noise(1, 1, 16, 16), noise(1, 1, 16, 16, seed=1).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        gradient_consistency_loss(image, target, mode="signed").backward()
        optimizer.step()
    assert gradient_correlation(image, target, mode="signed").item() > 0.95


@pytest.mark.parametrize(
    ("a", "b", "options", "complaint"),
    [
        ((1, 1, 8, 8), (1, 1, 8, 9), {}, r"one shape.*\(1, 1, 8, 8\).*\(1, 1, 8, 9\)"),
        ((1, 8, 8), (1, 8, 8), {}, r"\(N, C, H, W\)"),
        ((0, 1, 8, 8), (0, 1, 8, 8), {}, "not empty"),
        ((1, 1, 2, 8), (1, 1, 2, 8), {}, r"3 pixels.*\(1, 1, 2, 8\)"),
        ((1, 1, 1, 8), (1, 1, 1, 8), {"operator": "forward"}, "2 pixels"),
        ((1, 1, 2, 8, 8), (1, 1, 2, 8, 8), {"operator": "sobel", "axis_weights": (0, 1, 1)}, "3 pixels"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"mode": "both"}, "mode is one of.*'both'"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"operator": "prewitt"}, "operator one of.*'prewitt'"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"axis_weights": (1, 1, 1)}, "2 finite weights"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"axis_weights": (1, -1)}, "2 finite weights"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"axis_weights": (0, 0)}, "2 finite weights"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"axis_weights": (1, math.nan)}, "2 finite weights"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"mask": torch.ones(1, 1, 8, 8)}, "mask must be bool"),
        ((1, 1, 8, 8), (1, 1, 8, 8), {"mask": torch.ones(1, 1, 8, 9, dtype=torch.bool)}, "mask must be bool"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_value(a: tuple, b: tuple, options: dict, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        gradient_correlation(torch.zeros(a), torch.zeros(b), **options)


def test_an_axis_without_weight_may_be_too_short_for_plain_differences():
    a, b = noise(1, 1, 1, 8, 8), noise(1, 1, 1, 8, 8, seed=1)
    close(gradient_correlation(a, b, axis_weights=(0, 1, 1)), gradient_correlation(a[:, :, 0], b[:, :, 0]))


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match="floating point"):
        gradient_correlation(torch.zeros(1, 1, 8, 8, dtype=torch.int16), torch.zeros(1, 1, 8, 8))


def test_the_least_squares_terms_agree_with_monai():
    monai = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    real, fake = 2 * noise(4, 1, 6, 6), 2 * noise(4, 1, 6, 6, seed=1)
    close(lsgan_generator_loss(fake), monai(fake, target_is_real=True, for_discriminator=False))
    expected = (monai(real, True, True) + monai(fake, False, True)) / 2
    close(lsgan_discriminator_loss(real, fake), expected)


def test_the_least_squares_terms_vanish_where_the_scores_are_right():
    ones, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    assert lsgan_generator_loss(ones) == 0 and lsgan_generator_loss(-ones) == 4
    assert lsgan_discriminator_loss(ones, zeros) == 0 and lsgan_discriminator_loss(zeros, ones) == 1
