"""Manifest of a batch: one for each run or shard; those of the shards can be merged."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclegan_gc import __version__
from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.convert.index import write_index
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.sources import LeftOut

Manifest = dict[str, Any]


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


def write_manifest(folder: Path, manifest: Manifest, shard: tuple[int, int] | None) -> None:
    """Write ``manifest.json`` and ``index.html``, or only ``manifest_IofN.json`` for a shard."""
    name = "manifest.json" if shard is None else f"manifest_{shard[0]}of{shard[1]}.json"
    try:
        write_text(folder / name, json.dumps(manifest, indent=2) + "\n")
        if shard is None:
            write_index(folder / "index.html", manifest)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}); free or choose a disk") from error


def merge_manifests(folder: Path) -> Manifest:
    """Merge the shards' manifests of a folder into one and write its page.

    Raises:
        UserError: if there are none, one is missing or damaged, or their settings differ.
    """
    paths = sorted(folder.glob("manifest_*of*.json"))
    if not paths:
        raise UserError(f"{folder}: no manifest_IofN.json here; give the output folder of a sharded conversion")
    try:
        parts = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        counts = {int(path.stem.rsplit("of", 1)[1]) for path in paths}
        present = {int(path.stem.removeprefix("manifest_").split("of")[0]) for path in paths}
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: a manifest cannot be read ({error}); run its shard again") from error
    if len(counts) > 1:
        raise UserError(f"{folder}: manifests of {sorted(counts)} shards; remove those of the earlier run")
    missing = sorted(set(range(1, max(counts) + 1)) - present)
    if missing:
        raise UserError(f"{folder}: shards {missing} of {max(counts)} are missing; run them first")
    if any(part["settings"] != parts[0]["settings"] for part in parts):
        raise UserError(f"{folder}: the shards were converted with different models or settings; convert them again")
    cases = [case for part in parts for case in part["cases"]]
    left_out = [LeftOut(**each) for each in parts[0].get("left_out", [])]  # every shard saw the whole input
    whole = manifest_of(cases, parts[0]["settings"], parts[0].get("models", []), left_out)
    write_manifest(folder, whole, None)
    return whole
