"""The studies of ablation.py: their arms, and what each arm changes in the configuration or in its training volumes."""

from dataclasses import dataclass
from typing import get_args

from cyclegan_gc.config import Scanner

Flags = tuple[str, ...]
SCANNERS: tuple[Scanner, ...] = get_args(Scanner)
HOME = SCANNERS[0]
"""The scanner of all phantoms unless a study names another."""


@dataclass(frozen=True)
class Arm:
    """One way to train."""

    flags: Flags = ()
    """Options of ``cyclegan-gc train`` that change the configuration."""
    pairs: int = 0
    """Registered pairs to train on, each of another phantom."""
    scanners: tuple[Scanner, ...] = (HOME,)
    """Scanners that share the training MRs; the heads are the same."""

    @property
    def alone(self) -> bool:
        """Whether the arm is trained on its pairs alone, without unpaired volumes."""
        return "--objective=paired" in self.flags


@dataclass(frozen=True)
class Study:
    """The arms of one experiment; the first arm is the reference that the others are compared with."""

    arms: dict[str, Arm]
    tested_on: tuple[Scanner, ...] = (HOME,)
    """Scanners of the held-out MRs; each gives a test set of the same heads."""
    kept: tuple[int, ...] = ()
    """Checkpoints that are evaluated, in 24ths of the training; empty for the last one alone."""

    @property
    def on_phantoms_only(self) -> bool:
        """Whether the study needs data that only generated phantoms have."""
        return len(self.tested_on) > 1 or any(arm.pairs or arm.scanners != (HOME,) for arm in self.arms.values())


PLAIN: Flags = (
    "--loss.cycle=10",
    "--loss.identity=5",
    "--loss.gradient=0",
    "--loss.depth_histogram=0",
    "--data.match_position=false",
)
"""CycleGAN after Zhu et al. 2017; the body mask is applied as in all arms."""
HIASA: Flags = (
    "--loss.cycle=3",
    "--loss.gradient=0.3",
    "--loss.gradient_mode=absolute",
    "--loss.identity=0",
    "--loss.depth_histogram=0",
    "--data.match_position=false",
)
"""The loss after Hiasa et al. 2018; the body mask is applied as in all arms."""
ORIGINAL: Flags = ("--network.stem=conv", "--network.reduction=4", "--network.upsampling=transpose")
"""The generator's form in Zhu et al. 2017, with the configuration's width and depth."""
LARGE: Flags = (
    "--network.stem=conv",
    "--network.reduction=4",
    "--network.width=64",
    "--network.blocks=9",
    "--network.discriminator_width=64",
    "--optimizer.learning_rate=2e-4",
)
"""The networks of configs/hip.yaml with its learning rate, which was not tuned here; about 18 times slower."""
SELECTION: Flags = (
    "--loss.depth_histogram=0",
    "--optimizer.learning_rate=4e-4",
    "--optimizer.ema_decay=0.99",
    "--data.validation_fraction=0.2",
)
"""Without the depth term, which the score would be trained on, and with subjects held out for the score."""
ALONE: Flags = ("--objective=paired",)
RATES = ("2e-4", "4e-4", "8e-4", "1.6e-3")


def flagged(arms: dict[str, Flags]) -> Study:
    """A study whose arms only change flags."""
    return Study({name: Arm(flags) for name, flags in arms.items()})


STUDIES = {
    "gradient": flagged({
        "off": ("--loss.gradient=0",),
        "absolute": ("--loss.gradient_mode=absolute",),
        "signed": ("--loss.gradient_mode=signed",),
    }),
    "weights": flagged({weight: (f"--loss.gradient={weight}",) for weight in ("0", "0.1", "0.3", "1", "3")}),
    "recipe": flagged({
        "plain": PLAIN,
        "after Hiasa": HIASA,
        "default": (),
        "without the depth term": ("--loss.depth_histogram=0",),
        "without gradient consistency": ("--loss.gradient=0",),
        "signed gradient consistency": ("--loss.gradient_mode=signed",),
    }),
    "network": flagged({
        "plain, original network": PLAIN + ORIGINAL,
        "plain": PLAIN,
        "default, original network": ORIGINAL,
        "default": (),
        "default, ResNet-9": LARGE,
    }),
    "learning_rate": flagged({
        f"{name} {rate}": (*flags, f"--optimizer.learning_rate={rate}")
        for name, flags in (("plain", PLAIN), ("default", ()))
        for rate in RATES
    }),
    "pairs": Study({
        "no pairs": Arm(),
        "1 pair": Arm(pairs=1),
        "3 pairs": Arm(pairs=3),
        "10 pairs": Arm(pairs=10),
        "10 pairs alone": Arm(ALONE, pairs=10),
        "alone, minimax": Arm((*ALONE, "--paired.adversarial=minimax"), pairs=10),
        "alone, least squares": Arm((*ALONE, "--paired.adversarial=least_squares"), pairs=10),
        "alone, z 0.5": Arm((*ALONE, "--network.dropout=0.5"), pairs=10),
        "alone, no gradient term": Arm((*ALONE, "--paired.gradient=0"), pairs=10),
    }),
    "scanners": Study(
        {
            "plain": Arm(),
            "mr_intensity 0.5": Arm(("--data.mr_intensity=0.5",)),
            "mr_intensity 1": Arm(("--data.mr_intensity=1",)),
            "n4": Arm(("--preprocess.n4=true",)),
            "n4, mr_intensity 0.5": Arm(("--preprocess.n4=true", "--data.mr_intensity=0.5")),
            "all scanners": Arm(scanners=SCANNERS),
        },
        tested_on=SCANNERS,
    ),
    "selection": Study(
        {
            "usual": Arm(SELECTION),
            "learning rate 1.2e-3": Arm((*SELECTION, "--optimizer.learning_rate=1.2e-3")),
            "learning rate 8e-5": Arm((*SELECTION, "--optimizer.learning_rate=8e-5")),
            "identity for gradient": Arm((*SELECTION, "--loss.gradient=0", "--loss.identity=0.5")),
            "cycle 10, gradient 1": Arm((*SELECTION, "--loss.cycle=10", "--loss.gradient=1")),
            "cycle 1, gradient 1": Arm((*SELECTION, "--loss.cycle=1", "--loss.gradient=1")),
            "half the network": Arm((*SELECTION, "--network.width=8", "--network.blocks=2")),
        },
        kept=(2, 4, 6, 9, 12, 16, 20, 24),
    ),
}  # fmt: skip
