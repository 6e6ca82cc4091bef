"""Results of earlier conversions, recognised by their sidecars or by their DICOM tags."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cyclegan_gc.formats.dicom.write import is_synthetic_ct
from cyclegan_gc.formats.files import result_of_uncertainty
from cyclegan_gc.formats.sources import Source

NIFTI = ".nii.gz"
"""Suffix of a NIfTI result."""


def is_result(source: Source) -> bool:
    """Whether this program wrote the case: a result, its uncertainty map or a DICOM series.

    A volume file is not opened; only a sidecar of its name is read.
    """
    if source.series is not None:
        return is_synthetic_ct(source.files[0])
    return any(_is_result_file(path) for path in source.files)


def recorded_result(sidecar: Path) -> Mapping[str, Any] | None:
    """Name and hash of the result that a sidecar of this program describes; None for any other file."""
    try:
        known = json.loads(sidecar.read_text(encoding="utf-8"))
        ours = known["tool"].startswith("cyclegan-gc ") and isinstance(known["result"]["name"], str)
        return known["result"] if ours else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, or written by another program
        return None


def _is_result_file(path: Path) -> bool:
    if not path.name.endswith(NIFTI):
        return False
    stem = path.name.removesuffix(NIFTI)
    result, mapped = recorded_result(path.with_name(f"{stem}.json")), result_of_uncertainty(stem)
    if result is not None and result["name"] == path.name:
        return True
    result = recorded_result(path.with_name(f"{mapped}.json")) if mapped else None
    return result is not None and result["name"] in (mapped, f"{mapped}{NIFTI}")
