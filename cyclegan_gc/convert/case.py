"""One case from its file to its result: read, translated, judged, written, with a sidecar that says how."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cyclegan_gc import __version__
from cyclegan_gc.atomic import atomic_write, file_sha256, remove_leftovers, write_text
from cyclegan_gc.config import DISCLAIMER, ConvertConfig
from cyclegan_gc.convert.plan import Job
from cyclegan_gc.convert.preview import preview_png
from cyclegan_gc.convert.quality import Quality, judge
from cyclegan_gc.data.cache import case_statistics
from cyclegan_gc.data.dicom_write import SeriesLabel, write_ct_series
from cyclegan_gc.data.preprocess import Prepared, check_values
from cyclegan_gc.data.sources import find_sources, read_source
from cyclegan_gc.data.volumes import Volume, write_volume
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.inference import Member, Translation, prepare_for, translate_cases
from cyclegan_gc.voxels import values_inside

TOOL = f"cyclegan-gc {__version__}"


@dataclass(frozen=True)
class Converted:
    """What became of one case: a result, or the reason why there is none."""

    source: Path
    label: str
    """The case relative to the input."""
    result: Path
    outcome: str
    """converted, skipped (finished before and intact) or failed."""
    failure: str | None = None
    warnings: tuple[str, ...] = ()
    quality: Quality | None = None
    preview: Path | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Batch:
    """What all cases of a conversion share."""

    config: ConvertConfig
    members: Sequence[Member]
    settings: Mapping[str, Any]
    """Everything but the input that decides about the result."""


@dataclass(frozen=True)
class Loaded:
    """A case that was read and prepared."""

    job: Job
    volume: Volume
    cases: Sequence[Prepared]
    sha256: str
    warnings: tuple[str, ...]
    since: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True)
class Translated:
    """A case that went through the network."""

    loaded: Loaded
    translation: Translation


def settings_of(config: ConvertConfig, members: Sequence[Member]) -> dict[str, Any]:
    """Everything but the input that decides about the pixels, in plain values and without any path."""
    return {
        "tool": TOOL,
        "models": list(dict.fromkeys(member.model.sha256 for member in members)),
        "direction": config.direction,
        "planes": list(dict.fromkeys(member.axis for member in members)),
        "mirror": config.mirror,
        "fusion": config.fusion,
        "format": config.format,
        "uncertainty": config.uncertainty,
    }


def read_case(job: Job, batch: Batch) -> Loaded | Converted:
    """Read and prepare a case, unless it is finished and intact already."""
    since = time.perf_counter()
    try:
        sha256 = file_sha256(job.source.files)
        if not batch.config.overwrite and (known := finished(job, sha256, batch.settings)):
            return known
        volume = read_source(job.source, batch.config.max_voxels)
        with _named(job):
            warnings = volume.warnings + _other_modality(volume, batch.config)
            return Loaded(job, volume, prepare_for(batch.members, volume), sha256, warnings, since)
    except Exception as error:
        return _failed(job, error)


def translate_case(loaded: Loaded | Converted, batch: Batch) -> Translated | Converted:
    """Take a case through the network."""
    if isinstance(loaded, Converted):
        return loaded
    try:
        config = batch.config
        return Translated(
            loaded, translate_cases(loaded.cases, batch.members, batch_size=config.batch_size, fusion=config.fusion)
        )
    except Exception as error:
        return _failed(loaded.job, error)


def write_case(translated: Translated | Converted, batch: Batch) -> Converted:
    """Write and judge a case; the sidecar comes last and vouches for the rest."""
    if isinstance(translated, Converted):
        return translated
    loaded, result = translated.loaded, translated.translation
    job = loaded.job
    try:
        job.result.parent.mkdir(parents=True, exist_ok=True)
        for path in (job.result, job.uncertainty, job.preview, job.sidecar):
            remove_leftovers(path)
        with _named(job):
            _write_result(loaded, result, batch)
            quality = _quality(loaded, result, batch)
            if batch.config.preview and batch.config.direction == "mr_to_ct":
                _write_preview(loaded, result, job.preview)
            warnings = (*loaded.warnings, *result.notes)
            write_text(job.sidecar, json.dumps(_sidecar(loaded, result, quality, warnings, batch), indent=2) + "\n")
        preview = job.preview if job.preview.exists() else None
        seconds = time.perf_counter() - loaded.since
        return Converted(
            job.source.path, job.source.label, job.result, "converted", None, warnings, quality, preview, seconds
        )
    except Exception as error:
        return _failed(job, error)


def finished(job: Job, source_sha256: str, settings: Mapping[str, Any]) -> Converted | None:
    """The outcome of an earlier run, if its result is of this source and these settings and has not changed since."""
    try:
        known = json.loads(job.sidecar.read_text(encoding="utf-8"))
        if known["key"] != _key(source_sha256, settings) or known["result"]["sha256"] != _result_sha256(job.result):
            return None
        quality = Quality(**known["quality"]) if known["quality"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    preview = job.preview if job.preview.exists() else None
    return Converted(
        job.source.path, job.source.label, job.result, "skipped", None, tuple(known["warnings"]), quality, preview
    )


def as_row(case: Converted, output: Path) -> dict[str, Any]:
    """A case for the manifest: plain values, paths relative to the input and the output."""
    quality = case.quality
    # Messages begin with the source's whole path, which is nobody else's business.
    failure = case.failure.replace(str(case.source), case.label) if case.failure else None
    failure = failure.replace(f"{case.source.parent}{os.sep}", "") if failure else None
    return {
        "source": case.label,
        "result": None if failure else _relative(case.result, output),
        "outcome": case.outcome,
        "failure": failure,
        "verdict": quality.verdict if quality else None,
        "reasons": list(quality.reasons) if quality else [],
        "figures": quality.figures if quality else {},
        "warnings": list(case.warnings),
        "seconds": round(case.seconds, 2),
        "preview": _relative(case.preview, output) if case.preview else None,
    }


def _other_modality(volume: Volume, config: ConvertConfig) -> tuple[str, ...]:
    try:
        for array in (volume.array, *volume.further):
            check_values(array, "mr" if config.direction == "mr_to_ct" else "ct")
    except VolumeError as error:
        if not config.force:
            raise VolumeError(f"{error}, or --force") from None
        return (f"Converted by force: {error}.",)
    return ()


def _write_result(loaded: Loaded, result: Translation, batch: Batch) -> None:
    job, config = loaded.job, batch.config
    if config.format == "dicom":
        reference = job.source.files
        if job.source.series is None:
            reference = _reference_files(config.reference_dicom)
        label = SeriesLabel(_key(loaded.sha256, batch.settings), _derivation(batch), TOOL)
        write_ct_series(job.result, result.array, loaded.volume.affine, reference, label)
    else:
        write_volume(job.result, result.array, loaded.volume)
    if config.uncertainty and result.uncertainty is not None:
        write_volume(job.uncertainty, result.uncertainty, loaded.volume)


def _reference_files(folder: Path | None) -> tuple[Path, ...]:
    if folder is None:
        raise VolumeError("a NIfTI file has no study; give its series with --reference_dicom DIR")
    series, _ = find_sources(folder)
    if len(series) != 1 or series[0].series is None:
        raise UserError(
            f"{folder}: must hold one DICOM series, has {len(series)} cases; give another --reference_dicom"
        )
    return series[0].files


def _quality(loaded: Loaded, result: Translation, batch: Batch) -> Quality | None:
    if batch.config.direction != "mr_to_ct":
        return None
    return judge(
        loaded.volume.array,
        result.mask,
        result.array,
        loaded.volume.affine,
        batch.members[0].model.fingerprint,
        mr_facts=case_statistics(loaded.cases[0], loaded.volume.array),
        cycle_error=result.cycle_error,
    )


def _write_preview(loaded: Loaded, result: Translation, path: Path) -> None:
    volume = loaded.volume
    with atomic_write(path) as file:
        file.write(preview_png(volume.array, result.array, result.mask, volume.affine, result.uncertainty))


def _sidecar(
    loaded: Loaded, result: Translation, quality: Quality | None, warnings: Sequence[str], batch: Batch
) -> dict[str, Any]:
    job, inside = loaded.job, values_inside(result.array, result.mask)
    return {
        "tool": TOOL,
        "disclaimer": DISCLAIMER,
        "key": _key(loaded.sha256, batch.settings),
        "source": {
            "name": job.source.path.name,
            "sha256": loaded.sha256,
            "shape": list(loaded.volume.array.shape),
            "spacing_mm": [round(mm, 6) for mm in loaded.volume.spacing_mm],
        },
        "result": {"name": job.result.name, "sha256": _result_sha256(job.result)},
        "settings": dict(batch.settings),
        "artifacts": sorted({member.model.artifact or "" for member in batch.members} - {""}),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "warnings": list(warnings),
        "values_in_body": {
            "mean": round(float(inside.mean()), 2),
            "quantiles_1_25_50_75_99": np.percentile(inside, (1, 25, 50, 75, 99)).round(1).tolist(),
        },
        "slice_discontinuity": {name: round(value, 4) for name, value in result.discontinuity.items()},
        "quality": asdict(quality) if quality else None,
    }


def _derivation(batch: Batch) -> str:
    model = batch.members[0].model
    return f"Model {model.sha256[:16]} at step {model.step}, planes {', '.join(batch.settings['planes'])}."


def _key(source_sha256: str, settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([source_sha256, dict(settings)], sort_keys=True).encode()).hexdigest()


def _result_sha256(result: Path) -> str:
    return file_sha256(sorted(result.iterdir()) if result.is_dir() else [result])


def _relative(path: Path, output: Path) -> str:
    return path.relative_to(output).as_posix()


@contextmanager
def _named(job: Job) -> Iterator[None]:
    """Errors with the source's path before them."""
    try:
        yield
    except VolumeError as error:
        raise VolumeError(
            str(error) if str(error).startswith(str(job.source.path)) else f"{job.source.path}: {error}"
        ) from None


def _failed(job: Job, error: Exception) -> Converted:
    """One bad case is named and the others go on, whatever went wrong: a bad file, a full disk, a full GPU."""
    message = str(error)
    if not isinstance(error, UserError):
        message = f"{job.source.path}: {type(error).__name__}: {error}"
    return Converted(job.source.path, job.source.label, job.result, "failed", " ".join(message.split()))
