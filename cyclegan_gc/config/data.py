"""Settings of the volumes: where they are, how they are prepared and how slices are drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclegan_gc.config.values import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SliceAxis,
    check_planes,
)
from cyclegan_gc.errors import UserError


@dataclass(frozen=True)
class PreprocessConfig:
    """Preprocessing options.

    How a volume becomes slices in [-1, 1]. The checkpoint keeps them, so conversion uses the same settings.
    """

    spacing_mm: PositiveFloat | None = None
    """In-plane pixel size of the network's slices in mm. Without it, each volume keeps its own."""
    ct_window_hu: tuple[float, float] = (-1000.0, 1500.0)
    """CT window: the two HU values that become -1 and 1. Values outside are clipped."""
    soft_tissue_hu: tuple[float, float] | None = None
    """HU range of soft tissue. It takes half of the networks' range, air and bone share the rest, so that soft tissue
    counts more in every term. Without it the window is linear."""
    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    """MR window: the two percentiles inside the body that become -1 and 1. Values outside are clipped."""
    n4: bool = False
    """Correct the bias field of the MR with N4, in training and in conversion. Takes some seconds a volume."""

    def __post_init__(self) -> None:
        _check_rising("--preprocess.ct_window_hu", self.ct_window_hu)
        if self.soft_tissue_hu is not None:
            _check_rising("--preprocess.soft_tissue_hu", self.soft_tissue_hu)
            if self.soft_tissue_hu[0] <= self.ct_window_hu[0] or self.soft_tissue_hu[1] >= self.ct_window_hu[1]:
                raise UserError(
                    f"--preprocess.soft_tissue_hu must lie inside the CT window {self.ct_window_hu}, got "
                    f"{self.soft_tissue_hu}"
                )
        _check_rising("--preprocess.mr_percentiles", self.mr_percentiles)
        if self.mr_percentiles[0] < 0 or self.mr_percentiles[1] > 100:
            raise UserError(f"--preprocess.mr_percentiles must lie in [0, 100], got {self.mr_percentiles}")


@dataclass(frozen=True)
class DataConfig:
    """Data options.

    Where the volumes are and how slices are drawn from them.
    """

    mr: str | None = None
    """MR volumes or DICOM series: a folder (searched recursively), a glob or a text file that lists files. Not for
    --objective paired."""
    ct: str | None = None
    """CT volumes in HU, given like the MR volumes; they need not show the same subjects. One folder may be given for
    both if modality or file names (mr, ct) tell them apart. Not for --objective paired."""
    mr_series: str | None = None
    """Pattern, for instance "*T1*". Take only MR series whose description, protocol or UID matches it, and files whose
    name matches it."""
    ct_series: str | None = None
    """The same for CT series and files."""
    pairs: str | None = None
    """Registered pairs to train on, each on one grid: a folder with mr/ and ct/ and equal file names, a folder for each
    pair (SynthRAD, BIDS), or a DICOM export. They are added to the unpaired volumes, or used alone with --objective
    paired."""
    contrasts: tuple[str, ...] = ()
    """Several MR contrasts of a subject as input channels: the endings of their file names, for instance _T1w _T2w or
    _0000 _0001. The body mask is found in the first contrast, so put the one with the clearest body outline first. The
    files of a subject must lie on one grid, and conversion needs the same contrasts."""
    slice_axes: tuple[SliceAxis, ...] = ("axial",)
    """Planes of the training slices. Hiasa et al. 2018 take coronal slices of the hip. A model trained on several
    planes can convert in each of them and fuse the results."""
    crop: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Height and width of a training slice in pixels, cut at random. Smaller slices are padded with air."""
    context_slices: NonNegativeInt = 0
    """Neighbouring slices on each side that are added as channels (2.5-D). Gradient consistency then also compares
    gradients across the slices, and conversion averages all translations of a slice."""
    match_position: bool = False
    """Draw MR and CT slices at similar relative positions along the slice axis."""
    flip: bool = True
    """Mirror left and right at random. Sagittal slices are never mirrored: it would swap front and back."""
    tilt_degrees: NonNegativeFloat = 0.0
    """Largest random tilt of a plane about each of its own axes in degrees. It is reduced if slices are thicker
    than a pixel, and 0 if they are at least twice as thick."""
    rotate_degrees: NonNegativeFloat = 5.0
    """Largest random in-plane rotation in degrees."""
    scale: ClosedUnitInterval = 0.05
    """Largest random change of height and width, as a fraction. The two are drawn independently."""
    mr_intensity: ClosedUnitInterval = 0.0
    """Strength of random changes of the MR's grey values, from 0 (none) to 1, so that the model copes with other
    scanners. Each sample gets a new smooth rising curve and a new bias field."""
    validation_fraction: ClosedUnitInterval = 0.1
    """Share of the subjects held out for validation, from 0 to 1; 0 validates on the training volumes. A subject is
    sub-XX or a SynthRAD identifier in the path, otherwise the PatientID of a series, otherwise the file name, or the
    folder where file names repeat."""
    validation_pairs: str | None = None
    """Registered pairs to measure true errors on, given like the pairs; test/ of ``cyclegan-gc phantom`` holds some.
    Each validation logs the errors of up to three of them. They are never trained on and never choose best.pt."""
    cache: Path | None = None
    """Folder of the prepared volumes, which several runs can share. Default: cache/ in the run folder."""
    prepare_threads: NonNegativeInt = 0
    """Number of volumes prepared at once at the first start; 0 takes one per CPU, at most 4."""
    resident: Literal["auto", True, False] = "auto"
    """Keep the prepared volumes on the GPU: auto does so if they take at most a quarter of its free memory. Otherwise
    samples are read from the cache."""
    workers: NonNegativeInt = 1
    """Threads that read samples from the cache ahead of the training; 0 reads between the steps. The samples do not
    depend on it."""

    @property
    def ct_channels(self) -> int:
        """Number of CT slices that go through a network together."""
        return slab_channels(self.context_slices, self.contrasts)["ct"]

    @property
    def mr_channels(self) -> int:
        """Number of MR slices that go through a network together, over all contrasts."""
        return slab_channels(self.context_slices, self.contrasts)["mr"]

    def __post_init__(self) -> None:
        if any(side % 4 for side in self.crop):
            raise UserError(f"--data.crop must be multiples of 4, got {self.crop}")
        check_planes("--data.slice_axes", self.slice_axes)
        if len(self.contrasts) == 1 or "" in self.contrasts or len(set(self.contrasts)) < len(self.contrasts):
            raise UserError(f"--data.contrasts must be two or more endings, each once, got {list(self.contrasts)}")


def slab_channels(context_slices: int, contrasts: Sequence[str]) -> dict[str, int]:
    """Number of channels of a ``ct`` (a slice with its neighbours) and of an ``mr`` (every contrast of each slice)."""
    slices = 2 * context_slices + 1
    return {"ct": slices, "mr": slices * max(1, len(contrasts))}


def _check_rising(name: str, pair: tuple[float, float]) -> None:
    if not pair[0] < pair[1]:
        raise UserError(f"{name} must be two rising numbers, got {pair}")
