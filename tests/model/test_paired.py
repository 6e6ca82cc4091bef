"""Equations 1, 2, 5 and 6 of the paired objective, against a transcription in numpy."""

import numpy as np
import pytest
import torch
from monai.losses.adversarial_loss import PatchAdversarialLoss
from torch.nn import functional

from cyclegan_gc.model.cyclegan import Batch, air_outside
from cyclegan_gc.model.networks import PatchGAN, ResnetGenerator, initialised
from cyclegan_gc.model.paired import (
    Adversarial,
    adversarial_discriminator_loss,
    adversarial_generator_loss,
    paired_discriminator_losses,
    paired_generator_losses,
    paired_sum,
    scores_beside,
    translate_pair,
)

FORMS: tuple[Adversarial, ...] = ("log_likelihood", "minimax", "least_squares")


@pytest.fixture
def generator() -> ResnetGenerator:
    return initialised(ResnetGenerator(4, 1, 4, "unshuffle", "resize"), 0)


@pytest.fixture
def discriminator() -> torch.nn.Module:
    return initialised(PatchGAN(4, 2, 2), 1)


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    mask = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    mask[..., 4:28, 6:26] = True
    coarse = torch.rand(2, 2, 8, 8, generator=random) * 2 - 1
    mr, ct = functional.interpolate(coarse, scale_factor=4, mode="bilinear").split(1, dim=1)
    return Batch(air_outside(mr, mask), air_outside(ct, mask), mask, mask)


def gradient_correlation_of(a: np.ndarray, b: np.ndarray) -> float:
    """Equations 3 and 4 on one image, forward differences."""

    def ncc(one: np.ndarray, other: np.ndarray) -> float:
        one, other = one - one.mean(), other - other.mean()
        return float((one * other).sum() / (np.sqrt((one**2).sum()) * np.sqrt((other**2).sum())))

    return (ncc(np.diff(a, axis=1), np.diff(b, axis=1)) + ncc(np.diff(a, axis=0), np.diff(b, axis=0))) / 2


def test_the_generators_loss_is_equation_6_as_printed(generator, discriminator, batch):
    whole = Batch(batch.real_mr, batch.real_ct, *[torch.ones_like(batch.mr_mask)] * 2)
    fake = translate_pair(generator, whole).detach()
    losses = paired_generator_losses(discriminator, whole, fake, adversarial="minimax", gradient_operator="forward")
    d = 1 / (1 + np.exp(-scores_beside(discriminator, whole, fake).detach().double().numpy()))
    y, g = (image[:, 0].detach().double().numpy() for image in (whole.real_ct, fake))
    adversarial, l1 = np.log(1 - d).mean(), np.abs(y - g).mean()
    gradient = np.mean([1 - gradient_correlation_of(one, other) for one, other in zip(y, g, strict=True)])
    printed = {"paired_adversarial": adversarial, "paired_l1": l1, "paired_gradient": gradient}
    assert {name: float(loss.detach()) for name, loss in losses.items()} == pytest.approx(printed, rel=2e-3)
    total = float(paired_sum(losses, l1=100, gradient=0.3).detach())
    assert total == pytest.approx(adversarial + 100 * l1 + 0.3 * gradient, rel=1e-3)


def test_the_discriminator_raises_equation_1(generator, discriminator, batch):
    fake = translate_pair(generator, batch)
    losses = paired_discriminator_losses(discriminator, batch, fake)
    real_d, fake_d = (scores_beside(discriminator, batch, x).sigmoid().double() for x in (batch.real_ct, fake))
    printed = real_d.log().mean() + (1 - fake_d).log().mean()
    torch.testing.assert_close(-losses["paired_discriminator"].double(), printed, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses["paired_discriminator_on_real"].double(), real_d.mean().detach())


@pytest.mark.parametrize("form", FORMS)
def test_monai_agrees_with_both_players_losses(form):
    on_real, on_fake = torch.randn(2, 3, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    criterion = "least_squares" if form == "least_squares" else "bce"
    # MONAI's "bce" takes the sigmoid itself and has no minimax form for the generator.
    witness = PatchAdversarialLoss(criterion=criterion, no_activation_leastsq=True)
    both = witness(on_real, True, True) + witness(on_fake, False, True)
    halves = 2 if form == "least_squares" else 1
    torch.testing.assert_close(halves * adversarial_discriminator_loss(on_real, on_fake, form), both)
    generator = adversarial_generator_loss(on_fake, form)
    expected = -witness(on_fake, False, True) if form == "minimax" else witness(on_fake, True, False)
    torch.testing.assert_close(generator, expected)


def test_where_the_discriminator_wins_the_printed_form_has_no_slope_and_the_default_has_one():
    slopes = {}
    for form in ("minimax", "log_likelihood"):
        score = torch.tensor([-12.0], requires_grad=True)
        adversarial_generator_loss(score, form).backward()
        assert score.grad is not None
        slopes[form] = float(score.grad)
    assert slopes["minimax"] == pytest.approx(0, abs=1e-4) and slopes["log_likelihood"] == pytest.approx(-1, abs=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_scores_of_any_size_give_finite_losses_and_slopes(form):
    scores = torch.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    loss = adversarial_generator_loss(scores, form) + adversarial_discriminator_loss(scores, scores, form)
    loss.backward()
    assert loss.isfinite() and scores.grad is not None and scores.grad.isfinite().all()


def test_the_discriminator_sees_the_input_beside_the_output(discriminator, batch):
    other_input = Batch(batch.real_mr.flip(-1), batch.real_ct, batch.mr_mask, batch.ct_mask)
    one, other = (scores_beside(discriminator, each, batch.real_ct) for each in (batch, other_input))
    assert not torch.allclose(one, other)


def test_a_perfect_output_has_no_l1_and_no_gradient_loss(discriminator, batch):
    losses = paired_generator_losses(discriminator, batch, batch.real_ct)
    assert losses["paired_l1"] == 0 and float(losses["paired_gradient"]) == pytest.approx(0, abs=1e-5)


def test_signed_gradients_tell_an_inverted_ct_and_absolute_ones_do_not(discriminator, batch):
    inverted = air_outside(-batch.real_ct, batch.mr_mask)
    signed, absolute = (
        paired_generator_losses(discriminator, batch, inverted, gradient_mode=mode)["paired_gradient"]
        for mode in ("signed", "absolute")
    )
    assert float(signed) == pytest.approx(2, abs=0.01) and float(absolute) == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("term", ["paired_adversarial", "paired_l1", "paired_gradient"])
def test_every_term_reaches_the_generator(generator, discriminator, batch, term):
    paired_generator_losses(discriminator, batch, translate_pair(generator, batch))[term].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in generator.parameters())


def test_the_discriminators_loss_does_not_reach_the_generator(generator, discriminator, batch):
    paired_discriminator_losses(discriminator, batch, translate_pair(generator, batch))[
        "paired_discriminator"
    ].backward()
    assert all(p.grad is None for p in generator.parameters())
    assert all(p.grad is not None for p in discriminator.parameters())


def test_noise_is_drawn_in_training_and_off_in_evaluation(batch):
    noisy, plain = (initialised(ResnetGenerator(4, 2, 4, "unshuffle", "resize", dropout=z), 0) for z in (0.5, 0.0))
    assert noisy.state_dict().keys() == plain.state_dict().keys()
    assert not torch.equal(noisy(batch.real_mr), noisy(batch.real_mr))
    assert torch.equal(noisy.eval()(batch.real_mr), plain(batch.real_mr))
