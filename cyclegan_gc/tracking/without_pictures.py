"""A copy of an offline run without its pictures, for sending: W&B itself sends all of a run or nothing.

An offline run is one file, a LevelDB log: after 7 bytes of its own come blocks of 32 KiB, in them chunks of a checksum,
a length, a kind (whole, first, middle or last part of a record) and the bytes of a record.
"""

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

START = 7
BLOCK = 32768
CHUNK = struct.Struct("<IHB")
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
ENDING = "_with_pictures"
"""Of the names of tables that hold pictures."""


def copy_without_pictures(segment: Path, folder: Path) -> Path:
    """Copy an offline run's folder below ``folder``, its pictures and the tables that hold some left out.

    A copy that was sent already, and is newer than the run, stays as it is.

    Raises:
        OSError: if the disk is full or read-only.
    """
    copy = folder / segment.name
    if _sent_since(copy, segment):
        return copy
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(segment, copy, ignore=_pictures)
    for file in copy.glob("*.wandb"):
        data = file.read_bytes()
        kept = [record for raw in records_of(data) if (record := _cleaned(raw)) is not None]
        file.write_bytes(data[:START] + log_of(kept))
    return copy


def records_of(data: bytes) -> Iterator[bytes]:
    """The whole records of a log in their order; a last one that was cut off is left out."""
    at, parts = START, b""
    while at + CHUNK.size <= len(data):
        if BLOCK - at % BLOCK < CHUNK.size:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = CHUNK.unpack_from(data, at)
        at += CHUNK.size + length
        if at > len(data):
            return
        parts += data[at - length : at]
        if kind in (WHOLE, LAST):
            yield parts
            parts = b""


def log_of(records: list[bytes]) -> bytes:
    """The log of records, without the bytes before its first block."""
    log = bytearray()
    for record in records:
        rest, first = record, True
        while first or rest:
            room = BLOCK - (START + len(log)) % BLOCK
            if room < CHUNK.size:
                log += bytes(room)
                continue
            part, rest = rest[: room - CHUNK.size], rest[room - CHUNK.size :]
            kind = (WHOLE if not rest else FIRST) if first else (LAST if not rest else MIDDLE)
            log += CHUNK.pack(zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            first = False
    return bytes(log)


def _sent_since(copy: Path, segment: Path) -> bool:
    """Whether ``wandb sync`` has left its mark after the last change of the run."""
    marks = [mark.stat().st_mtime for mark in copy.glob("*.wandb.synced")]
    return bool(marks) and min(marks) >= max(file.stat().st_mtime for file in segment.glob("*.wandb"))


def _cleaned(raw: bytes) -> bytes | None:
    """A record without what is or names a picture; None for one that is nothing else."""
    from wandb.proto import wandb_internal_pb2

    record = getattr(wandb_internal_pb2, "Record")()  # noqa: B009 (its names are made at run time)
    record.ParseFromString(raw)
    if record.HasField("artifact"):
        return None if any(_is_picture(each.path) for each in record.artifact.manifest.contents) else raw
    changed = False
    for items in (record.files.files, record.history.item, record.summary.update):
        for position in reversed([n for n, item in enumerate(items) if _names_picture(item)]):
            del items[position]
            changed = True
    if record.HasField("files") and not record.files.files:
        return None
    return record.SerializeToString() if changed else raw


def _names_picture(item: Any) -> bool:
    if hasattr(item, "path"):
        return _is_picture(item.path)
    name = item.key or item.nested_key[0]
    value = json.loads(item.value_json)
    return name.startswith("panels/") or name.endswith(ENDING) or (isinstance(value, dict) and _is_image(value))


def _is_image(value: dict[str, Any]) -> bool:
    return str(value.get("_type", "")).startswith("image")


def _is_picture(path: str) -> bool:
    return path.startswith("media/images/") or ENDING in path


def _pictures(folder: str, names: list[str]) -> set[str]:
    """Names that are not copied."""
    return {name for name in names if name == "images" or ENDING in name or name.endswith((".wandb.synced", ".log"))}
