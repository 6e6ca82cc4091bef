"""Opening a DICOM file and reading its tags: whatever the file holds, nothing but a VolumeError is raised here."""

import re
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydicom
from pydicom import Dataset, config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cyclegan_gc.errors import VolumeError, one_line, plain
from cyclegan_gc.formats.decimals import decimal

SUFFIXES = (".dcm", ".dicom", ".ima")
MAX_INFLATED = 2**29
"""Most bytes to which the data set of a deflated file may inflate."""
INFLATED_AT_ONCE = 2**24
DECIMAL_TEXT = ("DS", "IS")
"""Value representations that store numbers as text."""
WHOLE = r"-?[0-9]{1,32}"

# Values that violate the standard are judged where they are used; pydicom's warnings name neither case nor cure.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its suffix, or by its first bytes: the preamble, or an element of group 2 or 8."""
    if path.name.lower().endswith(SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    if start[128:] == b"DICM":
        return True
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    if start[:2] in (b"\0\x02", b"\0\x08"):
        return start[2:3] == b"\0" and explicit
    if start[:2] not in (b"\x02\0", b"\x08\0") or start[3:4] != b"\0":
        return False
    following = 8 + int.from_bytes(start[4:8], "little")
    return explicit or start[following : following + 2] == b"\x08\0"


def open_dicom(path: Path, *, pixels: bool = False, tags: Sequence[str] | None = None) -> FileDataset:
    """The data set of a file, without its pixels unless ``pixels``; only ``tags`` if they are given.

    Raises:
        VolumeError: if the file cannot be read or inflates to more than ``MAX_INFLATED``; with its name.
    """
    try:
        with path.open("rb") as file:
            _check_inflated(file, path.name)
            file.seek(0)
            wanted = None if tags is None else list(tags)
            return pydicom.dcmread(file, force=True, stop_before_pixels=not pixels, specific_tags=wanted)
    except VolumeError:
        raise
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read ({error.strerror or error}); check its permissions") from None
    except Exception as error:  # pydicom raises many types for damaged files
        raise VolumeError(f"{path.name} is not a readable DICOM file ({_cause(error)}); fetch it again") from None


def value_of(dataset: Dataset, name: str) -> object:
    """The value of a tag, numbers stored as text as this text; None if it is missing or unreadable."""
    try:
        raw = dataset.get_item(name) if name in dataset else None
        if isinstance(raw, RawDataElement) and raw.value and (raw.VR or dictionary_VR(name)) in DECIMAL_TEXT:
            return raw.value.decode("latin-1").strip(" \0")
        return None if raw is None else dataset[name].value
    except Exception:  # pydicom raises many types for values that violate the standard
        return None


def text_of(dataset: Dataset, name: str) -> str:
    """The text of a tag, printable, several values joined by a backslash; empty if it is missing or unreadable."""
    value = value_of(dataset, name)
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue) else "" if value is None else str(value)
    return plain(text.strip())


def numbers_of(dataset: Dataset, name: str, count: int) -> tuple[float, ...] | None:
    """``count`` finite numbers, decimal commas read as points; None for anything else."""
    try:
        numbers = tuple(decimal(part.replace(",", ".")) for part in text_of(dataset, name).split("\\"))
    except ValueError:
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


def number_of(dataset: Dataset, name: str) -> float | None:
    """One finite number; None for anything else."""
    numbers = numbers_of(dataset, name, 1)
    return None if numbers is None else numbers[0]


def whole_of(dataset: Dataset, name: str) -> int | None:
    """One whole number; None for anything else."""
    text = text_of(dataset, name)
    return int(text) if re.fullmatch(WHOLE, text) else None


def items_of(dataset: Dataset, name: str) -> list[Dataset]:
    """The items of a sequence; empty if it is missing or unreadable."""
    value = value_of(dataset, name)
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, pydicom.Sequence) else []


def brief(error: Exception) -> str:
    """A library's message in at most 120 characters; empty where it speaks of the program rather than the file."""
    told = isinstance(error, (ValueError, RuntimeError, NotImplementedError))
    return one_line(str(error))[:120] if told and "argument" not in str(error) else ""


def _check_inflated(file: BinaryIO, name: str) -> None:
    """Raise a VolumeError if the data set is deflated and inflates to too much; nothing is kept in memory."""
    read_preamble(file, force=True)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    if text_of(meta, "TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, waiting, size = zlib.decompressobj(-zlib.MAX_WBITS), file.read(), 0
    while waiting and not inflater.eof:
        size += len(inflater.decompress(waiting, INFLATED_AT_ONCE))
        waiting = inflater.unconsumed_tail
        if size > MAX_INFLATED:
            raise VolumeError(
                f"{name}: the deflated data set inflates to more than {MAX_INFLATED / 2**30:g} GiB; "
                "the file is broken, export it again"
            )


def _cause(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its sequences are nested too deeply"
    return "its deflated data are damaged" if isinstance(error, zlib.error) else "cut off or damaged"
