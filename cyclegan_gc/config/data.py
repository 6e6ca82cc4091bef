"""What can be told of the volumes: where they are, how they are prepared and how slices are drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan_gc.config.values import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SliceAxis,
)
from cyclegan_gc.errors import UserError


@dataclass(frozen=True)
class PreprocessConfig:
    """How a volume becomes slices in [-1, 1]; kept in the checkpoint, so conversion cannot disagree with training."""

    spacing_mm: PositiveFloat | None = None
    """In-plane pixel size of the network's slices; null keeps each volume's own."""
    ct_window_hu: tuple[float, float] = (-1000.0, 1500.0)
    """HU mapped to -1 and 1; beyond is clipped."""
    mr_percentiles: tuple[float, float] = (0.5, 99.5)
    """Percentiles of the MR inside the body mapped to -1 and 1; beyond is clipped."""
    n4: bool = False
    """Correct the MR's bias field (N4, some seconds a volume; conversion does the same)."""

    def __post_init__(self) -> None:
        _check_rising("preprocess.ct_window_hu", self.ct_window_hu)
        _check_rising("preprocess.mr_percentiles", self.mr_percentiles)
        if self.mr_percentiles[0] < 0 or self.mr_percentiles[1] > 100:
            raise UserError(f"preprocess.mr_percentiles must lie in [0, 100], got {self.mr_percentiles}")


@dataclass(frozen=True)
class DataConfig:
    """Where the volumes are and how slices are drawn from them."""

    mr: str | None = None
    """MR volumes: a folder (searched recursively), a glob or a text list of files; null with objective paired."""
    ct: str | None = None
    """CT volumes in HU: a folder (searched recursively), a glob or a text list of files; null with objective paired."""
    pairs: str | None = None
    """Folder with mr/ and ct/ of equal file names on one grid: registered pairs to train on, beside the unpaired
    volumes or, with objective paired, alone."""
    contrasts: tuple[str, ...] = ()
    """Several MR contrasts of a subject as channels: the endings of their files' names, as _T1w _T2w or _0000 _0001,
    the one that shows the body best first. They must lie on one grid; conversion wants the same ones."""
    slice_axes: tuple[SliceAxis, ...] = ("axial",)
    """Planes of the slices; the hip is sliced coronally after Hiasa et al. 2018. A model of several planes can convert
    in each of them and fuse the results."""
    crop: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Height and width of a training slice in pixels, cut at random; smaller slices are padded with air."""
    context_slices: NonNegativeInt = 0
    """Neighbours on each side that go through the networks with a slice as channels (2.5-D); gradient consistency then
    also looks through the slices, and conversion takes the mean of what its neighbours say of a slice."""
    match_position: bool = False
    """Draw MR and CT slices of similar relative height in the body."""
    flip: bool = True
    """Mirror left and right at random (never along sagittal slices, where it would swap front and back)."""
    rotate_degrees: NonNegativeFloat = 5.0
    """Largest random rotation in the plane."""
    scale: ClosedUnitInterval = 0.05
    """Largest random change of height and, drawn apart, of width, as a fraction."""
    mr_intensity: ClosedUnitInterval = 0.0
    """Strength of a random change of the MR's grey values, for scanners other than those trained on: a smooth rising
    curve and a bias field, drawn anew for each sample. 0 leaves them, 1 is the most."""
    validation_fraction: ClosedUnitInterval = 0.1
    """Share of the subjects held out for validation (subjects: sub-XX in the name, else the file name, or the folder
    where file names repeat); 0 validates on the training volumes."""
    validation_pairs: str | None = None
    """Folder with mr/ and ct/ of equal file names on one grid, as ``cyclegan-gc phantom`` writes to test/: true errors
    of up to three of them are logged at each validation. Never trained on, and best.pt does not depend on them."""
    cache: Path | None = None
    """Folder of the prepared slices, which runs can share; null is OUTPUT/cache."""
    prepare_threads: NonNegativeInt = 0
    """Volumes prepared at once at the first start; 0 takes one a CPU, at most 4."""
    workers: NonNegativeInt = 0
    """Loader processes; 0 loads in the training process."""

    @property
    def ct_channels(self) -> int:
        """Slices that go through a network together."""
        return slab_channels(self.context_slices, self.contrasts)["ct"]

    @property
    def mr_channels(self) -> int:
        """The same of every contrast."""
        return slab_channels(self.context_slices, self.contrasts)["mr"]

    def __post_init__(self) -> None:
        if any(side % 4 for side in self.crop):
            raise UserError(f"data.crop must be multiples of 4, got {self.crop}")
        if not self.slice_axes or len(set(self.slice_axes)) < len(self.slice_axes):
            raise UserError(f"data.slice_axes must name planes, each once, got {list(self.slice_axes)}")
        if len(self.contrasts) == 1 or "" in self.contrasts or len(set(self.contrasts)) < len(self.contrasts):
            raise UserError(f"data.contrasts must be two or more endings, each once, got {list(self.contrasts)}")


def slab_channels(context_slices: int, contrasts: Sequence[str]) -> dict[str, int]:
    """Channels of a ``ct`` (a slice with its neighbours) and of an ``mr`` (every contrast of each)."""
    slices = 2 * context_slices + 1
    return {"ct": slices, "mr": slices * max(1, len(contrasts))}


def _check_rising(name: str, pair: tuple[float, float]) -> None:
    if not pair[0] < pair[1]:
        raise UserError(f"{name} must be two rising numbers, got {pair}")
