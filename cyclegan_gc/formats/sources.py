"""Finding cases, volume files and DICOM series, in a file, a folder, a glob pattern or a text list."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cyclegan_gc.errors import UserError, VolumeError, named, plain
from cyclegan_gc.formats.contrasts import join_contrasts, missing_contrasts
from cyclegan_gc.formats.dicom.header import SUFFIXES, is_dicom
from cyclegan_gc.formats.dicom.pictures import DicomSeries
from cyclegan_gc.formats.dicom.read import read_frames, read_series, series_grid
from cyclegan_gc.formats.dicom.series import group_series
from cyclegan_gc.formats.files import case_id, is_special, is_volume, named_path
from cyclegan_gc.formats.listing import list_files, listed_paths
from cyclegan_gc.formats.nifti import geometry_header
from cyclegan_gc.formats.volumes import (
    MAX_VOXELS,
    Volume,
    as_labels,
    as_mask,
    read_contrasts,
    read_labels,
    read_mask,
    volume_grid,
)


@dataclass(frozen=True)
class Source:
    """One case: a volume file or a DICOM series."""

    path: Path
    """The file (for several contrasts the first one) or the folder of the series; used in messages."""
    name: str
    """Name without suffix; the result's name begins with it."""
    below: Path
    """Folder of the case relative to the input; results are written to the same subfolder."""
    files: tuple[Path, ...]
    """All files of the case."""
    series: DicomSeries | None = None
    """None for a volume file."""
    fault: str | None = None
    """Reason why the case cannot be read, if already known."""

    @property
    def kind(self) -> str:
        """Modality of a series, "localizer" or "projection"; empty if unknown or for a volume file."""
        return self.series.kind if self.series else ""

    @property
    def frames(self) -> tuple[int, ...]:
        """Indices of the case's frames among those of its DICOM files; empty for all."""
        return self.series.frames if self.series else ()

    @property
    def place(self) -> Path:
        """Folder and name of the case, which no other case has; with the suffix if it is one file."""
        return self.path if self.series is None and len(self.files) == 1 else self.path.parent / self.name

    @property
    def label(self) -> str:
        """Path of the case relative to the input, for tables."""
        return plain((self.below / (self.path.name if self.series is None else self.name)).as_posix())

    def readable_files(self) -> tuple[Path, ...]:
        """The files of the case; raises a :class:`VolumeError` if it has a fault."""
        if self.fault:
            raise VolumeError(f"{self.path}: {self.fault}")
        return self.files


class LeftOut(NamedTuple):
    """A file or series of the input that is not a case, and why."""

    label: str
    """Path relative to the input; odd characters are escaped."""
    reason: str
    """What it is, without an article."""


def find_sources(source: str | Path, contrasts: Sequence[str] = ()) -> tuple[list[Source], list[LeftOut]]:
    """Every case of a file, a folder (with its subfolders), a glob pattern or a text list.

    DICOM files are grouped by SeriesInstanceUID, whatever their folders; each series, or each picture of it (echoes,
    water and fat), is a case. Also returns the files that were left out.

    Args:
        source: the input as the user named it.
        contrasts: endings of the names of the volume files that make up a case; DICOM series are then left out.

    Raises:
        UserError: if there is no case.
    """
    root, listed = list_files(source, lambda path: is_special(path) or _is_picture(path))
    files = [path for path in listed if is_volume(path) or not is_special(path)]
    left_out = [LeftOut(_label(path, root), "pipe or device") for path in sorted(set(listed).difference(files))]
    if not files:
        raise UserError(f"{source}: holds only pipes and devices; give files")
    if contrasts:
        joined = join_contrasts([path for path in files if is_volume(path)], contrasts, str(source))
        sources = [_contrasts_source(case, known, contrasts, root) for case, known in joined.items()]
        others = sorted(set(files).difference(*(case.files for case in sources)))
        reason = f"file without one of the endings {', '.join(contrasts)}"
        return sources, [*left_out, *(LeftOut(_label(path, root), reason) for path in others)]
    volumes = [Source(path, case_id(path), _below(path.parent, root), (path,)) for path in files if is_volume(path)]
    dicom = [path for path in files if not is_volume(path)]
    grouped, others = group_series([*dicom, *(_damaged(dicom) if root == named_path(source) else [])])
    left_out += [LeftOut(_label(path, root), f"DICOM object without an image ({kind})") for path, kind in others]
    cases = sorted([*volumes, *_series_sources(grouped, root)], key=lambda case: (case.path, case.name))
    if not cases:
        raise UserError(f"{source}: holds only DICOM objects without pixels; give the folder of an image series")
    return cases, left_out


def source_of(path: Path, *others: Path) -> Source:
    """The case of one volume file, which need not exist yet, or of several contrasts."""
    return Source(path, case_id(path), Path(os.curdir), (path, *others))


def named_files(source: str | Path) -> set[Path]:
    """The files that the user named one by one: the input itself, or the lines of a text list."""
    path = named_path(source)
    if not path.is_file():
        return set()
    return {path} if _is_picture(path) else set(listed_paths(path))


def is_series(files: Sequence[Path]) -> bool:
    """Whether files are those of a DICOM series, rather than a volume file or the contrasts of one case."""
    return not is_volume(files[0]) and is_dicom(files[0])


def read_files(files: Sequence[Path], max_voxels: int, frames: Sequence[int] = ()) -> Volume:
    """Read a volume file, the contrasts of one case, or a DICOM series or some ``frames`` of it.

    Raises:
        VolumeError: if it cannot be used; one line with the path, the cause and the cure.
    """
    if not is_series(files):
        return read_contrasts(files, max_voxels=max_voxels)
    with named(path_of(files)):
        return read_series(files, max_voxels, frames)


def source_grid(source: Source) -> tuple[tuple[int, ...], Any]:
    """Shape (X, Y, Z) and affine (4, 4) in mm of a case, from its headers only; raises as :func:`read_files`."""
    files = source.readable_files()
    if source.series is None:
        return volume_grid(files[0])
    with named(source.path):
        return series_grid(files, source.frames)


def read_map(source: Source, kind: Literal["mask", "labels"]) -> Volume:
    """Read a mask or a label map, a volume file or a DICOM series; raises as :func:`read_files`."""
    files = source.readable_files()
    if not is_series(files):
        return read_mask(files[0]) if kind == "mask" else read_labels(files[0])
    with named(path_of(files)):
        values, affine, notes = read_frames(files, MAX_VOXELS, source.frames)
        stored = Volume(values, affine, geometry_header(affine), tuple(notes))
        return as_mask(stored) if kind == "mask" else as_labels(stored)


def path_of(files: Sequence[Path]) -> Path:
    """The volume file (of several contrasts the first) or the folder of a series, for messages."""
    return _common_folder(files) if len(files) > 1 and is_series(files) else files[0]


def _is_picture(path: Path) -> bool:
    return is_volume(path) or is_dicom(path)


def _damaged(dicom: Sequence[Path]) -> Iterator[Path]:
    """Files that are named like DICOM files beside them but for digits, and are none: their beginning is lost."""
    known, names = set(dicom), {(path.parent, _without_digits(path)) for path in dicom}
    for folder in sorted({path.parent for path in dicom}):
        for path in sorted(folder.iterdir()):
            alike = (folder, _without_digits(path)) in names
            if alike and path not in known and path.is_file() and not is_volume(path):
                yield path


def _without_digits(path: Path) -> str:
    return re.sub(r"\d+", "0", path.name)


def _contrasts_source(case: Path, known: Mapping[str, Path], contrasts: Sequence[str], root: Path) -> Source:
    files = tuple(known[ending] for ending in contrasts if ending in known)
    fault = missing_contrasts(known, contrasts)
    return Source(files[0], case.name or _spelled(case).name, _below(case.parent, root), files, fault=fault)


def _series_sources(grouped: Sequence[DicomSeries], root: Path) -> Iterator[Source]:
    """One case per series or picture, named after its folder or its only file.

    Several series in one folder also get their numbers, and the pictures of a series their words.
    """
    taken: Counter[Path] = Counter()
    numbers: dict[Path, dict[str, int | None]] = defaultdict(dict)
    for series in grouped:
        numbers[_common_folder(series.files)][series.uid] = series.number
    for series in grouped:
        folder = _common_folder(series.files)
        beside = list(numbers[folder].values())
        path = folder if folder.name else _spelled(folder)  # a bare "." has no name
        name, below = _spelled(folder).name, _below(_spelled(folder).parent, root)
        if len(series.files) == 1:
            path, name, below = series.files[0], _file_name(series.files[0]), _below(folder, root)
        elif len(beside) > 1:
            unique = series.number is not None and beside.count(series.number) == 1
            name += f"_series{series.number if unique else re.sub('[^0-9A-Za-z]', '', series.uid)[-8:]}"
        name += f"_{series.picture}" if series.picture else ""
        taken[below / name] += 1
        name += f"_{taken[below / name]}" if taken[below / name] > 1 else ""
        yield Source(path, name, below, series.files, series, series.fault)


def _common_folder(files: Sequence[Path]) -> Path:
    folders = {path.parent for path in files}
    # The lines of a list may be relative and absolute paths.
    mixed = len({folder.is_absolute() for folder in folders}) > 1
    return Path(os.path.commonpath([folder.absolute() if mixed else folder for folder in folders]))


def _file_name(path: Path) -> str:
    """File name without its DICOM suffix."""
    suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)]


def _label(path: Path, root: Path) -> str:
    return plain((_below(path.parent, root) / path.name).as_posix())


def _below(folder: Path, root: Path) -> Path:
    """``folder`` relative to the input, or ``.`` if it is not below the input."""
    folder, root = _spelled(folder), _spelled(root)
    return folder.relative_to(root) if folder.is_relative_to(root) else Path(os.curdir)


def _spelled(path: Path) -> Path:
    """The whole path without ``..``; links are not followed, because the name that the user gave is published."""
    return Path(os.path.normpath(path.absolute()))
