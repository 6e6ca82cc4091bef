"""The depth histogram loss: its invariances, and an independent implementation."""

import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from cyclegan_gc.model.depth_histogram import depth_histogram_loss


@pytest.fixture
def depth() -> Tensor:
    """Depth of a square body in each of two slices: rings of growing depth, 0 outside."""
    rows, columns = torch.meshgrid(torch.arange(40), torch.arange(40), indexing="ij")
    inside = torch.minimum(torch.minimum(rows, 39 - rows), torch.minimum(columns, 39 - columns)).float() - 3
    return (inside.clamp_min(0) / inside.max()).expand(2, 1, 40, 40)


@pytest.fixture
def image() -> Tensor:
    return 2 * torch.rand(2, 1, 40, 40, generator=torch.Generator().manual_seed(0)) - 1


def test_the_same_values_elsewhere_in_their_shells_cost_nothing(image, depth):
    turned = image.flip(-1).transpose(-1, -2)
    assert float(depth_histogram_loss(image, depth, turned, depth)) == pytest.approx(0, abs=1e-6)


def test_values_at_another_depth_cost_though_the_whole_histogram_is_the_same(depth):
    deep = depth > 0.5
    order = torch.where(depth > 0, depth, 2.0).flatten(1).argsort().argsort().view_as(depth)
    shallow = order < deep[:1].sum()  # as many pixels, those nearest the skin
    assert deep.sum() == shallow.sum()
    assert depth_histogram_loss(2.0 * shallow - 1, depth, 2.0 * deep - 1, depth) > 0.5


def test_a_shift_costs_its_size_whatever_lies_outside_the_body(image, depth):
    shifted = torch.where(depth > 0, image + 0.25, 7.0)
    assert float(depth_histogram_loss(shifted, depth, image, depth)) == pytest.approx(0.25, abs=1e-5)


def test_it_agrees_with_scipy_between_the_outermost_quantiles(image, depth):
    other = image.pow(3) + 0.1
    shells = ((0.0, 0.08), (0.08, 0.16), (0.16, 0.24), (0.24, 0.36), (0.36, 0.5), (0.5, 1.0))
    distances = []
    for a, b, where in zip(image, other, depth, strict=True):
        for lower, upper in shells:
            inside = (where > lower) & (where <= upper)
            distances.append(wasserstein_distance(a[inside].numpy(), b[inside].numpy()))
    expected = sum(distances) / len(distances)
    assert float(depth_histogram_loss(image, depth, other, depth)) == pytest.approx(expected, rel=0.05)


def test_a_batch_counts_as_the_mean_of_its_samples_one_by_one(image, depth):
    other = image.flip(0) * 0.5
    alone = [depth_histogram_loss(image[n : n + 1], depth[:1], other[n : n + 1], depth[:1]) for n in range(2)]
    torch.testing.assert_close(depth_histogram_loss(image, depth, other, depth), torch.stack(alone).mean())


def test_each_contrast_is_held_against_its_own(image, depth):
    two = torch.cat([image, -3 + image], dim=1)
    assert float(depth_histogram_loss(two, depth, two.clone(), depth)) == pytest.approx(0, abs=1e-6)
    assert depth_histogram_loss(two, depth, two.flip(1), depth) > 1


def test_the_gradient_is_finite_and_moves_only_the_translation_towards_the_real_values(image, depth):
    fake, real = (image * 0.1).requires_grad_(), image.clone().requires_grad_()
    before = depth_histogram_loss(fake, depth, real, depth)
    before.backward()
    assert fake.grad is not None and fake.grad.isfinite().all() and real.grad is None
    moved = fake.detach() - 20 * fake.grad
    assert depth_histogram_loss(moved, depth, real, depth) < before


def test_no_body_is_no_loss_and_no_gradient(image, depth):
    fake = image.clone().requires_grad_()
    loss = depth_histogram_loss(fake, torch.zeros_like(depth), image, depth)
    loss.backward()
    assert loss == 0 and fake.grad is not None and not fake.grad.any()
