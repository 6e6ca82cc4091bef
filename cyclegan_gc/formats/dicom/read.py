"""Reading the pixels of a DICOM series as one volume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from cyclegan_gc.errors import VolumeError, plain
from cyclegan_gc.formats.dicom.frames import frames_of, read_headers
from cyclegan_gc.formats.dicom.geometry import Frame, Stack, stack
from cyclegan_gc.formats.dicom.header import brief, open_dicom, text_of, whole_of
from cyclegan_gc.formats.geometry import checked_shape
from cyclegan_gc.formats.volumes import Volume, volume_on_grid
from cyclegan_gc.formats.voxel_stream import check_claim


@dataclass(frozen=True)
class Slices:
    """Everything about the slices of a series but their pixels."""

    first: Dataset
    """Header of the first file."""
    frames: tuple[Frame, ...]
    """In the order of the files, without copies."""
    copies: tuple[Frame, ...]
    """Frames that repeat another one."""
    grid: Stack
    """The order of ``frames`` in space, and their grid."""


def read_series(files: Sequence[Path], max_voxels: int, chosen: Sequence[int] = ()) -> Volume:
    """Read a series as a volume: axes are column, row and slice, values are rescaled, the affine is to RAS in mm.

    ``files`` are single slices in any order or multi-frame objects. ``chosen`` are the indices of the wanted frames
    among those of all files; all are read without it. Padding becomes background: 0, or the smallest value below it.

    Raises:
        VolumeError: if the series cannot be used or has more voxels; cause and cure, without the folder's name.
    """
    return volume_on_grid(*read_frames(files, max_voxels, chosen))


def read_frames(
    files: Sequence[Path], max_voxels: int, chosen: Sequence[int] = ()
) -> tuple[NDArray[np.float32], NDArray[np.float64], list[str]]:
    """Values (X, Y, Z), affine and warnings, as in :func:`read_series`; an image without signal is accepted."""
    slices = read_slices(files, chosen)
    checked_shape(slices.grid.shape, max_voxels)
    # No picture with a signal is smaller, whatever packs it.
    check_claim(prod(slices.grid.shape), sum(path.stat().st_size for path in files), "deflate")
    values = np.empty(slices.grid.shape, np.float32, order="F")
    places = {slices.frames[index].identity: z for z, index in enumerate(slices.grid.order)}
    filled: set[int] = set()
    surplus: list[str] = []
    for frame, pixels in _planes((*slices.frames, *slices.copies), surplus):
        z = places[frame.identity]
        if z in filled and not np.array_equal(values[..., z], pixels.T, equal_nan=True):
            raise VolumeError(f"{frame.name} has the identifier of another object but other pixels; keep one of each")
        values[..., z] = pixels.T
        filled.add(z)
    notes = [*_notes(slices), *slices.grid.notes]
    if surplus:
        notes.append(f"More images than the header names in {len(surplus)} files, such as {surplus[0]}, were left out.")
    if text_of(slices.first, "PhotometricInterpretation") == "MONOCHROME1":
        np.subtract(np.nanmax(values), values, out=values)
        notes.append("MONOCHROME1: intensities were inverted, so that bright is high.")
    return values, slices.grid.affine, [*notes, *_fill_padding(values)]


def read_slices(files: Sequence[Path], chosen: Sequence[int] = ()) -> Slices:
    """The slices of a series and their grid, from the headers only; ``chosen`` and errors as in :func:`read_series`."""
    headers = read_headers(files)
    every = frames_of(headers, files)
    frames, copies = without_copies([every[index] for index in chosen or range(len(every))])
    return Slices(headers[0], tuple(frames), tuple(copies), stack(frames))


def series_grid(files: Sequence[Path], chosen: Sequence[int] = ()) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape (X, Y, Z) and affine as from :func:`read_series`, read from the headers only."""
    grid = read_slices(files, chosen).grid
    return grid.shape, grid.affine


def without_copies(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """The frames without those that have the identity of an earlier one, and these copies."""
    first = {frame.identity: frame for frame in reversed(frames)}
    kept = [frame for frame in frames if first[frame.identity] is frame]
    return kept, [frame for frame in frames if first[frame.identity] is not frame]


def _planes(frames: Sequence[Frame], surplus: list[str]) -> Iterator[tuple[Frame, NDArray[np.float32]]]:
    """Each frame with its rescaled pixels (rows, columns), NaN where they are padding; a file is opened once.

    Adds to ``surplus`` the names of files with more images than the header says, which are not read.
    """
    for path, members in groupby(sorted(frames, key=lambda frame: frame.path), key=lambda frame: frame.path):
        dataset = open_dicom(path, pixels=True)
        if "PixelData" not in dataset:
            raise VolumeError(f"{path.name} has no pixels; fetch it again")
        try:
            stored = _stored(dataset, path.name)
            if len(stored) > (whole_of(dataset, "NumberOfFrames") or 1):
                surplus.append(path.name)
            planes = [(frame, _rescaled(stored[(frame.number or 1) - 1], frame, dataset)) for frame in members]
        except VolumeError:
            raise
        except Exception as error:  # decoders raise many types for damaged files
            told = f" ({words})" if (words := brief(error)) else ""
            raise VolumeError(f"the pixels of {path.name} are cut off or damaged{told}; fetch it again") from None
        yield from planes


def _stored(dataset: FileDataset, name: str) -> NDArray:
    """Pixels (frames, rows, columns) as they are stored."""
    big_endian = dataset.original_encoding[1] is False
    dataset.file_meta.setdefault("TransferSyntaxUID", ExplicitVRBigEndian if big_endian else ImplicitVRLittleEndian)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not get_decoder(syntax).is_available:
        raise VolumeError(f'{name} is compressed ({plain(syntax.name)}); run pip install "cyclegan-gc[compressed]"')
    pixels = dataset.pixel_array
    return pixels.reshape(-1, *pixels.shape[-2:])


def _rescaled(stored: NDArray, frame: Frame, dataset: Dataset) -> NDArray[np.float32]:
    slope, intercept = frame.rescale
    lut = "ModalityLUTSequence" in dataset
    values = apply_modality_lut(stored, dataset) if lut else stored.astype(np.float64) * slope + intercept
    values = values.astype(np.float32)
    values[_is_padding(stored, dataset)] = np.nan
    return values


def _is_padding(stored: NDArray, dataset: Dataset) -> NDArray[np.bool_]:
    """Where the stored values are padding: one value, or all between it and the limit of its range."""
    value, limit = (whole_of(dataset, name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"))
    if value is None or not np.issubdtype(stored.dtype, np.integer):
        return np.zeros(stored.shape, bool)
    # Both tags may be written signed or unsigned, whatever the pixels are.
    bits = 8 * stored.dtype.itemsize
    ends = [
        np.array(end % 2**bits, f"u{stored.dtype.itemsize}").view(stored.dtype.newbyteorder("="))
        for end in (value, value if limit is None else limit)
    ]
    return (stored >= min(ends)) & (stored <= max(ends))


def _fill_padding(values: NDArray[np.float32]) -> list[str]:
    """Set padding to background in place; returns a note if there is any."""
    padding = np.isnan(values)
    count = int(np.count_nonzero(padding))
    if count == 0:
        return []
    background = min(0.0, float(np.nanmin(values))) if count < values.size else 0.0
    values[padding] = background
    return [f"Padding ({100 * count / values.size:.2g} % of the voxels) was set to {background:g}."]


def _notes(slices: Slices) -> list[str]:
    first, notes = slices.first, []
    if not text_of(first, "FrameOfReferenceUID"):
        notes.append("No FrameOfReferenceUID; the slice positions are regular and were used.")
    if commas := [frame.name for frame in slices.frames if frame.decimal_commas]:
        notes.append(f"Decimal commas in the tags of {len(commas)} slices, such as {commas[0]}, were read as points.")
    if slices.copies:
        notes.append(f"{len(slices.copies)} exact copies, such as {slices.copies[0].name}, were left out.")
    return notes
