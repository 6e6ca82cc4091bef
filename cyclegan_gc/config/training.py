"""What training can be told: frozen dataclasses whose field names are the YAML keys, the flags and the W&B config.

Ranges live in the types, relations between fields in ``__post_init__``.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cyclegan_gc.config.data import DataConfig, PreprocessConfig
from cyclegan_gc.config.values import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    OpenUnitInterval,
    PositiveFloat,
    PositiveInt,
)
from cyclegan_gc.errors import UserError


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture of the generators and discriminators; kept in the checkpoint."""

    width: PositiveInt = 64
    """Channels of a generator at full resolution; the residual blocks carry ``reduction`` times as many."""
    blocks: PositiveInt = 9
    """Residual blocks of a generator."""
    reduction: Literal[2, 4] = 4
    """How many times smaller the slices are in the blocks; 2 suits bone of one or two pixels (coarse slices)."""
    stem: Literal["conv", "unshuffle"] = "conv"
    """First layers of a generator: 7x7 convolution, or each patch moved into channels (a tenth faster)."""
    upsampling: Literal["resize", "transpose"] = "resize"
    """Last layers: resize and convolve (no checkerboard), or the original's transposed convolution."""
    discriminator_width: PositiveInt = 64
    """Channels of the discriminators' first layer."""
    discriminator_layers: PositiveInt = 3
    """Depth of the discriminators; 3 sees patches of 70x70 pixels."""
    dropout: ClosedUnitInterval = 0.0
    """Share of features that the generators' residual blocks drop at random while they train, the noise z of the paired
    objective (pix2pix takes 0.5), in unpaired training too; validation and conversion drop none. 0 leaves z out. With
    it, parts of a batch, several processes and a run resumed on a GPU draw other noise than one undisturbed process."""

    def __post_init__(self) -> None:
        if self.dropout == 1:
            raise UserError("network.dropout must be below 1, or nothing is left")


@dataclass(frozen=True)
class LossConfig:
    """Weights of the generators' loss; the adversarial terms have weight 1. Defaults after Hiasa et al. 2018."""

    cycle: NonNegativeFloat = 3.0
    """Weight of the L1 cycle loss of both directions."""
    gradient: NonNegativeFloat = 0.3
    """Weight of the gradient consistency loss between each input and its translation."""
    gradient_mode: Literal["absolute", "signed"] = "absolute"
    """Correlate gradient magnitudes, or signed gradients as the equation is printed (harms MR to CT)."""
    gradient_operator: Literal["forward", "central", "sobel"] = "central"
    """Difference operator of the gradients."""
    identity: NonNegativeFloat = 0.0
    """Weight of the L1 identity loss; 0 leaves it out."""
    depth_histogram: NonNegativeFloat = 0.0
    """Weight of the distance between how values are spread in translations and in real slices, at each depth below the
    skin; needs ``data.match_position``, so that the two slices lie at one height. 0 leaves it out."""


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


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam, the learning rate's course and what smooths the training. Defaults after Hiasa et al. 2018."""

    batch_size: PositiveInt = 1
    """Slices of each modality per step, over all GPUs and parts of a batch together."""
    learning_rate: PositiveFloat = 2e-4
    """Constant for the first half of the steps, then linear to 0."""
    betas: tuple[OpenUnitInterval, OpenUnitInterval] = (0.5, 0.999)
    """Adam's decay rates."""
    pool_size: NonNegativeInt = 50
    """Fakes of each modality that each process remembers for the discriminators; 0 shows them only the newest."""
    ema_decay: OpenUnitInterval = 0.999
    """Decay per step of the generators' moving average, which validation and conversion use."""


@dataclass(frozen=True)
class MonitorConfig:
    """The watchdog over training: contrast inversion, copies of the input, collapse, a discriminator that always wins,
    dead gradients, blank batches."""

    action: Literal["warn", "stop", "rollback"] = "warn"
    """On an alarm: tell it (in the log and W&B), stop too, or go back to the last checkpoint from before it and draw
    other samples (three times at most)."""


@dataclass(frozen=True)
class WandbConfig:
    """Weights & Biases; the local metrics.jsonl is written in any case."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto follows WANDB_MODE and is offline without it; online without an API key falls back to offline."""
    project: str = "cyclegan-gc"
    """Project of the run."""
    group: str | None = None
    """Group of the run, for comparing seeds or settings."""
    images: bool = False
    """Log pictures in W&B too, offline as well. A face can be rebuilt from an MR of the head, so without this pictures
    are only in the folder panels."""


@dataclass(frozen=True)
class TrainConfig:
    """Train MR to CT and CT to MR without paired data, with a few pairs beside them, or MR to CT with pairs alone."""

    output: Path
    """Run folder: checkpoints, metrics.jsonl, config, W&B files and the slice cache."""
    data: DataConfig
    objective: Literal["unpaired", "paired"] = "unpaired"
    """unpaired trains both directions after Hiasa et al. 2018; paired trains MR to CT alone on ``data.pairs``."""
    steps: PositiveInt = 200_000
    """Optimiser steps of the whole schedule."""
    stop_at: PositiveInt | None = None
    """Stop early after this step; the schedule of --steps stays, so a resumed run continues it."""
    resume: str | None = None
    """auto continues from the newest valid checkpoint of OUTPUT, if there is one; a path from that checkpoint."""
    init_from: Path | None = None
    """Checkpoint of another run whose weights a new run begins with, for a new scanner or hospital; its networks must
    be built alike."""
    seed: NonNegativeInt = 0
    """Seed of weights, sampling, augmentation and pools."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps; under torchrun cuda means each process's own."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the networks' convolutions; weights and losses stay fp32. bf16 suits newer GPUs, fp16 older ones; on a CPU
    both are slow."""
    channels_last: bool = False
    """Order of the networks' tensors in memory; faster on many GPUs with bf16 or fp16, slower on a CPU."""
    compile: bool = False
    """Compile the networks at the first step (minutes; needs a C++ compiler)."""
    activation_checkpointing: bool = False
    """Compute the residual blocks again for the backward pass instead of keeping them: less memory, more time."""
    accumulate: PositiveInt = 1
    """Parts of a batch that go through the networks one after the other: less memory, the same result."""
    patience: NonNegativeInt = 0
    """Validations without a better score after which training ends early; 0 trains to the end."""
    audit: Literal["stop", "warn"] = "stop"
    """Where the audit of the volumes fails: end before the first step, or say so and train all the same."""
    peer_timeout: PositiveFloat = 600.0
    """Seconds that a process of several waits for the others before it gives up."""
    log_every: PositiveInt = 50
    """Steps between log lines."""
    validate_every: PositiveInt = 1000
    """Steps between validations with panels, each with a checkpoint."""
    save_every: PositiveInt = 500
    """Steps between checkpoints; what a crash can lose."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    paired: PairedConfig = field(default_factory=PairedConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)

    @property
    def cache(self) -> Path:
        """Folder of the prepared slices."""
        return self.data.cache or self.output / "cache"

    @property
    def end(self) -> int:
        """Step after which this call of the program stops."""
        return self.stop_at or self.steps

    def __post_init__(self) -> None:
        _check_sources(self.objective, self.data)
        if self.seed >= 2**32:
            raise UserError(f"seed must be below 2**32, got {self.seed}")
        if self.stop_at is not None and self.stop_at > self.steps:
            raise UserError(f"stop_at must not exceed steps={self.steps}, got {self.stop_at}")
        if self.optimizer.batch_size % self.accumulate:
            raise UserError(
                f"optimizer.batch_size must be a multiple of accumulate={self.accumulate}, "
                f"got {self.optimizer.batch_size}"
            )
        if self.loss.depth_histogram and not self.data.match_position:
            raise UserError("loss.depth_histogram needs data.match_position true: it compares slices of one height")
        if self.loss.identity and self.data.contrasts:
            raise UserError("loss.identity must be 0 with data.contrasts: one CT cannot stand for several contrasts")
        smallest = 3 * 2**self.network.discriminator_layers
        if min(self.data.crop) < smallest:
            raise UserError(
                f"data.crop must be at least {smallest} for network.discriminator_layers="
                f"{self.network.discriminator_layers}, got {self.data.crop}"
            )


def public_settings(config: TrainConfig) -> dict[str, Any]:
    """Plain nested dict of what makes a run what it is, without any path: what a checkpoint and W&B may hold."""
    settings = asdict(config)
    for name in ("output", "resume", "init_from", "audit", "peer_timeout"):
        del settings[name]
    for name in ("mr", "ct", "pairs", "validation_pairs", "cache", "prepare_threads", "workers"):
        del settings["data"][name]
    return settings


def _check_sources(objective: str, data: DataConfig) -> None:
    """Each objective has its own volumes."""
    unpaired = {"data.mr": data.mr, "data.ct": data.ct}
    missing = [name for name, source in unpaired.items() if source is None]
    if objective == "unpaired" and missing:
        raise UserError(f"{' and '.join(missing)} must be given (or objective paired with data.pairs)")
    if objective == "paired" and data.pairs is None:
        raise UserError("data.pairs must be given with objective paired: a folder with mr/ and ct/")
    if objective == "paired" and len(missing) < len(unpaired):
        raise UserError("data.mr and data.ct must be left out with objective paired, which trains on data.pairs alone")
