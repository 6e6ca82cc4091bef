"""One case from its file to its result: read, translate, judge, write."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan_gc.atomic import atomic_write, write_text
from cyclegan_gc.config import SOURCE_MODALITY, Direction
from cyclegan_gc.convert.job import Job
from cyclegan_gc.convert.outcome import (
    FORCED,
    NO_MAP,
    TOOL,
    Conversion,
    Converted,
    finished,
    key_of,
    pictures_beside,
    remove_replaced,
    sidecar,
)
from cyclegan_gc.convert.preview import preview_page, preview_png
from cyclegan_gc.errors import UserError, VolumeError, named, one_line
from cyclegan_gc.formats.content import bytes_hash
from cyclegan_gc.formats.dicom.ct_image import SeriesLabel
from cyclegan_gc.formats.dicom.write import write_ct_series
from cyclegan_gc.formats.files import reading
from cyclegan_gc.formats.volumes import Volume, write_volume
from cyclegan_gc.inference import Translation, prepare_for, translate_cases
from cyclegan_gc.judgement.verdict import Quality, judge_translation
from cyclegan_gc.prepare.modality import check_volume
from cyclegan_gc.prepare.preprocess import AIR_HU, Prepared, load_volume


@dataclass(frozen=True)
class Loaded:
    """A case that has been read and prepared."""

    job: Job
    volume: Volume
    cases: Sequence[Prepared]
    sha256: str
    warnings: tuple[str, ...]
    since: float


def read_case(conversion: Conversion, job: Job) -> Loaded | Converted:
    """Read and prepare a case, unless an intact result of it exists."""
    since = time.perf_counter()
    try:
        files = job.source.readable_files()
        with reading(job.source.path):
            job.check_names()
            sha256 = bytes_hash(files)
        if not conversion.config.overwrite and (known := finished(job, sha256, conversion)):
            return known
        volume = load_volume(files, conversion.config.max_voxels, job.source.frames)
        with named(job.source.path):
            warnings = remarks_on(volume, conversion.config.direction, force=conversion.config.force)
            return Loaded(job, volume, prepare_for(conversion.members, volume), sha256, warnings, since)
    except Exception as error:
        return _failed(job, error)


def translate_case(conversion: Conversion, loaded: Loaded | Converted) -> tuple[Loaded, Translation] | Converted:
    """Translate a case with the network."""
    if isinstance(loaded, Converted):
        return loaded
    try:
        config, members = conversion.config, conversion.members
        with named(loaded.job.source.path):
            result = translate_cases(loaded.cases, members, batch_size=config.batch_size, fusion=config.fusion)
        return loaded, result
    except Exception as error:
        return _failed(loaded.job, error)


def write_case(conversion: Conversion, translated: tuple[Loaded, Translation] | Converted) -> Converted:
    """Write and judge a case; the sidecar is written last and confirms that the other files are complete."""
    if isinstance(translated, Converted):
        return translated
    loaded, result = translated
    job = loaded.job
    try:
        job.result.parent.mkdir(parents=True, exist_ok=True)
        with named(job.source.path):
            translator = conversion.members[0].translator
            quality = judge_translation(loaded.volume, loaded.cases[0], result, translator)
            written, notes = _write_result(loaded, result, quality, conversion)
            pictures = conversion.pictures_of(job)
            _write_pictures(pictures, loaded, result, quality)
            remove_replaced(job, written.union(pictures))
            warnings = (*loaded.warnings, *result.notes, *notes)
            facts = sidecar(job, loaded.volume, loaded.sha256, result, quality, warnings, conversion)
            write_text(job.sidecar, json.dumps(facts, indent=2) + "\n")
        made = job.source.path, job.source.label, job.result, "converted", None, warnings, quality
        return Converted(*made, *pictures_beside(job), time.perf_counter() - loaded.since)
    except OSError as error:
        cause = f"{job.source.path}: {error.filename or job.result}: cannot be written ({error.strerror or error})"
        return _failed(job, VolumeError(f"{cause}; free or choose a disk, or choose another output"))
    except Exception as error:
        return _failed(job, error)


def remarks_on(volume: Volume, direction: Direction, *, force: bool) -> tuple[str, ...]:
    """Warnings of the reader and, with ``force``, on values of the other modality.

    Raises:
        VolumeError: for values of the other modality, without ``force`` (without a file name).
    """
    try:
        check_volume(volume, SOURCE_MODALITY[direction])
    except VolumeError as error:
        if not force:
            raise VolumeError(f"{error}, or --force") from None
        return (*volume.warnings, f"{FORCED}: {error}.")
    return volume.warnings


def _write_result(
    loaded: Loaded, result: Translation, quality: Quality | None, conversion: Conversion
) -> tuple[set[Path], list[str]]:
    """Write the result and, if wanted, its uncertainty map; returns what was written, and warnings."""
    job, config, notes = loaded.job, conversion.config, []
    if job.is_series:
        reference = job.source if job.source.series is not None else conversion.reference
        if reference is None:
            raise VolumeError(
                "a volume file has no DICOM study; give the series it was made from with --reference_dicom DIR"
            )
        label = _series_label(loaded, result, quality, conversion)
        source = reference.files, label, reference.frames, AIR_HU if config.resample else None
        notes = write_ct_series(job.result, result.array, loaded.volume.affine, *source)
    else:
        write_volume(job.result, result.array, loaded.volume)
    if not config.uncertainty:
        return {job.result}, notes
    if result.uncertainty is None:
        return {job.result}, [*notes, NO_MAP]
    write_volume(job.uncertainty, result.uncertainty, loaded.volume)
    return {job.result, job.uncertainty}, notes


def _write_pictures(wanted: Sequence[Path], loaded: Loaded, result: Translation, quality: Quality | None) -> None:
    job, mr, affine = loaded.job, loaded.volume.array, loaded.volume.affine
    images = mr, result.array, result.mask, affine, result.uncertainty
    if job.preview in wanted:
        with atomic_write(job.preview) as file:
            file.write(preview_png(*images))
    if job.view in wanted:
        verdict = [quality.verdict, *quality.reasons] if quality else []
        write_text(job.view, preview_page(job.source.label, verdict, *images))


def _series_label(loaded: Loaded, result: Translation, quality: Quality | None, conversion: Conversion) -> SeriesLabel:
    model, planes = conversion.models[0], ", ".join(result.planes)
    derivation = f"Model {model.sha256[:16]} at step {model.step}, planes {planes}."
    mark = "implausible" if quality and quality.verdict == "implausible" else ""
    comment = "; ".join([f"Check of this synthetic CT: {quality.verdict}", *quality.reasons]) if quality else ""
    key = key_of(loaded.job.source, loaded.sha256, conversion.settings)
    series = loaded.job.source.series
    picture, place = (series.picture, series.place) if series else ("", 0)
    return SeriesLabel(key, derivation, TOOL, picture, place, mark, comment)


def _failed(job: Job, error: Exception) -> Converted:
    """The outcome of a case that any error stopped (a bad file, a full disk, a full GPU); the other cases continue."""
    message = str(error)
    if not isinstance(error, UserError):
        message = f"{job.source.path}: {type(error).__name__}: {error}"
    return Converted(job.source.path, job.source.label, job.result, "failed", one_line(message))
