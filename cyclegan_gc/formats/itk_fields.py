"""The fields of MetaImage and NRRD headers as text, their numbers, and the file of the voxels.

Errors give cause and cure, and the caller adds the file name.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.decimals import decimal
from cyclegan_gc.formats.files import check_file

MOST_LINES, LONGEST_LINE = 10_000, 2**16
MAGIC = "#"
"""Name given to the first line of an NRRD file, which no MetaImage has."""
NEEDED = {
    False: ("NDims", "DimSize", "ElementType", "ElementDataFile"),
    True: ("dimension", "sizes", "type", "encoding"),
}
NRRD_FIELDS = {
    *("#", "content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "sizes", "spacings"),
    *("thicknesses", "axismins", "axismaxs", "centers", "centerings", "labels", "units", "kinds", "min", "max"),
    *("oldmin", "oldmax", "endian", "encoding", "lineskip", "byteskip", "sampleunits", "datafile", "spaceunits"),
    *("spaceorigin", "spacedirections", "measurementframe"),
}
"""All fields of NRRD; another word is a mistake, such as a misspelt origin."""

Fields: TypeAlias = Mapping[str, str]


def read_fields(path: Path) -> tuple[dict[str, str], int]:
    """Names without spaces (of NRRD in lower case) and values of the header, and the number of its bytes.

    Raises:
        VolumeError: if it is no list of fields, each given once.
    """
    check_file(path)
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        if re.fullmatch(r"NRRD000[1-5]", first := _line(file) or ""):
            fields[MAGIC] = first
        else:
            file.seek(0)
        for _ in range(MOST_LINES):
            line = _line(file)
            if line is None or (MAGIC in fields and not line):
                break
            match = re.match(r"([^:=#]+)(:=|[:=])(.*)", line)
            if match is None and line.strip() and not line.startswith("#"):
                raise unreadable(f"its line {line[:40]!r} is no field")
            if match is None or match[2] == ":=":  # a comment or a note of another program
                continue
            name = re.sub(r"\s", "", match[1].lower() if MAGIC in fields else match[1])
            if name in fields and name != "Comment":
                raise unreadable(f"the field {name[:40]!r} stands twice")
            fields[name] = match[3].strip()
            if name == "ElementDataFile" or (name == "datafile" and _is_list(match[3])):
                break
        return fields, file.tell()


def _line(file: IO[bytes]) -> str | None:
    """The next line; None at the end of the file."""
    line = file.readline(LONGEST_LINE)
    if b"\0" in line or len(line) == LONGEST_LINE:
        raise unreadable("the header is not text")
    return os.fsdecode(line).rstrip() if line else None


def check_fields(fields: Fields) -> None:
    """Raise a :class:`VolumeError` if a needed field is missing or a field of NRRD is not known."""
    for name in NEEDED[MAGIC in fields]:
        if not fields.get(name):
            raise unreadable(f"no field {name}")
    if MAGIC in fields and (unknown := sorted(fields.keys() - NRRD_FIELDS)):
        raise unreadable(f"the field {unknown[0][:40]!r} is not known")


def voxel_file(path: Path, fields: Fields) -> Path:
    """The file of the voxels, ``path`` itself if they follow the header; raises unless it is beside or below it."""
    name = fields.get("ElementDataFile", fields.get("datafile", "LOCAL"))
    if name.upper() == "LOCAL":
        return path
    if _is_list(name) or "%" in name:
        raise VolumeError("its voxels are in one file per slice; save the volume with all voxels in one file")
    file, shown = path.parent / name, repr(name[:200])
    homes = [os.path.realpath(folder) for folder in (path.parent, Path(os.path.realpath(path)).parent)]
    if not any(Path(os.path.realpath(file)).is_relative_to(home) for home in homes):
        raise VolumeError(f"its voxels are in {shown}, neither beside nor below the header; put them beside it")
    try:
        check_file(file)
    except (VolumeError, OSError) as error:
        raise VolumeError(f"the voxels cannot be read, {shown}: {getattr(error, 'strerror', error)}") from None
    return file


def _is_list(name: str) -> bool:
    return name.split(maxsplit=1)[:1] in (["LIST"], ["SKIPLIST"])


def numbers_of(text: str, count: int, name: str, *, finite: bool = True) -> NDArray[np.float64]:
    """Exactly ``count`` numbers, separated by spaces; ``name`` is the field's in messages."""
    try:
        numbers = np.array([decimal(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count or (finite and not np.isfinite(numbers).all()):
        raise unreadable(f"the field {name} does not hold {count} numbers: {text[:60]!r}")
    return numbers


def whole_numbers(text: str, count: int, name: str) -> list[int]:
    """As :func:`numbers_of`, for whole numbers."""
    numbers = numbers_of(text, count, name)
    if np.abs(numbers).max() > 2**53 or not np.array_equal(numbers, np.rint(numbers)):
        raise unreadable(f"the field {name} does not hold whole numbers: {text[:60]!r}")
    return [int(number) for number in numbers]


def vector_of(text: str) -> NDArray[np.float64]:
    """Three numbers as NRRD writes them: ``(1,0,0)``."""
    inner = re.fullmatch(r"\(([^()]*)\)", text.strip())
    return numbers_of(inner[1].replace(",", " ") if inner else "", 3, "of a vector")


def first_of(fields: Fields, *names: str) -> str | None:
    """The value of the first of several names of one field that is there and not empty."""
    return next((fields[name] for name in names if fields.get(name)), None)


def flag(fields: Fields, name: str, *, default: bool = False) -> bool:
    """Whether a MetaImage field is true."""
    return fields[name][0] in "Tt1" if fields.get(name) else default


def unreadable(cause: str) -> VolumeError:
    """The error for a header that breaks the rules of its format."""
    return VolumeError(f"not a readable MetaImage or NRRD file ({cause}); export it again")
