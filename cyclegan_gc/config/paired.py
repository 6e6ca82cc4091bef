"""What the paired objective can be told."""

from dataclasses import dataclass
from typing import Literal

from cyclegan_gc.config.values import NonNegativeFloat, PositiveInt


@dataclass(frozen=True)
class PairedConfig:
    """Terms of the registered pairs of ``data.pairs``, beside the adversarial one of weight 1: the whole loss with
    objective paired, added to the unpaired one otherwise. The noise z is ``network.dropout``."""

    l1: NonNegativeFloat = 100.0
    """Weight of the L1 distance between true and synthetic CT; 100 after Isola et al. 2017 (pix2pix)."""
    gradient: NonNegativeFloat = 0.3
    """Weight of the gradient consistency loss between true and synthetic CT."""
    gradient_mode: Literal["signed", "absolute"] = "signed"
    """Correlate signed gradients, as the equation is printed (both are CT here), or their magnitudes."""
    gradient_operator: Literal["forward", "central", "sobel"] = "central"
    """Difference operator of the gradients."""
    adversarial: Literal["log_likelihood", "minimax", "least_squares"] = "log_likelihood"
    """Loss of the discriminator that sees the MR beside the CT: log-likelihood, by which the generator raises log D;
    minimax lets it lower log(1 - D) as printed, which stands still where the discriminator wins."""
    every: PositiveInt = 4
    """In unpaired training, steps from one batch of pairs to the next."""
