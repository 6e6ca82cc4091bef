"""The paired objective: a generator G, and a discriminator D that sees the input x beside an output (pix2pix).

    L_adv(G, D) = E[log D(x, y)] + E[log(1 - D(x, G(x, z)))]                             (1)
    L_L1(G)     = E[|y - G(x, z)|]                                                       (2)
    L_GC(G)     = E[1 - GC(y, G(x, z))]                                                  (5)
    G*          = arg min_G max_D  L_adv + l1 * L_L1 + gradient * L_GC                   (6)

x is the MR, y the registered CT on its grid, both ``(N, C, H, W)`` in [-1, 1]; z is the generator's own dropout. The
score s of the discriminator is a logit, D = sigmoid(s). G(x, z) and y are air outside the MR's body, because conversion
knows no other outline. The form is that of Isola et al. 2017.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cyclegan_gc.model.cyclegan import Batch, air_outside, gradient_loss_inside
from cyclegan_gc.model.losses import Mode, Operator, lsgan_discriminator_loss, lsgan_generator_loss

Adversarial = Literal["log_likelihood", "minimax", "least_squares"]


def translate_pair(generator: nn.Module, batch: Batch) -> Tensor:
    """G(x, z) inside the body of x."""
    return air_outside(generator(batch.real_mr), batch.mr_mask)


def paired_generator_losses(
    discriminator: nn.Module,
    batch: Batch,
    fake_ct: Tensor,
    *,
    adversarial: Adversarial = "log_likelihood",
    gradient_mode: Mode = "signed",
    gradient_operator: Operator = "central",
) -> dict[str, Tensor]:
    """Every term of the generator's loss by its name, unweighted; gradients are compared inside the body."""
    mode, operator = gradient_mode, gradient_operator
    return {
        "paired_adversarial": adversarial_generator_loss(scores_beside(discriminator, batch, fake_ct), adversarial),
        "paired_l1": functional.l1_loss(fake_ct, batch.real_ct),
        "paired_gradient": gradient_loss_inside(batch.real_ct, fake_ct, batch.mr_mask, mode=mode, operator=operator),
    }


def paired_sum(losses: dict[str, Tensor], *, l1: float, gradient: float) -> Tensor:
    """The generator's total loss from its unweighted terms, equation 6."""
    return losses["paired_adversarial"] + l1 * losses["paired_l1"] + gradient * losses["paired_gradient"]


def paired_discriminator_losses(
    discriminator: nn.Module, batch: Batch, fake_ct: Tensor, *, adversarial: Adversarial = "log_likelihood"
) -> dict[str, Tensor]:
    """``paired_discriminator``, to be minimised, on true and synthetic CT; the synthetic CT is detached.

    The detached mean outputs are ``_on_real`` and ``_on_fake``: 1 means taken for real, 0 taken for fake.
    """
    on_real, on_fake = (scores_beside(discriminator, batch, ct) for ct in (batch.real_ct, fake_ct.detach()))
    seen = [
        scores.detach() if adversarial == "least_squares" else scores.detach().sigmoid()
        for scores in (on_real, on_fake)
    ]
    return {
        "paired_discriminator": adversarial_discriminator_loss(on_real, on_fake, adversarial),
        "paired_discriminator_on_real": seen[0].mean(),
        "paired_discriminator_on_fake": seen[1].mean(),
    }


def scores_beside(discriminator: nn.Module, batch: Batch, ct: Tensor) -> Tensor:
    """Scores ``(N, 1, h, w)`` of a CT together with its MR, concatenated along the channels."""
    return discriminator(torch.cat([batch.real_mr, ct], dim=1))


def adversarial_generator_loss(on_fake: Tensor, form: Adversarial) -> Tensor:
    """Adversarial loss of the generator, from the scores of its output.

    ``minimax`` is E[log(1 - D)], the original form. Its slope is -D, which vanishes where the discriminator wins.
    ``log_likelihood`` is -E[log D] with the same fixed point and the slope D - 1 (Goodfellow et al. 2014); therefore it
    is the default. With an L1 weight of 100 the discriminator never wins, and on phantoms both forms give the same
    result (study ``pairs`` of ``scripts/ablation.py``). ``least_squares`` is E[(s - 1)^2].
    """
    if form == "minimax":
        return -functional.softplus(on_fake).mean()
    return functional.softplus(-on_fake).mean() if form == "log_likelihood" else lsgan_generator_loss(on_fake)


def adversarial_discriminator_loss(on_real: Tensor, on_fake: Tensor, form: Adversarial) -> Tensor:
    """Adversarial loss of the discriminator: -(E[log D(x, y)] + E[log(1 - D(x, G))]), or least squares.

    The first is 2 log 2 for a discriminator that guesses.
    """
    if form == "least_squares":
        return lsgan_discriminator_loss(on_real, on_fake)
    return functional.softplus(-on_real).mean() + functional.softplus(on_fake).mean()
