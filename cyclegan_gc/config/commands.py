"""What the other commands can be told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cyclegan_gc.config.data import PreprocessConfig
from cyclegan_gc.config.training import WandbConfig
from cyclegan_gc.config.values import (
    ClosedUnitInterval,
    Direction,
    Fusion,
    NonNegativeInt,
    PositiveInt,
    Scanner,
    SliceAxis,
)
from cyclegan_gc.errors import UserError


def _no_wandb() -> WandbConfig:
    """Only training is tracked unless asked."""
    return WandbConfig(mode="disabled")


@dataclass(frozen=True)
class ConvertConfig:
    """Convert MR volumes to synthetic CT in HU on the source's exact grid (or CT to synthetic MR)."""

    checkpoint: Path
    """Checkpoint of a training run, for instance RUN/last.pt."""
    input: str
    """A volume, a DICOM series, a folder (searched recursively), a glob or a text list of files."""
    output: Path
    """Folder of the results, NAME_sct.nii.gz (or NAME_smr.nii.gz), each with a sidecar NAME_sct.json."""
    direction: Direction = "mr_to_ct"
    """Which generator to use."""
    planes: tuple[SliceAxis, ...] | None = None
    """Planes to translate in and fuse, of those that the model was trained on; null takes its first."""
    mirror: bool = False
    """Fuse with the translation of the mirrored slices too (test-time augmentation)."""
    ensemble: tuple[Path, ...] = ()
    """Further checkpoints to fuse with."""
    fusion: Fusion = "mean"
    """How several translations become one; the median holds all of them in memory."""
    uncertainty: bool = False
    """Write their standard deviation in HU too, as NAME_sct_uncertainty.nii.gz."""
    format: Literal["nifti", "dicom"] = "nifti"
    """dicom writes a CT series into the source's study, in a folder NAME_sct."""
    reference_dicom: Path | None = None
    """Folder of the DICOM series that a NIfTI input was made from; needed for --format dicom then."""
    naming: Literal["plain", "bids"] = "plain"
    """plain keeps folders and names; bids writes derivatives, sub-X/ct/sub-X_..._desc-synthetic_ct.nii.gz."""
    series: str | None = None
    """SeriesInstanceUID to convert, where a folder holds several; null converts all."""
    overwrite: bool = False
    """Convert again what is there already, made from the same input, model and settings, and intact."""
    force: bool = False
    """Convert although the values look like the other modality's."""
    preview: bool = True
    """Write a PNG of three planes for each case."""
    shard: str | None = None
    """i/n converts the i-th of n parts, i from 1 to n (or 0 to n-1); null asks SLURM_ARRAY_TASK_* and torchrun."""
    max_voxels: PositiveInt = 2**31
    """Larger volumes are refused from their headers."""
    batch_size: PositiveInt = 8
    """Slices per pass through the network."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    wandb: WandbConfig = field(default_factory=_no_wandb)
    """--wandb.mode auto, online or offline tracks the conversion too."""

    def __post_init__(self) -> None:
        if self.direction == "ct_to_mr" and (self.format == "dicom" or self.naming == "bids"):
            raise UserError("--format dicom and --naming bids are for synthetic CT; leave them out for ct_to_mr")
        if self.format == "dicom" and self.naming == "bids":
            raise UserError("--naming bids is for NIfTI; choose it or --format dicom")
        if self.planes is not None and (not self.planes or len(set(self.planes)) < len(self.planes)):
            raise UserError(f"--planes must name planes, each once, got {list(self.planes)}")


@dataclass(frozen=True)
class AuditDataConfig:
    """The volumes that a training would be given."""

    mr: str
    """MR volumes: a folder (searched recursively), a glob or a text list of files."""
    ct: str
    """CT volumes in HU: a folder (searched recursively), a glob or a text list of files."""
    validation_fraction: ClosedUnitInterval = 0.1
    """Share of the subjects that training will hold out for validation."""
    contrasts: tuple[str, ...] = ()
    """Endings of the names of a subject's MR contrasts, as in training."""
    slice_axes: tuple[SliceAxis, ...] = ("axial",)
    """Planes of the slices that training will take."""


@dataclass(frozen=True)
class AuditConfig:
    """Look through MR and CT volumes before training: wrong, odd, doubled and unlike ones."""

    data: AuditDataConfig
    output: Path = Path("audit")
    """Folder of audit.json and the contact sheet audit.png."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)


@dataclass(frozen=True)
class ManifestConfig:
    """Join the manifests of a batch that was converted in parts."""

    action: Literal["merge"]
    """merge writes manifest.json and index.html."""
    output: Path
    """The folder of the results."""


@dataclass(frozen=True)
class InfoConfig:
    """Describe a volume, a DICOM series or a checkpoint."""

    file: Path
    """A volume, a DICOM file or folder, or a checkpoint (.pt)."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Compare synthetic CT with true CT inside the body, next to simple baselines."""

    predicted: str
    """Synthetic CT: a file, folder, glob or list; matched to the reference by the name without _sct."""
    reference: str
    """True CT in HU: a file, folder, glob or list."""
    output: Path
    """Folder of report.html, cases.csv, evaluation.json, and tables and figures for papers."""
    mr: str | None = None
    """Source MR: adds the gradient correlation with the MR, and pictures."""
    mask: str | None = None
    """Body masks; without them the body is found in the reference CT."""
    checkpoint: Path | None = None
    """Adds the baseline of histogram matching, from the training sets of this checkpoint (needs --mr)."""
    compare: tuple[str, ...] = ()
    """Other methods' synthetic CT of the same cases, as NAME=SOURCE (a single one needs no name): all are measured on
    the same voxels, and each is tested against the synthetic CT case by case."""
    labels: str | None = None
    """Label maps of the true CT (0 is background): adds Dice and HD95 of each label."""
    predicted_labels: str | None = None
    """Label maps of the synthetic CT, made by any program, with the numbers of ``labels``."""
    compared_labels: tuple[str, ...] = ()
    """Label maps of the compared methods, as NAME=SOURCE with the names of --compare."""
    segment: Literal["totalsegmentator"] | None = None
    """totalsegmentator makes all label maps instead, if that program is installed."""
    wandb: WandbConfig = field(default_factory=_no_wandb)
    """--wandb.mode auto, online or offline tracks the evaluation too."""

    def __post_init__(self) -> None:
        if self.segment and (self.labels or self.predicted_labels or self.compared_labels):
            raise UserError("--segment makes all label maps, with numbers of its own; leave it or the given ones out")
        if self.compared_labels and not (self.compare and self.labels):
            raise UserError("--compared_labels needs --compare and --labels; give them or leave it out")
        if self.segment is None and (self.labels is None) != (self.predicted_labels is None):
            missing = "--labels" if self.labels is None else "--predicted_labels"
            raise UserError(f"{missing} is missing: Dice needs both label maps; give it or --segment totalsegmentator")


@dataclass(frozen=True)
class SyncConfig:
    """Send what a run kept offline to Weights & Biases."""

    run: Path
    """Folder of a training run, a conversion or an evaluation."""
    images: bool = False
    """Send its pictures too, although the run was made without wandb.images."""


@dataclass(frozen=True)
class PhantomConfig:
    """Generate procedural MR and CT subjects with exact truth."""

    output: Path
    """Folder of mr/, ct/ (unpaired) and test/mr/, test/ct/, test/labels/ (pairs)."""
    subjects: PositiveInt = 8
    """Training subjects per modality."""
    test_subjects: PositiveInt = 4
    """Held-out subjects, with pairs."""
    seed: NonNegativeInt = 0
    """Other seeds, other subjects."""
    kind: Literal["head", "pelvis"] = "head"
    """Anatomy."""
    scanner: Scanner = "spgr"
    """T1 protocol of the MR: another one sees the same subjects with other contrast, sharpness, noise and bias field;
    the CT and the truth stay."""


@dataclass(frozen=True)
class DemoConfig:
    """Phantoms, training, conversion of held-out subjects, evaluation and a report, in a few minutes."""

    output: Path = Path("demo")
    """Folder of everything the demo makes; open OUTPUT/report.html at the end."""
    seed: NonNegativeInt = 0
    """Seed of the phantoms and the training."""
    steps: PositiveInt | None = None
    """Training steps; null takes the recipe's."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
