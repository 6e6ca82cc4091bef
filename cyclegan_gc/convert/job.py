"""One case of a conversion and the names of its files."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan_gc.config import ConvertConfig, Direction
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.files import BIDS_RESULT, case_id, uncertainty_name
from cyclegan_gc.formats.sources import Source

NIFTI = ".nii.gz"
SUFFIXES = {"nifti": NIFTI, "mha": ".mha", "nrrd": ".nrrd", "dicom": ""}
"""Format -> suffix of a result; a DICOM series is a folder."""
ENDINGS: dict[Direction, str] = {"mr_to_ct": "_sct", "ct_to_mr": "_smr"}
"""Added to the source's name."""


@dataclass(frozen=True)
class Job:
    """One case and the names of its files."""

    source: Source
    result: Path
    """The volume file, or the folder of the DICOM series."""

    @property
    def stem(self) -> str:
        """Name without suffix that all files of the case share."""
        return case_id(self.result)

    @property
    def is_series(self) -> bool:
        """Whether the result is a DICOM series."""
        return self.result.name == self.stem

    @property
    def sidecar(self) -> Path:
        """JSON file that describes the result and how it was made."""
        return self.result.with_name(f"{self.stem}.json")

    @property
    def preview(self) -> Path:
        """PNG file with the middle slices of three planes."""
        return self.result.with_name(f"{self.stem}.png")

    @property
    def view(self) -> Path:
        """HTML page to scroll through the slices."""
        return self.result.with_name(f"{self.stem}.html")

    @property
    def uncertainty(self) -> Path:
        """NIfTI file with the standard deviation over the fused translations."""
        return self.result.with_name(f"{uncertainty_name(self.stem)}{NIFTI}")

    @property
    def companions(self) -> tuple[Path, ...]:
        """The files that may lie beside the result and its sidecar."""
        return self.preview, self.view, self.uncertainty

    @property
    def other_formats(self) -> list[Path]:
        """Names of the result if it were written in the other formats."""
        names = [self.result.with_name(f"{self.stem}{suffix}") for suffix in SUFFIXES.values()]
        return [name for name in names if name != self.result]

    def check_names(self) -> None:
        """Raise a :class:`VolumeError` if a name of the case's files is too long or taken by something else."""
        for path in (self.result, self.sidecar, *self.companions):
            is_folder = self.is_series and path == self.result
            try:
                taken = path.exists() and path.is_dir() != is_folder
            except OSError as error:
                cure = "shorten the name of its source or choose another output"
                raise VolumeError(f"{path}: cannot be written ({error.strerror}); {cure}") from None
            if taken:
                other = "file lies where the series" if is_folder else "folder lies where a file of the result"
                raise VolumeError(f"{path}: a {other} belongs; rename it or choose another output")


def job_of(source: Source, config: ConvertConfig) -> Job:
    """The job of a case; one whose result would leave the output folder, through a link in it, has a fault."""
    result = config.output / _result(source, config)
    if not is_below(result.parent, config.output):
        fault = f"its result {result} would lie outside the output folder; remove the link or choose another output"
        source = replace(source, fault=source.fault or fault)
    return Job(source, result)


def _result(source: Source, config: ConvertConfig) -> Path:
    """Path of the result below the output folder."""
    if config.naming == "bids":
        return _bids_name(source.name)
    return source.below / f"{source.name}{ENDINGS[config.direction]}{_suffix(source, config)}"


def _suffix(source: Source, config: ConvertConfig) -> str:
    """Suffix of the result in the wanted format, or in that of the source."""
    if config.format != "same":
        return SUFFIXES[config.format]
    if source.series is not None:
        return SUFFIXES["dicom"] if config.direction == "mr_to_ct" else NIFTI
    name = source.path.name.lower()
    return ".mha" if name.endswith((".mha", ".mhd")) else ".nrrd" if name.endswith((".nrrd", ".nhdr")) else NIFTI


def _bids_name(name: str) -> Path:
    """Path of a BIDS derivative: the source's entities are kept and its suffix becomes the ``space`` entity."""
    *entities, suffix = (
        name.split("_") if name.startswith("sub-") else (f"sub-{re.sub('[^0-9A-Za-z]', '', name)}", "MR")
    )
    if "-" in suffix:  # an entity, left where the ending of the contrast was cut off
        entities, suffix = [*entities, suffix], "MR"
    entities = [entity for entity in entities if not entity.startswith(("space-", "desc-"))]
    folders = [entity for entity in entities if entity.startswith(("sub-", "ses-"))]
    space = re.sub("[^0-9A-Za-z]", "", suffix)
    return Path(*folders, "ct", "_".join([*entities, f"space-{space}"]) + BIDS_RESULT + NIFTI)


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, whatever links lead there."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
