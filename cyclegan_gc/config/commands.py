"""Settings of all commands but training."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cyclegan_gc.config.data import PreprocessConfig
from cyclegan_gc.config.tracking import WandbConfig
from cyclegan_gc.config.values import (
    ClosedUnitInterval,
    Direction,
    Fusion,
    NonNegativeInt,
    PositiveInt,
    Preview,
    Scanner,
    SliceAxis,
    check_planes,
)
from cyclegan_gc.errors import UserError

NOT_TRACKED = WandbConfig(mode="disabled")


@dataclass(frozen=True)
class ConvertConfig:
    """Convert MR volumes to synthetic CT in HU on the source's exact grid, or CT volumes to synthetic MR."""

    checkpoint: Path
    """A run folder (its last.pt), a checkpoint, exported weights or the name of a model: head-t1."""
    input: str
    """A volume, a DICOM series, a folder (searched recursively), a glob or a text file that lists files."""
    output: Path
    """Folder for the results: NAME_sct.nii.gz (or NAME_smr.nii.gz), each with its sidecar NAME_sct.json."""
    direction: Direction = "mr_to_ct"
    """Direction of the translation."""
    planes: tuple[SliceAxis, ...] | None = None
    """Planes to translate in and fuse. Default: all planes that the model was trained on."""
    mirror: bool = False
    """Also translate the mirrored slices and fuse (test-time augmentation)."""
    ensemble: tuple[Path, ...] = ()
    """More run folders or checkpoints to fuse with. Takes all words up to the next option, so give INPUT and OUTPUT
    first."""
    fusion: Fusion = "mean"
    """How several translations are fused. The median keeps all of them in memory."""
    uncertainty: bool = False
    """Write the standard deviation of the fused translations in HU, as NAME_sct_uncertainty.nii.gz.

    A case with one translation left has none, and a warning."""
    format: Literal["nifti", "mha", "nrrd", "dicom", "same"] = "nifti"
    """Format of the results; same takes that of each source. dicom writes a CT series of the source's study into a
    folder NAME_sct. Uncertainty maps are always NIfTI."""
    reference_dicom: Path | None = None
    """Folder of the DICOM series that a single volume file was made from; --format dicom needs it for such a file."""
    resample: Literal["axial"] | None = None
    """Write the DICOM series on a new axial, even grid that holds the whole source, as planning systems ask for.
    Default: the source's own slices."""
    naming: Literal["plain", "bids"] = "plain"
    """Names of the results. plain keeps folders and names; bids writes derivatives,
    sub-X/ct/sub-X_..._desc-synthetic_ct.nii.gz."""
    series: str | None = None
    """Pattern, for instance "*T1*". Convert only series whose description, protocol or UID matches it, and files whose
    name matches it."""
    overwrite: bool = False
    """Convert again even where a finished result exists."""
    force: bool = False
    """Convert even where the values look like the other modality."""
    preview: Preview = "interactive"
    """Pictures of each case. png: NAME_sct.png, the middle of three planes; interactive: also NAME_sct.html, a page to
    scroll through all slices."""
    strict: bool = False
    """End with exit code 3 also where a result is implausible."""
    shard: str | None = None
    """Convert the i-th of n parts, i from 1 to n (or 0 to n-1); auto takes i/n from a Slurm array or torchrun."""
    max_voxels: PositiveInt = 2**31
    """Largest number of voxels; larger volumes are refused after reading the header."""
    batch_size: PositiveInt = 8
    """Number of slices per pass through the network."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:N or mps."""
    wandb: WandbConfig = NOT_TRACKED
    """A conversion is tracked only with mode auto, online or offline."""

    def __post_init__(self) -> None:
        if self.direction == "ct_to_mr" and (self.format == "dicom" or self.naming == "bids"):
            raise UserError("--format dicom and --naming bids are for synthetic CT; leave them out for ct_to_mr")
        if self.format != "nifti" and self.naming == "bids":
            raise UserError(f"--naming bids is for NIfTI; choose it or --format {self.format}")
        if self.resample and self.format != "dicom":
            raise UserError(f"--resample {self.resample} is for DICOM series; add --format dicom or leave it out")
        if self.planes is not None:
            check_planes("--planes", self.planes)


@dataclass(frozen=True)
class AuditDataConfig:
    """Data options.

    The volumes that training would use.
    """

    mr: str
    """MR volumes or DICOM series: a folder (searched recursively), a glob or a text file that lists files."""
    ct: str
    """CT volumes in HU, given like the MR volumes."""
    mr_series: str | None = None
    """Pattern, for instance "*T1*". Take only MR series whose description, protocol or UID matches it, and files whose
    name matches it."""
    ct_series: str | None = None
    """The same for CT series and files."""
    validation_fraction: ClosedUnitInterval = 0.1
    """Share of the subjects that training will hold out for validation, from 0 to 1."""
    contrasts: tuple[str, ...] = ()
    """Endings of the file names of a subject's MR contrasts, as in training."""
    slice_axes: tuple[SliceAxis, ...] = ("axial",)
    """Planes of the training slices."""


@dataclass(frozen=True)
class AuditConfig:
    """Check MR and CT volumes before training: damaged, odd, duplicate and mismatched ones.

    --config takes a training preset too, and uses its data and preprocessing options.
    """

    data: AuditDataConfig
    output: Path = Path("audit")
    """Folder for audit.json and the contact sheet audit.png."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)


@dataclass(frozen=True)
class ManifestConfig:
    """Merge the manifests of a batch that was converted in parts."""

    action: Literal["merge"]
    """The word merge: writes manifest.json and index.html of all parts."""
    output: Path
    """Folder of the results."""


@dataclass(frozen=True)
class InfoConfig:
    """Describe a volume, a model, or all volumes and DICOM series of a folder in a table.

    Only headers are read for a table and for JSON; damaged voxels are found by audit.
    """

    file: Path
    """A volume, a DICOM file, a folder, a checkpoint, a run folder or the name of a model: head-t1."""
    json: bool = False
    """Print JSON, for programs."""


@dataclass(frozen=True)
class ExportConfig:
    """Write a trained model for other programs: weights to share, ONNX, TorchScript or a MONAI bundle."""

    checkpoint: Path
    """A run folder (its last.pt), a checkpoint, exported weights or the name of a model: head-t1."""
    format: Literal["weights", "onnx", "torchscript", "bundle"]
    """weights: safetensors and JSON, for convert and Python; onnx and torchscript: the network alone; bundle: for
    MONAI."""
    output: Path | None = None
    """Folder for the files. Default: export in the folder of the checkpoint."""


@dataclass(frozen=True)
class EvaluateConfig:
    """Compare synthetic CTs with true CTs inside the body, next to trivial baselines."""

    predicted: str
    """Synthetic CTs in HU: a file, a DICOM series, a folder, a glob or a text list. Matched to the true CTs by the name
    without _sct or, where names repeat, by the folder."""
    reference: str
    """True CTs in HU, given like --predicted."""
    output: Path
    """Folder for report.html, cases.csv, evaluation.json, and tables and figures for papers."""
    mr: str | None = None
    """Source MRs. Adds the gradient correlation with the MR, and pictures."""
    mask: str | None = None
    """Body masks. Without them, the body is found in the true CT."""
    checkpoint: Path | None = None
    """Run folder or checkpoint. Adds the baseline that matches the histograms of the training sets; needs --mr."""
    compare: tuple[str, ...] = ()
    """Other methods to compare, each as NAME=PATH: a file or folder of synthetic CTs of the same cases. A single method
    needs no name. All are measured on the same voxels, and each is compared with the synthetic CT by a paired test."""
    labels: str | None = None
    """Label maps of the true CTs (0 is background). Adds Dice and HD95 of each label."""
    predicted_labels: str | None = None
    """Label maps of the synthetic CTs, from any program, with the same numbers as --labels."""
    compared_labels: tuple[str, ...] = ()
    """Label maps of the compared methods, each as NAME=PATH with the names of --compare."""
    segment: Literal["totalsegmentator"] | None = None
    """Make all label maps with this program instead; it must be installed."""
    preview: Preview = "interactive"
    """Pictures. png: the middle of the worst cases, in the report; interactive: also a page for each case to scroll
    through all slices, in views/."""
    wandb: WandbConfig = NOT_TRACKED
    """An evaluation is tracked only with mode auto, online or offline."""

    def __post_init__(self) -> None:
        if self.segment and (self.labels or self.predicted_labels or self.compared_labels):
            raise UserError("--segment makes all label maps itself; leave out --segment or the given label maps")
        if self.compared_labels and not (self.compare and self.labels):
            raise UserError("--compared_labels needs --compare and --labels; give them or leave it out")
        if self.segment is None and (self.labels is None) != (self.predicted_labels is None):
            missing = "--labels" if self.labels is None else "--predicted_labels"
            raise UserError(f"{missing} is missing: Dice needs both label maps; give it or --segment totalsegmentator")


@dataclass(frozen=True)
class SyncConfig:
    """Send offline runs to Weights & Biases."""

    run: Path
    """Folder of a training run, a conversion or an evaluation."""


@dataclass(frozen=True)
class PhantomConfig:
    """Generate digital phantoms (MR and CT) with known ground truth."""

    output: Path
    """Folder for mr/ and ct/ (unpaired) and for test/mr/, test/ct/ and test/labels/ (pairs)."""
    subjects: PositiveInt = 8
    """Number of training subjects per modality."""
    test_subjects: PositiveInt = 4
    """Number of held-out subjects, with pairs."""
    seed: NonNegativeInt = 0
    """Random seed of the subjects."""
    kind: Literal["head", "pelvis"] = "head"
    """Anatomy of the subjects."""
    scanner: Scanner = "spgr"
    """T1 protocol of the MR. It changes contrast, sharpness, noise and bias field. Subjects, CT and truth stay
    the same."""


@dataclass(frozen=True)
class DemoConfig:
    """Run all steps on digital phantoms: training, conversion, evaluation and a report.

    Takes about 10 minutes on two CPU cores.
    """

    output: Path = Path("demo")
    """Folder for all results; open its report.html at the end."""
    seed: NonNegativeInt = 0
    """Random seed of the subjects and the training."""
    steps: PositiveInt | None = None
    """Number of training steps. Default: 2400."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:N or mps."""
