from dataclasses import replace

import pytest
import torch

from cyclegan_gc.model.cyclegan import (
    Batch,
    Networks,
    air_outside,
    discriminator_losses,
    generator_losses,
    translate,
    weighted_sum,
)
from cyclegan_gc.model.image_pool import ImagePool
from cyclegan_gc.model.losses import gradient_correlation
from cyclegan_gc.model.networks import PatchGAN, ResnetGenerator, initialised


@pytest.fixture
def networks() -> Networks:
    generators = [initialised(ResnetGenerator(4, 1, 4, "unshuffle", "resize"), n) for n in (0, 1)]
    return Networks(*generators, *(initialised(PatchGAN(4, 2), n) for n in (2, 3)))


def both(*networks: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for network in networks for parameter in network.parameters()]


@pytest.fixture
def batch() -> Batch:
    random = torch.Generator().manual_seed(0)
    real_mr, real_ct = (torch.rand(2, 1, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    mask = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    mask[..., 4:28, 6:26] = True
    return Batch(air_outside(real_mr, mask), air_outside(real_ct, mask.mT), mask, mask.mT)


def test_every_translation_is_air_outside_the_body_of_its_input(networks, batch):
    images = translate(networks, batch, identity=True)
    for name, mask in (("fake_ct", batch.mr_mask), ("rec_mr", batch.mr_mask), ("idt_mr", batch.mr_mask)):
        assert (getattr(images, name)[~mask] == -1).all()
    for name, mask in (("fake_mr", batch.ct_mask), ("rec_ct", batch.ct_mask), ("idt_ct", batch.ct_mask)):
        assert (getattr(images, name)[~mask] == -1).all()


def test_gradient_consistency_compares_each_input_with_its_own_translation(networks, batch):
    images = translate(networks, batch, identity=False)
    losses = generator_losses(networks, batch, images)
    expected = 1 - gradient_correlation(batch.real_mr, images.fake_ct, mask=batch.mr_mask).mean()
    torch.testing.assert_close(losses["gradient_mr"], expected)
    unrelated = replace(images, fake_mr=torch.flip(images.fake_mr, (-1,)))
    changed = generator_losses(networks, batch, unrelated)
    assert changed["gradient_mr"] == losses["gradient_mr"]
    assert changed["gradient_ct"] != losses["gradient_ct"]


def test_the_weighted_sum_is_the_printed_objective(networks, batch):
    terms = generator_losses(networks, batch, translate(networks, batch, identity=True))
    total = weighted_sum(terms, cycle=3, gradient=0.3, identity=0.5)
    by_hand = (
        terms["adversarial_ct"]
        + terms["adversarial_mr"]
        + 3 * (terms["cycle_mr"] + terms["cycle_ct"])
        + 0.3 / 2 * (terms["gradient_mr"] + terms["gradient_ct"])
        + 0.5 * (terms["identity_ct"] + terms["identity_mr"])
    )
    torch.testing.assert_close(total, by_hand)


@pytest.mark.parametrize("term", ["gradient_mr", "cycle_mr", "adversarial_ct"])
def test_every_term_reaches_the_generator(networks, batch, term):
    losses = generator_losses(networks, batch, translate(networks, batch, identity=False))
    losses[term].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in networks.mr_to_ct.parameters())


def test_the_discriminator_is_scored_one_on_real_and_zero_on_fake(networks, batch):
    images = translate(networks, batch, identity=False)
    losses = discriminator_losses(networks, batch, images.fake_ct.detach(), images.fake_mr.detach())
    real, fake = (networks.ct_discriminator(x) for x in (batch.real_ct, images.fake_ct))
    torch.testing.assert_close(losses["discriminator_ct"], ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2)


def test_the_discriminators_loss_does_not_reach_the_generators(networks, batch):
    images = translate(networks, batch, identity=False)
    losses = discriminator_losses(
        networks, batch, ImagePool(2).exchange(images.fake_ct), ImagePool(2).exchange(images.fake_mr)
    )
    (losses["discriminator_ct"] + losses["discriminator_mr"]).backward()
    assert all(p.grad is None for p in both(networks.mr_to_ct, networks.ct_to_mr))
    assert all(p.grad is not None for p in both(networks.ct_discriminator, networks.mr_discriminator))
