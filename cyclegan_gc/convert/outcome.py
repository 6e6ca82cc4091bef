"""Outcome of a case: its sidecar, the check of an earlier result, its row in the manifest."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.config import DISCLAIMER, ConvertConfig
from cyclegan_gc.convert.job import Job
from cyclegan_gc.convert.plan import recorded_result
from cyclegan_gc.errors import UserError, labelled, plain
from cyclegan_gc.formats.content import bytes_hash
from cyclegan_gc.formats.files import read_sidecar
from cyclegan_gc.formats.sources import Source
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.inference import Translation
from cyclegan_gc.judgement.verdict import Quality
from cyclegan_gc.model_files import public_name
from cyclegan_gc.trained_model import Member, TrainedModel, members_of
from cyclegan_gc.voxels import values_inside

FORCED = "Converted because of --force"
"""Beginning of the warning on values that are refused without ``--force``."""
NO_MAP = "No uncertainty map: only one translation was left."
TOOL = f"cyclegan-gc {__version__}"


@dataclass(frozen=True)
class Converted:
    """Outcome of one case: a result, or the reason why there is none."""

    source: Path
    label: str
    """Path of the case relative to the input."""
    result: Path
    outcome: str
    """converted, skipped (an intact result existed) or failed."""
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    quality: Quality | None = None
    preview: Path | None = None
    view: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Conversion:
    """Settings and models that all cases of a conversion share."""

    config: ConvertConfig
    models: Sequence[TrainedModel]
    members: Sequence[Member]
    reference: Source | None = None
    """The series into whose study volume files are written as DICOM."""

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Everything except the input that determines the result, as plain values without paths."""
        return {
            "tool": TOOL,
            "models": [model.sha256 for model in self.models],
            "direction": self.config.direction,
            "planes": list(dict.fromkeys(member.axis for member in self.members)),
            "coarse_planes": "kept" if self.config.planes else "left out",
            "mirror": self.config.mirror,
            "fusion": self.config.fusion,
            "format": self.config.format,
            "resample": self.config.resample,
            "reference": [bytes_hash(self.reference.files), *self.reference.frames] if self.reference else None,
            "uncertainty": self.config.uncertainty,
        }

    def pictures_of(self, job: Job) -> list[Path]:
        """The files with pictures that a case gets."""
        wanted = {"interactive": [job.preview, job.view], "png": [job.preview], "none": []}
        return wanted[self.config.preview] if self.config.direction == "mr_to_ct" else []

    @property
    def artifacts(self) -> list[str]:
        """The models in W&B, if their trainings were tracked."""
        return sorted({model.artifact for model in self.models if model.artifact})


def members_for(config: ConvertConfig, models: Sequence[TrainedModel]) -> list[Member]:
    """The translations that are fused; raises a UserError if one alone should give an uncertainty."""
    members = members_of([model.translator for model in models], config.planes, mirror=config.mirror)
    if config.uncertainty and len(members) == 1:
        raise UserError("--uncertainty needs several translations of a case; add --planes, --mirror or --ensemble")
    return members


def models_of(conversion: Conversion) -> list[dict[str, Any]]:
    """Name, step and hash of each model, separate from the settings, because a name does not change the result."""
    paths = [conversion.config.checkpoint, *conversion.config.ensemble]
    return [
        {"name": public_name(path), "step": model.step, "sha256": model.sha256}
        for path, model in zip(paths, conversion.models, strict=True)
    ]


def sidecar(
    job: Job,
    volume: Volume,
    source_sha256: str,
    result: Translation,
    quality: Quality | None,
    warnings: Sequence[str],
    conversion: Conversion,
) -> dict[str, Any]:
    """Description of a result and how it was made, as plain values without paths."""
    inside = values_inside(result.array, result.mask)
    return {
        "tool": TOOL,
        "disclaimer": DISCLAIMER,
        "key": key_of(job.source, source_sha256, conversion.settings),
        "source": {
            "name": plain(job.source.path.name),
            "sha256": source_sha256,
            "shape": list(volume.array.shape),
            "spacing_mm": [round(mm, 6) for mm in volume.spacing_mm],
        },
        "result": {"name": job.result.name, "sha256": _result_sha256(job.result)},
        "settings": conversion.settings,
        "planes": list(result.planes),
        "models": models_of(conversion),
        "artifacts": conversion.artifacts,
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "warnings": list(warnings),
        "values_in_body": {
            "mean": round(float(inside.mean()), 2),
            "quantiles_1_25_50_75_99": np.percentile(inside, (1, 25, 50, 75, 99)).round(1).tolist(),
        },
        "slice_discontinuity": {name: round(value, 4) for name, value in result.discontinuity.items()},
        "quality": asdict(quality) if quality else None,
    }


def finished(job: Job, source_sha256: str, conversion: Conversion) -> Converted | None:
    """The outcome of an earlier run, if source and settings are the same and its files are whole and unchanged."""
    key, config = key_of(job.source, source_sha256, conversion.settings), conversion.config
    try:
        known = read_sidecar(job.sidecar)
        mapped = config.uncertainty and NO_MAP not in known["warnings"]
        wanted = [*([job.uncertainty] if mapped else []), *conversion.pictures_of(job)]
        if known["key"] != key or known["result"]["sha256"] != _result_sha256(job.result):
            return None
        if not all(path.is_file() for path in wanted):
            return None
        quality = Quality(**known["quality"]) if known["quality"] else None
        if not _are_texts(known["warnings"]) or (quality and not _are_texts([quality.verdict, *quality.reasons])):
            return None
        if not config.force and any(text.startswith(FORCED) for text in known["warnings"]):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = job.source.path, job.source.label, job.result, "skipped", None, tuple(known["warnings"]), quality
    return Converted(*found, *pictures_beside(job))


def pictures_beside(job: Job) -> tuple[Path | None, Path | None]:
    """The preview and the page of slices, None where there is none."""
    return job.preview if job.preview.exists() else None, job.view if job.view.exists() else None


def _are_texts(values: object) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(value, str) for value in values)


def remove_replaced(job: Job, written: Collection[Path]) -> None:
    """Remove the files of an older result of this case that the new one did not overwrite.

    A result in another format is removed only if the old sidecar names it and its content has not changed since,
    so call this before the new sidecar is written.
    """
    for path in set(job.companions).difference(written):
        if path.is_file():
            path.unlink()
    old = recorded_result(job.sidecar)
    for other in job.other_formats:
        if old is None or old["name"] != other.name or not other.exists() or old.get("sha256") != _result_sha256(other):
            continue
        if other.is_dir():
            shutil.rmtree(other)
        else:
            other.unlink()


def as_row(case: Converted, output: Path) -> dict[str, Any]:
    """Row of a case for the manifest: plain values, with paths relative to the input and the output."""
    quality = case.quality
    labels = {case.source: case.label, f"{case.source.parent}{os.sep}": "", f"{output}{os.sep}": ""}
    failure = labelled(case.failure, labels) if case.failure else None
    return {
        "source": case.label,
        "result": None if failure else case.result.relative_to(output).as_posix(),
        "outcome": case.outcome,
        "failure": failure,
        "verdict": quality.verdict if quality else None,
        "reasons": list(quality.reasons) if quality else [],
        "figures": quality.figures if quality else {},
        "warnings": list(case.warnings),
        "seconds": round(case.seconds, 2),
        "preview": case.preview.relative_to(output).as_posix() if case.preview else None,
        "view": case.view.relative_to(output).as_posix() if case.view else None,
    }


def key_of(source: Source, source_sha256: str, settings: Mapping[str, Any]) -> str:
    """Hash of everything that determines a result: the source's bytes, its chosen frames and the settings."""
    determined_by = [source_sha256, source.frames, dict(settings)]
    return hashlib.sha256(json.dumps(determined_by, sort_keys=True).encode()).hexdigest()


def _result_sha256(result: Path) -> str:
    return file_sha256(sorted(result.iterdir()) if result.is_dir() else [result])
