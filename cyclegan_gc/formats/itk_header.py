"""Headers of MetaImage and NRRD files, read without ITK, whose own readers crash on some headers.

A header must be complete, and its voxels must be in one file beside or below it. Errors give cause and cure, and the
caller adds the file name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, axis_directions, check_affine, checked_shape, grid_notes
from cyclegan_gc.formats.itk_fields import (
    MAGIC,
    Fields,
    check_fields,
    first_of,
    flag,
    numbers_of,
    read_fields,
    unreadable,
    vector_of,
    voxel_file,
    whole_numbers,
)
from cyclegan_gc.formats.voxel_stream import Encoding

MOST_DIMENSIONS = 10
TYPES = {
    "i1": "MET_CHAR, signed char, int8, int8_t",
    "u1": "MET_UCHAR, uchar, unsigned char, uint8, uint8_t",
    "i2": "MET_SHORT, short, short int, signed short, signed short int, int16, int16_t",
    "u2": "MET_USHORT, ushort, unsigned short, unsigned short int, uint16, uint16_t",
    "i4": "MET_INT, MET_LONG, int, signed int, int32, int32_t",
    "u4": "MET_UINT, MET_ULONG, uint, unsigned int, uint32, uint32_t",
    "i8": "MET_LONG_LONG, longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "MET_ULONG_LONG, ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
    "f4": "MET_FLOAT, float",
    "f8": "MET_DOUBLE, double",
}
ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gz": "deflate", "gzip": "deflate", "bz2": "bzip2", "bzip2": "bzip2"}
TO_RAS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0, 1.0])),
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
}
"""Matrix of each space of NRRD."""
UNKNOWN_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed", "")
"""Spaces of NRRD without left and right; ITK takes them as LPS."""
UNITS_IN_MM = {"m": 1000.0, "cm": 10.0, "mm": 1.0, "?": 1.0, "um": 0.001}


@dataclass(frozen=True)
class ItkHeader:
    """What the header says of grid and voxels."""

    shape: tuple[int, ...]
    """(X, Y, Z)."""
    affine: NDArray[np.float64]
    """(4, 4), voxel index to RAS in mm."""
    notes: tuple[str, ...]
    dtype: np.dtype
    encoding: Encoding
    file: Path
    """The file of the voxels, often the header's own."""
    start: int
    """Byte of the file at which the voxels begin; -1 if they are its last bytes."""


def read_itk_header(path: Path, max_voxels: int) -> ItkHeader:
    """Read and check a header.

    Raises:
        VolumeError: if it cannot be used (without the file name).
    """
    fields, end = read_fields(path)
    check_fields(fields)
    file = voxel_file(path, fields)
    return (_nrrd if MAGIC in fields else _metaimage)(fields, file, end if file == path else 0, max_voxels)


def _metaimage(fields: Fields, file: Path, start: int, max_voxels: int) -> ItkHeader:
    dimensions = _dimensions(fields, "NDims")
    shape = checked_shape(whole_numbers(fields["DimSize"], dimensions, "DimSize"), max_voxels)
    if (channels := whole_numbers(fields.get("ElementNumberOfChannels", "1"), 1, "ElementNumberOfChannels")[0]) != 1:
        raise _several_values(channels)
    if not flag(fields, "BinaryData", default=True):
        raise VolumeError("its voxels are written as text; save the volume with binary voxels")
    spacing = first_of(fields, "ElementSpacing", "ElementSize")
    matrix = first_of(fields, "TransformMatrix", "Rotation", "Orientation")
    origin = first_of(fields, "Offset", "Position", "Origin")
    affine = np.eye(4)
    if matrix is not None:  # a row for each axis
        directions = numbers_of(matrix, dimensions**2, "TransformMatrix").reshape(dimensions, dimensions)
        affine[:3, :3] = directions[:3, :3].T
        with np.errstate(over="ignore"):
            lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(lengths, 1, atol=0.01):
            raise VolumeError("the axes of TransformMatrix do not have length 1; export the file again")
    if spacing is not None:
        affine[:3, :3] *= numbers_of(spacing, dimensions, "ElementSpacing")[:3]
    if origin is not None:
        affine[:3, 3] = numbers_of(origin, dimensions, "Offset")[:3]
    unit = fields.get("DistanceUnits", "mm")
    oriented = matrix is not None and origin is not None
    affine, notes = _in_mm(LPS_TO_RAS @ affine, shape, unit, oriented=oriented, spaced=spacing is not None)
    order = first_of(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") or "False"
    skipped = whole_numbers(fields.get("HeaderSize", "0"), 1, "HeaderSize")[0]
    return ItkHeader(
        shape,
        affine,
        notes,
        _dtype(fields["ElementType"], ">" if order[0] in "Tt1" else "<"),
        "deflate" if flag(fields, "CompressedData") else "raw",
        file,
        skipped or start,
    )


def _nrrd(fields: Fields, file: Path, start: int, max_voxels: int) -> ItkHeader:
    dimensions = _dimensions(fields, "dimension")
    sizes = whole_numbers(fields["sizes"], dimensions, "sizes")
    vectors = _vectors(fields, dimensions)
    spatial = [axis for axis, vector in enumerate(vectors) if vector is not None]
    if (values := int(np.prod([n for axis, n in enumerate(sizes) if axis not in spatial]))) != 1:
        raise _several_values(values)
    shape = checked_shape([sizes[axis] for axis in spatial], max_voxels)
    affine = np.eye(4)
    affine[:3, :3] = np.array([vectors[axis] for axis in spatial[:3]]).T
    if "spaceorigin" in fields:
        affine[:3, 3] = vector_of(fields["spaceorigin"])
    space = fields.get("space", "").lower()
    if space not in TO_RAS and space not in UNKNOWN_SPACES:
        raise VolumeError(f"the space {space[:60]!r} is not known; save the volume in left-posterior-superior")
    oriented = space in TO_RAS and {"spacedirections", "spaceorigin"} <= fields.keys()
    spaced = "spacedirections" in fields or "spacings" in fields
    units = sorted(set(re.findall(r'"([^"]*)"', fields.get("spaceunits", "")))) or ["mm"]
    unit = units[0] if len(units) == 1 else ""
    affine, notes = _in_mm(TO_RAS.get(space, LPS_TO_RAS) @ affine, shape, unit, oriented=oriented, spaced=spaced)
    encoding = ENCODINGS.get(fields["encoding"].lower())
    if encoding is None:
        raise VolumeError(f"the encoding {fields['encoding'][:40]!r} is not read; save the volume as raw or gzip")
    skipped = whole_numbers(fields.get("byteskip", "0"), 1, "byte skip")[0]
    if "lineskip" in fields or (skipped and encoding != "raw"):
        raise VolumeError("lines or bytes before the voxels are to be skipped; save the volume again without them")
    endian = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    dtype = _dtype(fields["type"].lower(), endian or "<")
    if endian is None and dtype.itemsize > 1:
        raise unreadable("no field endian")
    start = -1 if skipped < 0 else start + skipped
    return ItkHeader(shape, affine, notes, dtype, encoding, file, start)


def _vectors(fields: Fields, dimensions: int) -> list[NDArray[np.float64] | None]:
    """The step in space along each axis; None for an axis that is not spatial, such as colours."""
    if "spacedirections" in fields:
        text = fields["spacedirections"].lower()
        found = ["".join(each.split()) for each in re.findall(r"none|\([^()]*\)", text)]
        if len(found) != dimensions or "".join(found) != "".join(text.split()):
            raise unreadable(f"the field space directions does not hold {dimensions} vectors")
        return [None if each == "none" else vector_of(each) for each in found]
    kinds = fields.get("kinds", "domain " * dimensions).lower().split()
    spatial = [kind in ("domain", "space", "???", "none") for kind in kinds]
    if len(kinds) != dimensions:
        raise unreadable(f"the field kinds does not hold {dimensions} words")
    spacings = numbers_of(fields.get("spacings", "1 " * dimensions), dimensions, "spacings", finite=False)
    steps, axes = np.zeros((dimensions, 3)), np.flatnonzero(spatial)[:3]
    steps[axes, range(len(axes))] = spacings[axes]
    return [step if inside else None for step, inside in zip(steps, spatial, strict=True)]


def _in_mm(
    affine: NDArray, shape: Sequence[int], unit: str, *, oriented: bool, spaced: bool
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """The checked affine in mm, and a sentence for each orientation or spacing that was assumed."""
    check_affine(affine)
    notes = []
    if not oriented:
        notes.append(
            f"No orientation or position in the header; the axes were assumed to be {axis_directions(affine)}."
        )
    if not spaced:
        notes.append("No voxel size in the header; 1 mm was assumed.")
    factor = UNITS_IN_MM.get(unit.lower() or "mm")
    if factor is None:
        raise VolumeError(f"the unit of length {unit[:40]!r} is not known; save the volume in mm")
    if factor != 1:
        notes.append(f"Lengths are in {unit}; they were multiplied by {factor:g} to mm.")
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
    return affine, (*notes, *grid_notes(shape, affine))


def _dimensions(fields: Fields, name: str) -> int:
    dimensions = whole_numbers(fields[name], 1, name)[0]
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise unreadable(f"{dimensions} dimensions")
    return dimensions


def _dtype(name: str, order: str) -> np.dtype:
    for code, names in TYPES.items():
        if name in names.split(", "):
            return np.dtype(order + code)
    raise VolumeError(f"unknown type of voxels {name[:40]!r}; give one real number per voxel")


def _several_values(count: int) -> VolumeError:
    return VolumeError(f"{count} values per voxel (colours, vectors or times); give one real number per voxel")
