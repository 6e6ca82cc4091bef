"""The plan of a conversion: its cases, earlier results, collisions and shards."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cyclegan_gc.config import SOURCE_MODALITY, ConvertConfig
from cyclegan_gc.convert.job import Job, is_below, job_of
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.dicom.ct_image import is_synthetic_ct
from cyclegan_gc.formats.dicom.pictures import NO_SLICES
from cyclegan_gc.formats.files import WRITABLE, case_id, named_path, read_sidecar, result_of_uncertainty
from cyclegan_gc.formats.selection import left_out_lines, of_kind_or_named, of_series
from cyclegan_gc.formats.sources import LeftOut, Source, find_sources, named_files


def plan(config: ConvertConfig, contrasts: Sequence[str] = ()) -> tuple[list[Job], list[LeftOut]]:
    """All cases of the input, and everything else in it that was left out.

    Left out are series of another modality, localizers, projections, files below the output folder and results of
    earlier conversions. ``contrasts`` are the endings of the names of a case's files, for a model of several contrasts.

    Raises:
        UserError: if there is no input, a named file is a result, two cases would be written to one file, or the
            output folder is the input folder.
    """
    if config.output.name.lower().endswith(WRITABLE):
        raise UserError(f"{config.output}: give a folder; each result in it is named after its source")
    folder = named_path(config.input)
    if folder.is_dir() and os.path.realpath(folder) == os.path.realpath(config.output):
        raise UserError(f"{config.output}: this is also the input; choose another output folder")
    sources, left_out = _inputs(config, contrasts)
    jobs = [job_of(source, config) for source in sources]
    check_collisions(jobs)
    return jobs, left_out


def _inputs(config: ConvertConfig, contrasts: Sequence[str]) -> tuple[list[Source], list[LeftOut]]:
    """The cases to convert, and what was left out."""
    found, left_out = find_sources(config.input, contrasts)
    found, unnamed = of_series(found, config.series, config.input, "--series")
    left_out += unnamed
    named, sources = named_files(config.input), []
    for source in found:
        written, in_output = is_result(source), is_below(source.path, config.output)
        if written and named.intersection(source.files):
            raise UserError(f"{source.path}: is the result of a conversion; give the volume it was made from")
        reason = "result of a conversion" if written else "file in the output folder" if in_output else None
        if reason is None:
            sources.append(source)
        elif not (written and in_output):  # results of this conversion are no input
            left_out.append(LeftOut(source.label, reason))
    sources, others = of_kind_or_named(sources, SOURCE_MODALITY[config.direction], config.series)
    left_out += others
    if not sources:
        why = "; ".join(left_out_lines(left_out)) or "it holds only its own results"
        raise UserError(f"{config.input}: nothing to convert ({why}); choose another input or name one --series")
    return sources, left_out


def reference_series(config: ConvertConfig, jobs: Sequence[Job]) -> Source | None:
    """The series of ``--reference_dicom``, into whose study the volume file among ``jobs`` goes; None without one.

    Raises:
        UserError: if the folder does not hold one series, or several volume files would get its one patient.
    """
    if config.format != "dicom" or config.reference_dicom is None:
        return None
    volumes = [job.source.label for job in jobs if job.source.series is None]
    if len(volumes) > 1:
        raise UserError(
            f"--reference_dicom {config.reference_dicom}: {len(volumes)} volume files ({volumes[0]}, {volumes[1]}) "
            "would all get the patient of this series; convert one at a time, each with its own series"
        )
    found = find_sources(config.reference_dicom)[0]
    series = [source for source in found if not is_result(source) and source.kind not in NO_SLICES]
    if len(series) != 1 or series[0].series is None:
        raise UserError(
            f"{config.reference_dicom}: must hold one DICOM series, has {len(series)} cases; give another "
            "--reference_dicom"
        )
    return series[0]


def shard_of(config: ConvertConfig, environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Number of this process's shard, from 1, and the count of shards; None for a run without shards.

    Only ``--shard auto`` looks at the environment, which may be that of a user's own array job.

    Raises:
        UserError: if ``--shard`` is not i/n with i from 0 to n, or auto without an even array or torchrun.
    """
    if config.shard is None:
        return None
    words = _shard_of_job(environment) if config.shard == "auto" else config.shard
    match = re.fullmatch(r"(\d+)/([1-9]\d*)", words)
    if match is None or int(match[1]) > int(match[2]):
        raise UserError(f"--shard {config.shard}: give i/n, i from 1 to n; auto needs torchrun or a Slurm array 1-n")
    index, count = int(match[1]), int(match[2])
    # 0/n means n/n, so counting from 0 and from 1 both cover every shard once.
    return (index or count, count) if count > 1 else None


def _shard_of_job(environment: Mapping[str, str]) -> str:
    """i/n of a task of a Slurm array or a process of torchrun; empty without one, or if the array has gaps."""
    found = {name: environment.get(f"SLURM_ARRAY_TASK_{name}", "") for name in ("ID", "COUNT", "MIN", "MAX", "STEP")}
    slurm = {name: int(value) for name, value in found.items() if value.isdecimal()}
    if "ID" in slurm and "COUNT" in slurm:
        first, step, count = slurm.get("MIN", 0), slurm.get("STEP", 1), slurm["COUNT"]
        last = first + step * (count - 1)
        return f"{(slurm['ID'] - first) // step + 1}/{count}" if slurm.get("MAX", last) == last else ""
    rank = environment.get("RANK", "")
    return f"{int(rank) + 1}/{environment.get('WORLD_SIZE')}" if rank.isdecimal() else ""


def part_of(jobs: Sequence[Job], shard: tuple[int, int] | None) -> list[Job]:
    """The cases of one shard; every case is in exactly one."""
    return list(jobs) if shard is None else list(jobs[shard[0] - 1 :: shard[1]])


def check_collisions(jobs: Sequence[Job]) -> None:
    """Raise a UserError if two results would have one name, or a source would be overwritten."""
    origin: dict[str, Path] = {}
    for job in jobs:
        # Many file systems ignore case.
        key = os.path.realpath(job.sidecar).lower()
        if key in origin:
            raise UserError(
                f"{origin[key]} and {job.source.path} would both be written to {job.result}; rename one or convert "
                "them to separate folders"
            )
        origin[key] = job.source.path
    sources = {os.path.realpath(file) for job in jobs for file in job.source.files}
    overwritten = sources.intersection(os.path.realpath(job.result) for job in jobs)
    if overwritten:
        raise UserError(f"{min(overwritten)}: would be overwritten by its own result; choose another output folder")


def is_result(source: Source) -> bool:
    """Whether this program wrote the case: a result, its uncertainty map or a DICOM series.

    A volume file is not opened; only a sidecar of its name is read.
    """
    if source.series is not None:
        return is_synthetic_ct(source.files[0])
    return any(_is_result_file(path) for path in source.files)


def recorded_result(sidecar: Path) -> Mapping[str, Any] | None:
    """Name and hash of the result that a sidecar of this program describes; None for any other file."""
    result = read_sidecar(sidecar).get("result")
    return result if isinstance(result, dict) and isinstance(result.get("name"), str) else None


def _is_result_file(path: Path) -> bool:
    stem = case_id(path)
    result, mapped = recorded_result(path.with_name(f"{stem}.json")), result_of_uncertainty(stem)
    if result is not None and result["name"] == path.name:
        return True
    result = recorded_result(path.with_name(f"{mapped}.json")) if mapped else None
    return result is not None and case_id(Path(result["name"])) == mapped
