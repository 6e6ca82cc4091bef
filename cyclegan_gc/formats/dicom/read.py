"""Reading DICOM series: grouping files, checking headers, and reading pixels as one volume."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import ImplicitVRLittleEndian

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.geometry import Frame, stack
from cyclegan_gc.formats.geometry import checked_shape
from cyclegan_gc.formats.volumes import Volume, volume_on_grid

SUFFIXES = (".dcm", ".dicom", ".ima")
SERIES_TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "ImageType", "Modality", "Rows"),
    "Columns",
]
LOCALIZER = re.compile(r"(?<![a-z])(locali[sz]er|loc|scout|survey)(?![a-z])", re.IGNORECASE)
"""Words in the image type or the description of a series by which others are planned."""
FRAME_GROUPS = (
    *("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence"),
    "PixelValueTransformationSequence",
)
DICOMDIR = "1.2.840.10008.1.3.10"
UNREADABLE = (InvalidDicomError, OSError, ValueError, AttributeError, KeyError, EOFError)
"""Errors that pydicom raises for a damaged or foreign file."""


@dataclass(frozen=True)
class DicomSeries:
    """The files of one series."""

    uid: str
    number: int | None
    files: tuple[Path, ...]
    kind: str = ""
    """Modality, or "localizer"; empty if unknown."""
    fault: str | None = None
    """Reason why the series cannot be read, if already known."""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, judged by its suffix or its first bytes."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def group_series(files: Sequence[Path]) -> tuple[list[DicomSeries], list[tuple[Path, str]]]:
    """Group DICOM files into image series; also returns the objects without an image, each with its modality.

    A file that cannot be parsed becomes a series with a fault, so that a batch reports it and continues.
    """
    found: dict[str, list[Path]] = {}
    numbers: dict[str, int | None] = {}
    kinds: dict[str, str] = {}
    broken, others = [], []
    for path in sorted(files):
        try:
            header = pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(SERIES_TAGS))
            uid = str(header.get("SeriesInstanceUID") or "")
        except UNREADABLE as error:
            broken.append(DicomSeries("", None, (path,), fault=f"not a readable DICOM file ({_brief(error)})"))
            continue
        if header.file_meta.get("MediaStorageSOPClassUID") == DICOMDIR:
            others.append((path, "DICOMDIR"))
            continue
        if "Rows" not in header:
            if uid:
                others.append((path, str(header.get("Modality") or "unknown")))
            else:
                broken.append(DicomSeries("", None, (path,), fault="not a readable DICOM file (no image in it)"))
            continue
        found.setdefault(uid, []).append(path)
        kinds.setdefault(uid, _kind(header))
        number = header.get("SeriesNumber")
        numbers[uid] = None if number in (None, "") else int(str(number))
    series = [DicomSeries(uid, numbers[uid], tuple(paths), kinds[uid]) for uid, paths in found.items()]
    return [*series, *broken], others


def _kind(header: Dataset) -> str:
    try:
        words = f"{header.get('ImageType')} {header.get('SeriesDescription')}"
        return "localizer" if LOCALIZER.search(words) else str(header.get("Modality") or "")
    except Exception:  # a value that cannot be read says nothing
        return ""


def read_series(files: Sequence[Path], max_voxels: int) -> Volume:
    """Read a series as a volume: axes are column, row and slice, values are rescaled, the affine is to RAS in mm.

    ``files`` are single slices in any order or one multi-frame object.

    Raises:
        VolumeError: if the series cannot be used or has more voxels; cause and cure, without the folder's name.
    """
    return volume_on_grid(*read_frames(files, max_voxels))


def read_frames(files: Sequence[Path], max_voxels: int) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """Values (X, Y, Z), affine and warnings, as in :func:`read_series`; an image without signal is accepted."""
    headers = read_headers(files)
    frames = frames_of(headers, files)
    grid = stack(frames)
    checked_shape(grid.shape, max_voxels)
    values = np.empty(grid.shape, np.float32, order="F")
    together = _pixels(files[0]) if frames[0].number else None
    for z, index in enumerate(grid.order):
        values[..., z] = (_pixels(files[index])[0] if together is None else together[index]).T
    return values, grid.affine, [*_notes(headers), *grid.notes]


def series_grid(files: Sequence[Path]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape (X, Y, Z) and affine as from :func:`read_series`, read from the headers only."""
    grid = stack(frames_of(read_headers(files), files))
    return grid.shape, grid.affine


def read_headers(files: Sequence[Path]) -> list[Dataset]:
    """Headers of a series, without pixels; a :class:`VolumeError` unless they are greyscale images of one series."""
    headers = []
    for path in files:
        try:
            headers.append(pydicom.dcmread(path, force=True, stop_before_pixels=True))
        except UNREADABLE as error:
            raise VolumeError(f"{path.name} is not a readable DICOM file ({_brief(error)}); fetch it again") from None
    for path, header in zip(files, headers, strict=True):
        if "Rows" not in header or "Columns" not in header:
            raise VolumeError(f"{path.name} holds no image; remove it from the series")
        kind = str(header.get("PhotometricInterpretation") or "")
        if int(header.get("SamplesPerPixel") or 1) > 1 or not kind.startswith("MONOCHROME"):
            raise VolumeError(
                f"{path.name} is in colour ({kind or 'several samples per pixel'}); give greyscale images"
            )
    series = {str(header.get("SeriesInstanceUID")) for header in headers}
    if len(series) > 1:
        raise VolumeError(f"{len(series)} series in one input; convert one at a time (--series UID)")
    return headers


def frames_of(headers: Sequence[Dataset], files: Sequence[Path]) -> list[Frame]:
    """The slices of a series with their geometry, in the order of the files or of the frames."""
    multi = ["NumberOfFrames" in header and int(header.NumberOfFrames) > 1 for header in headers]
    if not any(multi):
        return [_frame(header, header, path.name) for header, path in zip(headers, files, strict=True)]
    if len(headers) > 1:
        raise VolumeError("several multi-frame objects in one series; convert one file at a time")
    header, name = headers[0], files[0].name
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != int(header.NumberOfFrames):
        raise VolumeError(f"{name} is multi-frame without the geometry of each frame; export it as single slices")
    return [_frame(header, _flattened(header, group), name, number) for number, group in enumerate(groups, start=1)]


def _frame(header: Dataset, geometry: Dataset, name: str, number: int | None = None) -> Frame:
    return Frame(
        name=name if number is None else f"frame {number} of {name}",
        sop_class=str(header.get("SOPClassUID") or ""),
        sop_instance=str(header.get("SOPInstanceUID") or ""),
        number=number,
        rows=int(header.Rows),
        columns=int(header.Columns),
        position=_numbers(geometry, "ImagePositionPatient", 3),
        orientation=_numbers(geometry, "ImageOrientationPatient", 6),
        pixel_spacing=_numbers(geometry, "PixelSpacing", 2),
        thickness=_positive(geometry.get("SpacingBetweenSlices")) or _positive(geometry.get("SliceThickness")),
    )


def _flattened(header: Dataset, frame: Dataset) -> Dataset:
    """Geometry and rescaling of one frame as in a single slice; its own functional groups override the shared ones."""
    flat = Dataset()
    for groups in (*(header.get("SharedFunctionalGroupsSequence") or [])[:1], frame):
        for name in FRAME_GROUPS:
            if groups.get(name):
                flat.update(groups[name][0])
    return flat


def _pixels(path: Path) -> NDArray[np.float32]:
    """Rescaled pixels (frames, rows, columns) of one file."""
    try:
        dataset = pydicom.dcmread(path, force=True)
        dataset.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian)
        if "PixelData" not in dataset:
            raise VolumeError(f"{path.name} has no pixels; fetch it again")
        syntax = dataset.file_meta.TransferSyntaxUID
        if syntax.is_compressed and not get_decoder(syntax).is_available:
            raise VolumeError(f'{path.name} is compressed ({syntax.name}); run pip install "cyclegan-gc[compressed]"')
        stored = dataset.pixel_array
    except VolumeError:
        raise
    except Exception as error:  # decoders raise many types for damaged files
        raise VolumeError(
            f"the pixels of {path.name} are cut off or damaged ({_brief(error)}); fetch it again"
        ) from None
    frames = stored.reshape(-1, *stored.shape[-2:])
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return _upright(apply_rescale(frames, dataset), dataset)
    rescaled = [apply_rescale(frame, _flattened(dataset, group)) for frame, group in zip(frames, groups, strict=True)]
    return _upright(np.stack(rescaled), dataset)


def _upright(values: NDArray, dataset: Dataset) -> NDArray[np.float32]:
    """Invert MONOCHROME1, where the smallest value is the brightest."""
    values = values.astype(np.float32)
    return values.max() - values if dataset.PhotometricInterpretation == "MONOCHROME1" else values


def _notes(headers: Sequence[Dataset]) -> list[str]:
    first, notes = headers[0], []
    if not first.get("FrameOfReferenceUID"):
        notes.append("No FrameOfReferenceUID; the slice positions are regular and were used.")
    if first.get("Modality") not in ("MR", None, ""):
        notes.append(f"The modality of the series is {first.Modality}.")
    if first.PhotometricInterpretation == "MONOCHROME1":
        notes.append("MONOCHROME1: intensities were inverted, so that bright is high.")
    return notes


def _numbers(dataset: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    values = dataset.get(name)
    if values is None or isinstance(values, str) or len(values) != count:
        return None
    numbers = tuple(float(value) for value in values)
    return numbers if np.isfinite(numbers).all() else None


def _positive(value: object) -> float | None:
    number = float(str(value)) if value not in (None, "") else 0.0
    return number if np.isfinite(number) and number > 0 else None


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
