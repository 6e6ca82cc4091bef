"""Reading and writing NIfTI files, with checks of the header and the stored voxels.

nibabel silently accepts flipped gzip bytes, a second time point and a header that declares more voxels than the file
holds; here they are errors. Errors give cause and cure, and the caller adds the file name.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeAlias

import nibabel as nib
import numpy as np
from isal import igzip, igzip_lib
from nibabel.spatialimages import HeaderDataError

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.files import case_id, check_file, pair_of
from cyclegan_gc.formats.geometry import checked_shape, shear, voxel_sizes
from cyclegan_gc.formats.voxel_stream import MAX_EXTRA_BYTES, check_claim, chunks_of, gathered

Header: TypeAlias = nib.Nifti1Header | nib.Nifti2Header
Stream: TypeAlias = IO[bytes] | gzip.GzipFile  # isal's is one too
GEOMETRY_FIELDS = (
    *("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)


def read_nifti(path: Path, max_voxels: int) -> tuple[Header, tuple[int, ...], np.ndarray, list[str]]:
    """Header, spatial shape, stored (X, Y, Z) voxels and warnings; every byte of a gzip stream is verified.

    Either file of a .hdr/.img pair may be given.
    """
    header_path, voxel_path = _pair(path)
    paired = header_path != voxel_path
    with _opened(header_path) as stream:
        header = _read_header(stream, paired)
        shape = _shape(header, max_voxels)
        if not paired:
            voxels, notes = _read_voxels(stream, header, shape, path, start=int(header["sizeof_hdr"]))
    if paired:
        with _opened(voxel_path) as stream:
            voxels, notes = _read_voxels(stream, header, shape, voxel_path, start=0)
    zipped = _is_zipped(voxel_path)
    if zipped != voxel_path.name.lower().endswith(".gz"):
        notes.append(f"The file is {'gzipped' if zipped else 'not gzipped'} although its name says otherwise.")
    return header, shape, voxels, notes


def read_header(path: Path, max_voxels: int) -> tuple[Header, tuple[int, ...]]:
    """Header and spatial shape, without reading voxels."""
    header_path, voxel_path = _pair(path)
    with _opened(header_path) as stream:
        header = _read_header(stream, paired=header_path != voxel_path)
    return header, _shape(header, max_voxels)


def _pair(path: Path) -> tuple[Path, Path]:
    """The header file and the voxel file; the same file unless the name is that of a .hdr/.img pair."""
    header, voxels = pair_of(path)
    if header is None or voxels is None:
        wanting = ".hdr" if header is None else ".img"
        raise VolumeError(f"only one file of a .hdr/.img pair; put {case_id(path)}{wanting} beside it")
    return header, voxels


@contextmanager
def _opened(path: Path) -> Iterator[Stream]:
    """Open a file, decompressed if its first bytes are gzip; read errors become :class:`VolumeError`."""
    check_file(path)
    with path.open("rb") as file:
        try:
            yield igzip.IGzipFile(fileobj=file) if _is_zipped(path) else file
        except EOFError:
            raise VolumeError("the gzip stream is cut off; copy the file again from its source") from None
        except (gzip.BadGzipFile, zlib.error, igzip_lib.IsalError):  # pyright: ignore[reportGeneralTypeIssues]
            raise VolumeError("the gzip data are corrupt (checksum); copy the file again from its source") from None


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _read_header(stream: Stream, paired: bool) -> Header:
    start = stream.read(4)
    for order in "<>":
        size = struct.unpack(order + "i", start)[0] if len(start) == 4 else 0
        if size not in (348, 540):
            continue
        block = start + stream.read(size - 4)
        if len(block) < size:
            raise VolumeError(f"the header is cut off ({len(block)} of {size} bytes); copy the file again")
        header = (nib.Nifti1Header if size == 348 else nib.Nifti2Header)(block, order, check=False)
        magic = header["magic"].item()
        if magic in ((b"ni1", b"ni2") if paired else (b"n+1", b"n+2")):
            return header
        if magic in (b"ni1", b"ni2"):
            raise VolumeError("a header without voxels; name the pair .hdr and .img")
        raise VolumeError(
            "an Analyze file, which does not record left and right; convert it to NIfTI with its orientation"
        )
    kind = "nothing" if not start else "text" if start.isascii() else "data of another kind"
    raise VolumeError(f"not a NIfTI file (it holds {kind}); convert the original to .nii.gz")


def _shape(header: Header, max_voxels: int) -> tuple[int, ...]:
    dimensions = int(header["dim"][0])
    sizes = tuple(int(n) for n in header["dim"][1 : max(dimensions, 0) + 1])
    if not 1 <= dimensions <= 7 or min(sizes) < 1:
        raise VolumeError(f"impossible dimensions in the header ({dimensions}-D: {sizes}); export the file again")
    return checked_shape(sizes, max_voxels)


def _stored_type(header: Header) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (KeyError, HeaderDataError):
        raise VolumeError(f"unknown data type code {int(header['datatype'])}; export the file again") from None
    if dtype.kind not in "iuf":
        name = {"c": "complex numbers", "V": "RGB colours"}.get(dtype.kind, f"values of type {dtype}")
        raise VolumeError(f"voxels are {name}; give one real number per voxel (for complex MR the magnitude)")
    return dtype


def _read_voxels(
    stream: Stream, header: Header, shape: tuple[int, ...], path: Path, *, start: int
) -> tuple[np.ndarray, list[str]]:
    """Stored (X, Y, Z) values; ``stream`` is that of ``path``, and ``start`` bytes of it were read."""
    dtype = _stored_type(header)
    expected = int(np.prod(shape)) * dtype.itemsize
    least = start + 4 if start else 0
    offset = float(header["vox_offset"]) or least
    if not least <= offset <= MAX_EXTRA_BYTES or offset != int(offset):
        raise VolumeError(f"impossible voxel offset {offset:g} in the header; export the file again")
    check_claim(int(offset) + expected, path.stat().st_size, "deflate" if _is_zipped(path) else "raw")
    stream.read(int(offset) - start)
    buffer, notes = gathered(chunks_of(stream), expected)
    return buffer.view(dtype).reshape(shape, order="F"), notes


def geometry_header(affine: np.ndarray) -> Header:
    """A new header for a grid in mm (scanner coordinates); without a qform if the axes are sheared."""
    header = nib.Nifti1Header()
    header.set_xyzt_units("mm")
    header["pixdim"][1:4] = voxel_sizes(affine)
    header.set_sform(affine, code="scanner")
    if shear(affine) <= 1e-4:
        header.set_qform(affine, code="scanner")
    return header


def result_header(array: np.ndarray, source: Header) -> Header:
    """A new header for ``array`` (X, Y, Z) that takes only the geometry from ``source``."""
    # NIfTI-2 holds the affine in double precision.
    header = (nib.Nifti2Header if isinstance(source, nib.Nifti2Header) else nib.Nifti1Header)(endianness="<")
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    for field in GEOMETRY_FIELDS:
        header[field] = source[field]
    header["pixdim"][:4] = source["pixdim"][:4]
    return header


def write_nifti(stream: Stream, array: np.ndarray, source: Header) -> None:
    """Write ``array`` (X, Y, Z) with the header of :func:`result_header`."""
    header = result_header(array, source)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = 1, 0
    stream.write(header.binaryblock + bytes(4))
    for z in range(array.shape[2]):
        stream.write(array[..., z].astype(array.dtype.newbyteorder("<")).tobytes(order="F"))


def slope_and_intercept(header: Header) -> tuple[float, float]:
    """Slope and intercept that turn stored numbers into values; 1 and 0 if the header has none."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise VolumeError("slope or intercept is not a number; export the file again") from None
    return slope or 1.0, intercept or 0.0
