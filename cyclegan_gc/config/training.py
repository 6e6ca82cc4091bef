"""Settings of training: frozen dataclasses whose field names are the YAML keys, the flags and the W&B config.

The types hold the ranges; ``__post_init__`` holds the relations between fields.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cyclegan_gc.config.data import DataConfig, PreprocessConfig
from cyclegan_gc.config.tracking import WandbConfig
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
    """Network options.

    Architecture of the generators and discriminators; the checkpoint keeps it.
    """

    width: PositiveInt = 64
    """Channels of a generator at full resolution. The residual blocks have ``reduction`` times as many."""
    blocks: PositiveInt = 9
    """Number of residual blocks of a generator."""
    reduction: Literal[2, 4] = 4
    """Downsampling factor of the residual blocks. 2 suits coarse slices, where bone is one or two pixels thick."""
    stem: Literal["conv", "unshuffle"] = "conv"
    """First layer of a generator: a 7x7 convolution, or pixel unshuffle (10 % faster)."""
    upsampling: Literal["resize", "transpose"] = "resize"
    """Last layers of a generator: resize and convolve (no checkerboard), or the original transposed convolution."""
    discriminator_width: PositiveInt = 64
    """Channels of the first discriminator layer."""
    discriminator_layers: PositiveInt = 3
    """Number of downsampling layers of a discriminator; 3 gives patches of 70x70 pixels."""
    dropout: ClosedUnitInterval = 0.0
    """Dropout rate of the residual blocks during training: the noise z of the paired objective (pix2pix takes 0.5). It
    acts in unpaired training too; validation and conversion drop nothing. With dropout, results depend on --accumulate,
    on the number of processes and, on a GPU, on interruptions."""

    def __post_init__(self) -> None:
        if self.dropout == 1:
            raise UserError("--network.dropout must be below 1, or no feature is left")


@dataclass(frozen=True)
class LossConfig:
    """Loss weights of unpaired training.

    The adversarial terms have weight 1. Defaults after Hiasa et al. 2018.
    """

    cycle: NonNegativeFloat = 3.0
    """Weight of the L1 cycle loss, for both directions."""
    gradient: NonNegativeFloat = 0.3
    """Weight of the gradient consistency loss between each input and its translation."""
    gradient_mode: Literal["absolute", "signed"] = "absolute"
    """Correlate gradient magnitudes, or signed gradients as in the published equation (Hiasa et al. 2018), which make
    MR to CT worse."""
    gradient_operator: Literal["forward", "central", "sobel"] = "central"
    """Difference operator of the gradients."""
    identity: NonNegativeFloat = 0.0
    """Weight of the L1 identity loss; 0 turns it off."""
    depth_histogram: NonNegativeFloat = 0.0
    """Weight of the depth histogram loss; 0 turns it off. It compares the values of translated and real slices at equal
    depth below the skin, and needs --data.match_position."""


@dataclass(frozen=True)
class PairedConfig:
    """Loss weights of registered pairs.

    The adversarial term has weight 1. This is the whole loss of the paired objective, and is added to the unpaired loss
    otherwise.
    """

    l1: NonNegativeFloat = 100.0
    """Weight of the L1 distance between true and synthetic CT, after Isola et al. 2017 (pix2pix)."""
    gradient: NonNegativeFloat = 0.3
    """Weight of the gradient consistency loss between true and synthetic CT."""
    gradient_mode: Literal["signed", "absolute"] = "signed"
    """Correlate signed gradients, as in the published equation (Hiasa et al. 2018), or their magnitudes. Both images
    are CT here."""
    gradient_operator: Literal["forward", "central", "sobel"] = "central"
    """Difference operator of the gradients."""
    adversarial: Literal["log_likelihood", "minimax", "least_squares"] = "log_likelihood"
    """Adversarial loss of the discriminator that sees MR and CT together. With log_likelihood the generator raises
    log D; minimax is the original form log(1 - D), which stops learning where the discriminator wins."""
    every: PositiveInt = 4
    """Number of unpaired steps from one batch of pairs to the next."""


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer options.

    Adam and its learning rate. Defaults after Hiasa et al. 2018.
    """

    batch_size: PositiveInt = 1
    """Slices of each modality per step, in total over all GPUs and parts of a batch."""
    learning_rate: PositiveFloat = 2e-4
    """Learning rate: constant for the first half of the steps, then falling linearly to 0."""
    betas: tuple[OpenUnitInterval, OpenUnitInterval] = (0.5, 0.999)
    """Decay rates of Adam."""
    pool_size: NonNegativeInt = 50
    """Number of earlier fakes of each modality that the discriminators see again; 0 shows only the newest."""
    ema_decay: OpenUnitInterval = 0.999
    """Decay per step of the moving average of the generators, which validation and conversion use."""


@dataclass(frozen=True)
class MonitorConfig:
    """Watchdog options.

    The watchdog looks for contrast inversion, copies of the input, collapse, a discriminator that always wins,
    exploded losses, vanished gradients and blank batches.
    """

    action: Literal["warn", "stop", "rollback"] = "warn"
    """Response to an alarm: warn (in the log and in W&B), stop, or rollback to the last checkpoint before it and draw
    other samples, at most three times."""


@dataclass(frozen=True)
class TrainConfig:
    """Train a model on unpaired MR and CT, with some registered pairs, or on pairs alone."""

    output: Path
    """The run folder, for checkpoints, metrics.jsonl, settings, W&B files and the cache."""
    data: DataConfig
    objective: Literal["unpaired", "paired"] = "unpaired"
    """Training objective: unpaired trains both directions, after Hiasa et al. 2018; paired trains MR to CT on
    --data.pairs alone."""
    steps: PositiveInt = 200_000
    """Number of training steps of the whole schedule."""
    stop_at: PositiveInt | None = None
    """Stop after this step. The schedule of --steps stays, so that a resumed run continues it."""
    resume: str | None = None
    """Continue a stopped run: auto takes the newest intact checkpoint of the run folder, if there is one; a path
    takes that run folder or checkpoint."""
    init_from: Path | None = None
    """Begin with the weights of another run, for instance for a new scanner or hospital: its run folder, checkpoint or
    exported weights, or a model of the package (head-t1). It must have the same networks."""
    seed: NonNegativeInt = 0
    """Random seed of weights, sampling, augmentation and image pools."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:N or mps. Under torchrun, cuda is the GPU of each process."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Number format of the convolutions; weights and losses stay fp32. bf16 suits newer GPUs and fp16 older ones. Both
    are slow on a CPU."""
    channels_last: bool = False
    """Store tensors with the channels last: faster on many GPUs with bf16 or fp16, slower on a CPU."""
    compile: bool = False
    """Compile the networks at the first step. Takes minutes and needs a C++ compiler."""
    activation_checkpointing: bool = False
    """Recompute the residual blocks in the backward pass: less memory, more time."""
    accumulate: PositiveInt = 1
    """Split each batch into this many parts that are computed in turn: less memory, the same result."""
    patience: NonNegativeInt = 0
    """End training after this many validations without a better score; 0 trains to the end."""
    audit: Literal["stop", "warn"] = "stop"
    """Response to a failed audit of the volumes: stop before the first step, or warn and train anyway."""
    peer_timeout: PositiveFloat = 600.0
    """Seconds that one of several processes waits for the others before it gives up."""
    log_every: PositiveInt = 50
    """Number of steps between log lines."""
    validate_every: PositiveInt = 1000
    """Number of steps between validations. Each writes pictures and a checkpoint."""
    save_every: PositiveInt = 500
    """Number of steps between checkpoints: the most that a crash can lose."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    paired: PairedConfig = field(default_factory=PairedConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    wandb: WandbConfig = field(default_factory=WandbConfig)

    @property
    def cache(self) -> Path:
        """Folder of the prepared volumes."""
        return self.data.cache or self.output / "cache"

    @property
    def end(self) -> int:
        """Step after which this call of the program stops."""
        return self.stop_at or self.steps

    def __post_init__(self) -> None:
        _check_sources(self.objective, self.data)
        if self.seed >= 2**32:
            raise UserError(f"--seed must be below 2**32, got {self.seed}")
        if self.stop_at is not None and self.stop_at > self.steps:
            raise UserError(f"--stop_at must not exceed --steps {self.steps}, got {self.stop_at}")
        if self.optimizer.batch_size % self.accumulate:
            raise UserError(
                f"--optimizer.batch_size must be a multiple of --accumulate {self.accumulate}, "
                f"got {self.optimizer.batch_size}"
            )
        if self.loss.depth_histogram and not self.data.match_position:
            raise UserError("--loss.depth_histogram needs --data.match_position: it compares slices at equal positions")
        if self.loss.identity and self.data.contrasts:
            raise UserError("--loss.identity must be 0 with --data.contrasts: one CT cannot replace several contrasts")
        smallest = 3 * 2**self.network.discriminator_layers
        if min(self.data.crop) < smallest:
            raise UserError(
                f"--data.crop must be at least {smallest} for --network.discriminator_layers "
                f"{self.network.discriminator_layers}, got {self.data.crop}"
            )


def public_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings that define a run, as a plain nested dict without any path; a checkpoint and W&B hold them."""
    settings = asdict(config)
    for name in ("output", "resume", "init_from", "audit", "peer_timeout", "wandb"):
        del settings[name]
    for name in ("mr", "ct", "mr_series", "ct_series", "pairs", "validation_pairs"):
        del settings["data"][name]
    for name in ("cache", "prepare_threads", "resident", "workers"):
        del settings["data"][name]
    return settings


def _check_sources(objective: str, data: DataConfig) -> None:
    """Check that the volumes fit the objective."""
    unpaired = {"--data.mr": data.mr, "--data.ct": data.ct}
    missing = [name for name, source in unpaired.items() if source is None]
    if objective == "unpaired" and missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"{' and '.join(missing)} {verb} missing: give volumes, or --objective paired with --data.pairs"
        )
    if objective == "paired" and data.pairs is None:
        raise UserError("--data.pairs is missing: --objective paired needs a folder of pairs")
    if objective == "paired" and len(missing) < len(unpaired):
        raise UserError("--data.mr and --data.ct are not for --objective paired, which uses --data.pairs alone")
