"""NIfTI volumes: found, checked at the door, read, and written back on the same grid.

nibabel alone accepts much that must not pass silently: flipped gzip bytes, a second time point, all-NaN pictures,
singular affines. Every check here ends in one line that names the file, the cause and the cure.
"""

import glob
import gzip
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.errors import UserError, VolumeError

Header: TypeAlias = nib.Nifti1Header | nib.Nifti2Header
Stream: TypeAlias = IO[bytes] | gzip.GzipFile

SUFFIXES = (".nii", ".nii.gz")
CHUNK = 2**20
# Bytes before or after the voxels (extensions, padding) beyond this are a broken header or a gzip bomb.
MAX_EXTRA_BYTES = 2**26
# Deflate cannot shrink further, so a small file's size refutes a large header before anything is allocated.
MAX_DEFLATE_RATIO = 1032
MIN_IN_PLANE = 16
PLAUSIBLE_SPACING_MM = (0.05, 50.0)
UNIT_IN_MM = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}
GEOMETRY_FIELDS = (
    *("sform_code", "qform_code", "xyzt_units", "srow_x", "srow_y", "srow_z"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
)


@dataclass(frozen=True)
class Volume:
    """One picture on its own grid; ``warnings`` are plain sentences that the caller logs."""

    array: np.ndarray
    """(X, Y, Z) float32 in the file's axis order, slope and intercept applied, finite."""
    affine: np.ndarray
    """(4, 4) float64, voxel index to RAS position in mm."""
    header: Header
    """The source's header; only its geometry is ever read from it."""
    warnings: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the three array axes."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_volume(path: Path, *, max_voxels: int = 2**31) -> Volume:
    """Read one .nii or .nii.gz file, its gzip checksum verified to the end of the stream.

    NaN and infinite voxels become the smallest finite value, which is background in MR and in CT (0 HU would be
    water). Where sform and qform disagree the sform counts. Lengths in metres or micrometres become mm.

    Args:
        path: the file; whether it is gzipped is read from its first bytes, not from its name.
        max_voxels: larger headers are refused before anything is allocated.

    Raises:
        VolumeError: if the volume cannot be used; one line with the path, the cause and the cure.
    """
    try:
        header, shape, voxels, notes = _read_file(path, max_voxels)
        affine, geometry_notes = _affine_mm(header, shape)
        array, value_notes = _scaled_values(header, voxels)
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from None
    except OSError as error:
        raise VolumeError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from error
    return Volume(array, affine, header, (*notes, *geometry_notes, *value_notes))


def write_volume(path: Path, array: np.ndarray, like: Volume) -> None:
    """Write ``array`` on the grid of ``like``: under ``path`` stands the whole file or what stood there before.

    The header is a fresh one. From the source come sform, qform, their codes and the units, field by field, and
    nothing that could carry a name: no description, extension, slope or data type. Equal input gives equal bytes.

    Args:
        path: ends in .nii or .nii.gz.
        array: (X, Y, Z) int16, uint8 or float32, of ``like``'s shape.
        like: the volume whose grid this is.

    Raises:
        ValueError: if shape, data type or suffix is another.
        VolumeError: if the file cannot be written (disk full, read-only).
    """
    if array.shape != like.array.shape:
        raise ValueError(f"{path}: array of shape {array.shape} does not fit the grid {like.array.shape}")
    if array.dtype not in (np.int16, np.uint8, np.float32):
        raise ValueError(f"{path}: cannot write {array.dtype}; use int16, uint8 or float32")
    if not path.name.lower().endswith(SUFFIXES):
        raise ValueError(f"{path}: a volume's name ends in .nii or .nii.gz")
    try:
        with atomic_write(path) as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as stream:
                    _write_stream(stream, array, like.header)
            else:
                _write_stream(file, array, like.header)
    except OSError as error:
        raise VolumeError(f"{path}: cannot be written ({error.strerror or error}); free or choose a disk") from error


def case_id(path: Path) -> str:
    """File name without .nii or .nii.gz."""
    name = path.name
    return next((name[: -len(suffix)] for suffix in SUFFIXES if name.lower().endswith(suffix)), name)


def find_volumes(source: str | Path) -> list[Path]:
    """All NIfTI files of a folder (with its subfolders), a glob pattern, a text list or one file, sorted.

    Hidden files and folders are skipped; a folder reached twice through links is read once. A list holds one path
    a line, relative to the list's own folder; empty lines and lines that begin with ``#`` do not count.

    Raises:
        UserError: if nothing is there, or a listed file is missing; says what was found instead.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return _volumes_among(list(_walk(path)), f"{source}: no .nii or .nii.gz file in this folder")
    if path.is_file():
        return [path] if path.name.lower().endswith(SUFFIXES) else _read_list(path)
    if glob.has_magic(str(path)):
        return _volumes_among(_expand(path), f"{source}: the pattern matches no .nii or .nii.gz file")
    raise UserError(f"{source}: no such file or folder; check the path")


def _read_file(path: Path, max_voxels: int) -> tuple[Header, tuple[int, ...], np.ndarray, list[str]]:
    """Header, spatial shape, stored (X, Y, Z) voxels and warnings; every byte of a gzip stream is verified."""
    if not path.is_file():
        raise VolumeError(
            "not a file; give a .nii or .nii.gz file" if path.exists() else "no such file; check the path"
        )
    size = path.stat().st_size
    if size == 0:
        raise VolumeError("the file is empty (0 bytes); copy it again from its source")
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            header = _read_header(stream)
            shape = _checked_shape(header, max_voxels)
            voxels, notes = _read_voxels(stream, header, shape, size * (MAX_DEFLATE_RATIO if zipped else 1))
        except EOFError:
            raise VolumeError("the gzip stream is cut off; copy the file again from its source") from None
        except (gzip.BadGzipFile, zlib.error):
            raise VolumeError("the gzip data are corrupt (checksum); copy the file again from its source") from None
    if zipped != path.name.lower().endswith(".gz"):
        notes.append(
            f"The name says otherwise, but the file is {'gzipped' if zipped else 'not gzipped'}; read as such."
        )
    return header, shape, voxels, notes


def _read_header(stream: Stream) -> Header:
    start = stream.read(4)
    for order in "<>":
        size = struct.unpack(order + "i", start)[0] if len(start) == 4 else 0
        if size not in (348, 540):
            continue
        block = start + stream.read(size - 4)
        if len(block) < size:
            raise VolumeError(f"the header is cut off ({len(block)} of {size} bytes); copy the file again")
        header = (nib.Nifti1Header if size == 348 else nib.Nifti2Header)(block, order, check=False)
        if header["magic"].item() in (b"n+1", b"n+2"):
            return header
        raise VolumeError("a header without voxels (.hdr/.img pair or Analyze); convert it to one .nii.gz file")
    kind = "nothing" if not start else "text" if start.isascii() else "data of another kind"
    raise VolumeError(f"not a NIfTI file: it holds {kind}; convert the original to .nii.gz")


def _checked_shape(header: Header, max_voxels: int) -> tuple[int, ...]:
    """The three spatial sizes, refused from the header alone where no CT could come of them."""
    dimensions = int(header["dim"][0])
    sizes = tuple(int(n) for n in header["dim"][1 : max(dimensions, 0) + 1])
    text = " x ".join(map(str, sizes))
    if not 1 <= dimensions <= 7 or min(sizes) < 1:
        raise VolumeError(f"impossible dimensions in the header ({dimensions}-D: {text}); export the file again")
    if dimensions < 3:
        raise VolumeError(f"a {dimensions}-D picture ({text}); give a 3-D volume")
    if dimensions == 4 and sizes[3] > 1:
        raise VolumeError(f"4-D with {sizes[3]} volumes ({text}); choose one volume and save it as a 3-D file")
    if max(sizes[3:], default=1) > 1:
        raise VolumeError(f"{dimensions}-D data ({text}); give a 3-D volume")
    if np.prod(sizes, dtype=object) > max_voxels:
        raise VolumeError(f"the header announces {text} voxels, more than {max_voxels}; if true, raise --max-voxels")
    if sum(n < MIN_IN_PLANE for n in sizes[:3]) >= 2:
        raise VolumeError(f"too small ({text}); two axes need at least {MIN_IN_PLANE} voxels")
    return sizes[:3]


def _stored_type(header: Header) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (KeyError, HeaderDataError):
        raise VolumeError(f"unknown data type code {int(header['datatype'])}; export the file again") from None
    if dtype.kind not in "iuf":
        name = {"c": "complex numbers", "V": "RGB colours"}.get(dtype.kind, f"values of type {dtype}")
        raise VolumeError(f"voxels are {name}; give one real number a voxel (for complex MR the magnitude)")
    return dtype


def _read_voxels(
    stream: Stream, header: Header, shape: tuple[int, ...], most_bytes: int
) -> tuple[np.ndarray, list[str]]:
    """Stored (X, Y, Z) values; ``most_bytes`` is what a file of this size can hold at all."""
    dtype = _stored_type(header)
    header_bytes, expected = int(header["sizeof_hdr"]), int(np.prod(shape)) * dtype.itemsize
    offset = float(header["vox_offset"]) or header_bytes + 4
    if not header_bytes <= offset <= MAX_EXTRA_BYTES:
        raise VolumeError(f"impossible voxel offset {offset:g} in the header; export the file again")
    if most_bytes < offset + expected:
        raise VolumeError(f"voxel data shorter than the header says ({expected} bytes); copy the file again")
    stream.read(int(offset) - header_bytes)
    buffer = np.empty(expected, np.uint8)
    filled = 0
    while chunk := stream.read(min(CHUNK, expected - filled)):
        buffer[filled : filled + len(chunk)] = np.frombuffer(chunk, np.uint8)
        filled += len(chunk)
    extra = 0
    while chunk := stream.read(CHUNK):
        extra += len(chunk)
        if extra > MAX_EXTRA_BYTES:
            raise VolumeError("the file goes on far past the voxels of its header; export it again")
    if filled < expected:
        raise VolumeError(f"voxel data shorter than the header says ({filled} of {expected} bytes); copy it again")
    notes = [f"{extra} bytes after the last voxel were ignored."] if extra else []
    return buffer.view(dtype).reshape(shape, order="F"), notes


def _scaled_values(header: Header, voxels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Finite float32 values with slope and intercept applied; refuses pictures without signal."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError:
        raise VolumeError("slope or intercept is not a number; export the file again") from None
    array = np.empty(voxels.shape, np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        for z in range(voxels.shape[2]):
            array[..., z] = voxels[..., z].astype(np.float64) * (slope or 1.0) + (intercept or 0.0)
    finite = np.isfinite(array)
    bad = finite.size - int(np.count_nonzero(finite))
    if bad == finite.size:
        raise VolumeError("no signal: not one voxel is a finite number; export the file again")
    low, high = (float(f(array, where=finite, initial=i)) for f, i in ((np.min, np.inf), (np.max, -np.inf)))
    if low == high:
        raise VolumeError(f"no signal: every voxel is {low:g}; check the export")
    if not np.any(finite & (array != low) & (array != high)):
        raise VolumeError(f"binary: only the values {low:g} and {high:g}, a mask; give the picture itself")
    if not bad:
        return array, []
    array[~finite] = low
    return array, [f"{bad} NaN or infinite voxels ({100 * bad / finite.size:.2g} %) were set to the minimum {low:g}."]


def _affine_mm(header: Header, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str]]:
    """Affine to RAS in mm, with a sentence for everything that had to be assumed."""
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not np.all(np.isfinite(pixdim) & (pixdim > 0)):
        raise VolumeError(f"voxel size in the header is {pixdim.tolist()}; set the true one")
    notes = []
    sform = np.asarray(header.get_sform()) if int(header["sform_code"]) > 0 else None
    qform = _qform(header)
    affine = np.asarray(next((m for m in (sform, qform) if m is not None), header.get_base_affine()), np.float64)
    if not np.isfinite(affine).all() or np.linalg.cond(affine[:3, :3]) > 1e6:
        raise VolumeError("the affine is singular or not a number; export the file again with its orientation")
    if sform is None and qform is None:
        axes = "".join(map(str, nib.aff2axcodes(affine)))
        notes.append(f"No orientation in the header (no form codes); axes assumed to run to {axes}.")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    other = qform if sform is not None else None
    far = np.array([[0, 0, 0, 1], [*(n - 1 for n in shape), 1]], np.float64).T
    if other is not None and not np.abs((other - affine) @ far).max() < 0.1 * spacing.min():
        notes.append("sform and qform disagree; the sform was used.")
    elif not np.allclose(spacing, pixdim, rtol=0.01):
        notes.append(
            f"Voxel sizes of sform {spacing.round(4)} and header {pixdim.round(4)} disagree; the sform was used."
        )
    cosines = np.abs((affine[:3, :3] / spacing).T @ (affine[:3, :3] / spacing) - np.eye(3)).max()
    if cosines > 1e-3:
        notes.append("The affine is sheared (axes not at right angles); slices were taken as they are stored.")
    name, factor = UNIT_IN_MM.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    if factor != 1.0:
        notes.append(f"Lengths are in {name}; they were scaled by {factor:g} to mm.")
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
    spacing = spacing * factor
    if spacing.min() < PLAUSIBLE_SPACING_MM[0] or spacing.max() > PLAUSIBLE_SPACING_MM[1]:
        notes.append(f"Implausible voxel size {' x '.join(f'{s:g}' for s in spacing)} mm was taken as true.")
    return affine, notes


def _qform(header: Header) -> np.ndarray | None:
    """The qform where one is coded and is a rotation; a broken one matters only where no sform stands before it."""
    try:
        return np.asarray(header.get_qform()) if int(header["qform_code"]) > 0 else None
    except (ValueError, HeaderDataError):
        if int(header["sform_code"]) > 0:
            return None
        raise VolumeError("the orientation (qform) is not a rotation; export the file again") from None


def _write_stream(stream: Stream, array: np.ndarray, source: Header) -> None:
    header = (nib.Nifti2Header if max(array.shape) > np.iinfo(np.int16).max else nib.Nifti1Header)(endianness="<")
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    for field in GEOMETRY_FIELDS:
        header[field] = source[field]
    header["pixdim"][:4] = source["pixdim"][:4]
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header["scl_slope"], header["scl_inter"] = 1, 0
    stream.write(header.binaryblock + bytes(4))
    for z in range(array.shape[2]):
        stream.write(array[..., z].astype(array.dtype.newbyteorder("<")).tobytes(order="F"))


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below ``folder`` that is not hidden; links are followed, each real folder once."""
    seen = set()
    for name, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(name)
        folders[:] = [] if real in seen else sorted(f for f in folders if not f.startswith("."))
        yield from (Path(name) / f for f in files if real not in seen and not f.startswith("."))
        seen.add(real)


def _expand(pattern: Path) -> list[Path]:
    """Files that match; pathlib's ``**`` stays out of linked folders, glob's follows a loop of links for ever."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    root = Path(*pattern.parts[:fixed])
    found = root.glob(str(Path(*pattern.parts[fixed:])))
    return [f for f in found if f.is_file() and not any(p.startswith(".") for p in f.relative_to(root).parts)]


def _volumes_among(files: list[Path], complaint: str) -> list[Path]:
    volumes = sorted(f for f in files if f.name.lower().endswith(SUFFIXES) and not f.name.startswith("."))
    if volumes:
        return volumes
    found = Counter(f.suffix or "no suffix" for f in files).most_common(5)
    raise UserError(f"{complaint}; found {', '.join(f'{n} x {s}' for s, n in found) or 'no files at all'}")


def _read_list(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: neither NIfTI nor a text list of files; give .nii or .nii.gz") from None
    volumes = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        volume = path.parent / Path(line.strip()).expanduser()
        if not volume.is_file() or not volume.name.lower().endswith(SUFFIXES):
            state = "not a .nii or .nii.gz file" if volume.is_file() else "no such file"
            raise UserError(f"{path}: line {number}: {line.strip()}: {state}; correct the list")
        volumes.append(volume)
    if not volumes:
        raise UserError(f"{path}: the list names no file; write one path a line")
    return sorted(set(volumes))
