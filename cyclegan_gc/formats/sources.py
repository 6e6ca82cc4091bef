"""Finding cases, volume files and DICOM series, in a file, a folder, a glob pattern or a text list."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclegan_gc.errors import UserError, VolumeError, named
from cyclegan_gc.formats.dicom.read import DicomSeries, group_series, is_dicom, read_frames, read_series
from cyclegan_gc.formats.files import case_id, is_volume, join_contrasts, list_files, listed_paths, missing_contrasts
from cyclegan_gc.formats.nifti import geometry_header
from cyclegan_gc.formats.volumes import (
    MAX_VOXELS,
    Volume,
    as_labels,
    as_mask,
    read_contrasts,
    read_labels,
    read_mask,
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
    series: str | None = None
    """SeriesInstanceUID; None for a volume file."""
    fault: str | None = None
    """Reason why the case cannot be read, if already known."""

    @property
    def label(self) -> str:
        """Path of the case relative to the input, for tables."""
        return (self.below / (self.path.name if self.series is None else self.name)).as_posix()

    def readable_files(self) -> tuple[Path, ...]:
        """The files of the case; raises a :class:`VolumeError` if it has a fault."""
        if self.fault:
            raise VolumeError(f"{self.path}: {self.fault}")
        return self.files


def find_sources(
    source: str | Path, series: str | None = None, contrasts: Sequence[str] = ()
) -> tuple[list[Source], list[str]]:
    """Every case of a file, a folder (with its subfolders), a glob pattern or a text list.

    DICOM files are grouped by folder and SeriesInstanceUID; each series of a folder is a case. Also returns a sentence
    for each group of files that was left out.

    Args:
        source: the input as the user named it.
        series: take only this SeriesInstanceUID.
        contrasts: endings of the names of the volume files that make up a case; DICOM series are then left out.

    Raises:
        UserError: if there is no case, or not the wanted series.
    """
    root, files = list_files(source, _is_picture)
    if contrasts:
        joined, notes = join_contrasts([path for path in files if is_volume(path)], contrasts, str(source))
        return [_contrasts_source(case, known, contrasts, root) for case, known in joined.items()], notes
    volumes = [Source(path, case_id(path), _below(path.parent, root), (path,)) for path in files if is_volume(path)]
    groups: dict[Path, list[Path]] = {}
    for path in (path for path in files if not is_volume(path)):
        groups.setdefault(path.parent, []).append(path)
    found, notes = [], []
    for folder, members in groups.items():
        grouped, left_out = group_series(members)
        notes += [f"{folder}: {note}" for note in left_out]
        found += _series_sources(folder, grouped, root)
    if series is not None:
        volumes, found = [], [case for case in found if case.series == series]
        if not found:
            raise UserError(f"--series {series}: no such series in {source}; omit --series to convert all")
    cases = sorted([*volumes, *found], key=lambda case: (case.path, case.name))
    if not cases:
        raise UserError(f"{source}: holds only DICOM objects without pixels; give the folder of an image series")
    return cases, notes


def source_of(path: Path) -> Source:
    """The case of one volume file, which need not exist yet."""
    return Source(path, case_id(path), Path(os.curdir), (path,))


def named_files(source: str | Path) -> set[Path]:
    """The files that the user named one by one: the input itself, or the lines of a text list."""
    path = Path(source).expanduser()
    if not path.is_file():
        return set()
    return {path} if _is_picture(path) else set(listed_paths(path))


def is_series(files: Sequence[Path]) -> bool:
    """Whether files are those of a DICOM series, rather than a volume file or the contrasts of one case."""
    return not is_volume(files[0]) and is_dicom(files[0])


def read_files(files: Sequence[Path], max_voxels: int) -> Volume:
    """Read a volume file, the contrasts of one case, or a DICOM series.

    Raises:
        VolumeError: if it cannot be used; one line with the path, the cause and the cure.
    """
    if not is_series(files):
        return read_contrasts(files, max_voxels=max_voxels)
    with named(_path_of(files)):
        return read_series(files, max_voxels)


def read_map(files: Sequence[Path], kind: Literal["mask", "labels"]) -> Volume:
    """Read a mask or a label map, a volume file or a DICOM series; raises as :func:`read_files`."""
    if not is_series(files):
        return read_mask(files[0]) if kind == "mask" else read_labels(files[0])
    with named(_path_of(files)):
        values, affine, notes = read_frames(files, MAX_VOXELS)
        stored = Volume(values, affine, geometry_header(affine), tuple(notes))
        return as_mask(stored) if kind == "mask" else as_labels(stored)


def _path_of(files: Sequence[Path]) -> Path:
    """The file or folder of a series, for messages."""
    return files[0] if len(files) == 1 else files[0].parent


def _is_picture(path: Path) -> bool:
    return is_volume(path) or is_dicom(path)


def _contrasts_source(case: Path, known: Mapping[str, Path], contrasts: Sequence[str], root: Path) -> Source:
    files = tuple(known[ending] for ending in contrasts if ending in known)
    fault = missing_contrasts(known, contrasts)
    return Source(files[0], case.name or case.resolve().name, _below(case.parent, root), files, fault=fault)


def _series_sources(folder: Path, grouped: Sequence[DicomSeries], root: Path) -> Iterator[Source]:
    """One case per series, named after its folder or its only file; several in one folder also get their numbers."""
    numbers = [series.number for series in grouped]
    for series in grouped:
        path, name, below = folder, folder.resolve().name, _below(folder.parent, root)
        if len(series.files) == 1:
            path, name, below = series.files[0], case_id(series.files[0]), _below(folder, root)
        elif len(grouped) > 1:
            unique = series.number is not None and numbers.count(series.number) == 1
            name += f"_series{series.number}" if unique else f"_series{series.uid.rsplit('.', 1)[-1][-8:]}"
        yield Source(path, name, below, series.files, series.uid, series.fault)


def _below(folder: Path, root: Path) -> Path:
    """``folder`` relative to the input, or ``.`` if it is not below the input."""
    return folder.relative_to(root) if folder.is_relative_to(root) else Path(os.curdir)
