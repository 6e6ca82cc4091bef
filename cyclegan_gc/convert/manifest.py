"""Manifest of a batch: one for each run or shard; those of the shards can be merged."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from cyclegan_gc import __version__
from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.config.fitting import misfit
from cyclegan_gc.convert.index import write_index
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import read_sidecar
from cyclegan_gc.formats.sources import LeftOut

Manifest = dict[str, Any]
Setting = bool | int | str | list[int | str] | None
NAME = re.compile(r"manifest_(\d{1,6})of([1-9]\d{0,5})\.json")
MOST_BYTES = 2**28
"""Largest manifest of a shard that is read; a case takes about 1000 bytes."""


class Model(TypedDict):
    """A model of a conversion."""

    name: str
    step: int
    sha256: str


class Left(TypedDict):
    """What was left out, and why."""

    label: str
    reason: str


class Case(TypedDict):
    """A row of :func:`cyclegan_gc.convert.outcome.as_row`."""

    source: str
    result: str | None
    outcome: Literal["converted", "skipped", "failed"]
    failure: str | None
    verdict: Literal["pass", "warn", "implausible"] | None
    reasons: list[str]
    figures: dict[str, float | None]
    warnings: list[str]
    seconds: float
    preview: str | None
    view: str | None


class Shard(TypedDict):
    """What is taken from the manifest of a shard."""

    settings: dict[str, Setting]
    models: list[Model]
    left_out: list[Left]
    cases: list[Case]


def manifest_of(
    cases: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
    models: Sequence[Mapping[str, Any]],
    left_out: Sequence[LeftOut] = (),
    other_shards: int = 0,
) -> Manifest:
    """The manifest of a conversion, whose counts account for all of the input.

    Args:
        cases: rows of :func:`cyclegan_gc.convert.outcome.as_row`.
        settings: of the conversion.
        models: as :func:`cyclegan_gc.convert.outcome.models_of`.
        left_out: what is not a case, and why.
        other_shards: number of cases that other processes convert.
    """
    counts = {
        "found": len(cases) + len(left_out) + other_shards,
        **Counter(case["outcome"] for case in cases),
        "left_out": len(left_out),
        "other_shards": other_shards,
        **Counter(case["verdict"] for case in cases if case["verdict"]),
    }
    return {
        "tool": f"cyclegan-gc {__version__}",
        "disclaimer": DISCLAIMER,
        "models": models,
        "settings": settings,
        "counts": counts,
        "left_out": [each._asdict() for each in left_out],
        "cases": cases,
    }


def closing_line(counts: Mapping[str, int]) -> str:
    """The last line of a conversion: the input is the sum of its outcomes."""
    names = {"converted": "converted", "skipped": "already there", "failed": "failed", "left_out": "left out"}
    names |= {"other_shards": "in other shards"} if counts.get("other_shards") else {}
    line = f"{counts['found']} found = " + " + ".join(f"{counts.get(name, 0)} {word}" for name, word in names.items())
    implausible = counts.get("implausible", 0)
    return f"{line}; implausible results: {implausible}" if implausible else line


def manifest_names(shard: tuple[int, int] | None) -> tuple[str, ...]:
    """Names of the manifest and its page; a shard has no page."""
    return ("manifest.json", "index.html") if shard is None else (f"manifest_{shard[0]}of{shard[1]}.json",)


def write_manifest(folder: Path, manifest: Manifest, shard: tuple[int, int] | None) -> None:
    """Write ``manifest.json`` and ``index.html``, or only ``manifest_IofN.json`` for a shard."""
    name, *page = manifest_names(shard)
    try:
        write_text(folder / name, json.dumps(manifest, indent=2) + "\n")
        if page:
            write_index(folder / page[0], manifest)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); free or choose a disk") from error


def merge_manifests(folder: Path) -> Manifest:
    """Merge the shards' manifests of a folder into one and write its page.

    Raises:
        UserError: if there are none, one is missing or damaged, or their settings differ.
    """
    found = {path: NAME.fullmatch(path.name) for path in sorted(folder.glob("manifest_*of*.json"))}
    paths = {path: (int(match[1]), int(match[2])) for path, match in found.items() if match}
    if not paths:
        raise UserError(f"{folder}: no manifest_IofN.json here; give the output folder of a sharded conversion")
    counts = {count for _, count in paths.values()}
    if len(counts) > 1:
        raise UserError(f"{folder}: manifests of {sorted(counts)} shards; remove those of the earlier run")
    missing = sorted(set(range(1, max(counts) + 1)).difference(number for number, _ in paths.values()))
    if missing:
        raise UserError(f"{folder}: shards {missing} of {max(counts)} are missing; run them first")
    parts = [_read_shard(path, f"{number}/{count}") for path, (number, count) in paths.items()]
    first = parts[0]
    if any(part["settings"] != first["settings"] for part in parts):
        raise UserError(f"{folder}: the shards were converted with different models or settings; convert them again")
    cases = [_known(case, Case) for part in parts for case in part["cases"]]
    left_out = [LeftOut(each["label"], each["reason"]) for each in first["left_out"]]  # every shard saw the whole input
    whole = manifest_of(cases, first["settings"], [_known(model, Model) for model in first["models"]], left_out)
    write_manifest(folder, whole, None)
    return whole


def _read_shard(path: Path, shard: str) -> dict[str, Any]:
    part = read_sidecar(path, MOST_BYTES)
    if wrong := misfit(part, Shard, "manifest"):
        raise UserError(f"{path}: damaged or no manifest of a shard ({wrong}); run it again with --shard {shard}")
    return part


def _known(values: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The values that were checked; others may be nested too deeply to be written."""
    return {name: values[name] for name in kind.__annotations__}
