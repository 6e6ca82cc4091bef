"""What there is to convert: volume files and DICOM series, found in a file, a folder, a pattern or a list."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.dicom.read import DicomSeries, group_series, is_dicom, read_series, series_grid
from cyclegan_gc.formats.files import case_id, is_volume, join_contrasts, list_files, missing_contrasts
from cyclegan_gc.formats.volumes import Volume, read_contrasts, volume_grid


@dataclass(frozen=True)
class Source:
    """One case: a volume file or a DICOM series."""

    path: Path
    """The file (of several contrasts the first), or the folder of the series; what messages name."""
    name: str
    """Without suffix; what the result's name begins with."""
    below: Path
    """Folder of the case relative to the input; results keep it."""
    files: tuple[Path, ...]
    """Every file that holds it."""
    series: str | None = None
    """SeriesInstanceUID; None for a volume file."""
    fault: str | None = None
    """Why it cannot be read, where that is known already."""

    @property
    def label(self) -> str:
        """The case relative to the input, for tables."""
        return (self.below / (self.path.name if self.series is None else self.name)).as_posix()


def find_sources(
    source: str | Path, series: str | None = None, contrasts: Sequence[str] = ()
) -> tuple[list[Source], list[str]]:
    """Every case of a file, a folder (with its subfolders), a glob pattern or a text list.

    DICOM files are grouped by folder and SeriesInstanceUID; a folder with several series gives a case for each.

    Args:
        source: what the user named.
        series: take this SeriesInstanceUID only.
        contrasts: endings of the names of the volume files that make up a case; a series has one contrast only.

    Returns:
        The cases in order, and a sentence for whatever was left out.

    Raises:
        UserError: if nothing is there, or the series is not.
    """
    root, files = list_files(source, accept=lambda path: is_volume(path) or is_dicom(path))
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
            raise UserError(f"--series {series}: no such series below {source}; leave it out to convert all")
    cases = sorted([*volumes, *found], key=lambda case: (case.path, case.name))
    if not cases:
        raise UserError(f"{source}: only DICOM objects without pixels; give the folder of an image series")
    return cases, notes


def read_source(source: Source, max_voxels: int) -> Volume:
    """Read a case.

    Raises:
        VolumeError: if it cannot be used; one line with the path, the cause and the cure.
    """
    return read_files(readable_files(source), max_voxels)


def readable_files(source: Source) -> tuple[Path, ...]:
    """The files of a case.

    Raises:
        VolumeError: if it is known already that it cannot be read.
    """
    if source.fault:
        raise VolumeError(f"{source.path}: {source.fault}")
    return source.files


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
    try:
        return read_series(files, max_voxels)
    except VolumeError as error:
        raise VolumeError(f"{files[0] if len(files) == 1 else files[0].parent}: {error}") from None


def source_grid(source: Source) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape (X, Y, Z) and affine (4, 4) in mm, from the headers alone.

    Raises:
        VolumeError: if they cannot be read.
    """
    return volume_grid(source.path) if source.series is None else series_grid(source.files)


def _contrasts_source(case: Path, known: Mapping[str, Path], contrasts: Sequence[str], root: Path) -> Source:
    files = tuple(known[ending] for ending in contrasts if ending in known)
    fault = missing_contrasts(known, contrasts)
    return Source(files[0], case.name or case.resolve().name, _below(case.parent, root), files, fault=fault)


def _series_sources(folder: Path, grouped: Sequence[DicomSeries], root: Path) -> Iterator[Source]:
    """A lone series has its folder's name, or its file's; several in one folder have their numbers behind it."""
    numbers = [series.number for series in grouped]
    for series in grouped:
        name, below = folder.resolve().name, _below(folder.parent, root)
        if len(series.files) == 1:
            name, below = case_id(series.files[0]), _below(folder, root)
        elif len(grouped) > 1:
            unique = series.number is not None and numbers.count(series.number) == 1
            name += f"_series{series.number}" if unique else f"_series{series.uid.rsplit('.', 1)[-1][-8:]}"
        path = series.files[0] if len(series.files) == 1 else folder
        yield Source(path, name, below, series.files, series.uid, series.fault)


def _below(folder: Path, root: Path) -> Path:
    """``folder`` relative to the input; nothing where it lies above, as the folder of a whole input series does."""
    return folder.relative_to(root) if folder.is_relative_to(root) else Path(os.curdir)
