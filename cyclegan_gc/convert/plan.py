"""The plan of a conversion: its cases, the names of their results, earlier results, collisions and shards."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cyclegan_gc.config import ConvertConfig, Direction
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.dicom.write import is_synthetic_ct
from cyclegan_gc.formats.files import BIDS_RESULT, WRITABLE, read_sidecar, result_of_uncertainty, uncertainty_name
from cyclegan_gc.formats.sources import Source, find_sources, named_files

NIFTI = ".nii.gz"
"""Suffix of a NIfTI result."""
ENDINGS: dict[Direction, str] = {"mr_to_ct": "_sct", "ct_to_mr": "_smr"}
"""Added to the source's name."""


@dataclass(frozen=True)
class Job:
    """One case and the names of its files."""

    source: Source
    result: Path
    """The NIfTI file, or the folder of the DICOM series."""

    @property
    def stem(self) -> str:
        """Name without suffix that all files of the case share."""
        return self.result.name.removesuffix(NIFTI)

    @property
    def sidecar(self) -> Path:
        """JSON file that describes the result and how it was made."""
        return self.result.with_name(f"{self.stem}.json")

    @property
    def preview(self) -> Path:
        """PNG file with the middle slices of three planes."""
        return self.result.with_name(f"{self.stem}.png")

    @property
    def uncertainty(self) -> Path:
        """NIfTI file with the standard deviation over the fused translations."""
        return self.result.with_name(f"{uncertainty_name(self.stem)}{NIFTI}")

    @property
    def other_format(self) -> Path:
        """Name of the result if it were written in the other format: a folder for a NIfTI file and the reverse."""
        return self.result.with_name(self.stem if self.result.name.endswith(NIFTI) else f"{self.stem}{NIFTI}")


def plan(config: ConvertConfig, contrasts: Sequence[str] = ()) -> tuple[list[Job], list[str]]:
    """All cases of the input, and a sentence for each group of files that was left out.

    Files below the output folder and results of earlier conversions are left out. ``contrasts`` are the endings of the
    names of a case's files, for a model of several contrasts.

    Raises:
        UserError: if there is no input, a named file is a result, two cases would be written to one file, or the
            output folder is the input folder.
    """
    if config.output.name.lower().endswith(WRITABLE):
        raise UserError(f"{config.output}: give a folder; each result in it is named after its source")
    folder = Path(config.input).expanduser()
    if folder.is_dir() and folder.resolve() == config.output.resolve():
        raise UserError(f"{config.output}: this is also the input; choose another output folder")
    sources, notes = _inputs(config, contrasts)
    jobs = [Job(source, _result(source, config)) for source in sources]
    _check_collisions(jobs)
    return jobs, notes


def _inputs(config: ConvertConfig, contrasts: Sequence[str]) -> tuple[list[Source], list[str]]:
    """The cases that were not written by this program."""
    found, notes = find_sources(config.input, config.series, contrasts)
    output = config.output.resolve()
    elsewhere = [source for source in found if not source.path.resolve().is_relative_to(output)]
    results = [source for source in elsewhere if is_result(source)]
    named = named_files(config.input)
    for source in results:
        if named.intersection(source.files):
            raise UserError(f"{source.path}: is the result of a conversion; give the volume it was made from")
    sources = [source for source in elsewhere if source not in results]
    if not elsewhere:
        raise UserError(f"{config.input}: lies in the output folder {config.output}; choose another output folder")
    if not sources:
        raise UserError(f"{config.input}: holds only results of conversions; choose another input")
    if results:
        example = results[0].label
        notes = [*notes, f"{config.input}: results of conversions were left out ({len(results)}, such as {example})"]
    return sources, notes


def shard_of(config: ConvertConfig, environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Number of this process's shard, from 1, and the count of shards; None for a run without shards.

    Raises:
        UserError: if ``--shard`` is not i/n with i from 0 to n.
    """
    if config.shard is not None:
        match = re.fullmatch(r"(\d+)/([1-9]\d*)", config.shard)
        if match is None or int(match[1]) > int(match[2]):
            raise UserError(f"--shard {config.shard}: give i/n, i from 1 to n")
        index, count = int(match[1]), int(match[2])
    elif "SLURM_ARRAY_TASK_ID" in environment and "SLURM_ARRAY_TASK_COUNT" in environment:
        first, step = (int(environment.get(f"SLURM_ARRAY_TASK_{name}", d)) for name, d in (("MIN", "0"), ("STEP", "1")))
        index = (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step + 1
        count = int(environment["SLURM_ARRAY_TASK_COUNT"])
    elif "RANK" in environment and "WORLD_SIZE" in environment:
        index, count = int(environment["RANK"]) + 1, int(environment["WORLD_SIZE"])
    else:
        return None
    # 0/n means n/n, so counting from 0 and from 1 both cover every shard once.
    return (index or count, count) if count > 1 else None


def part_of(jobs: Sequence[Job], shard: tuple[int, int] | None) -> list[Job]:
    """The cases of one shard; every case is in exactly one."""
    return list(jobs) if shard is None else list(jobs[shard[0] - 1 :: shard[1]])


def _result(source: Source, config: ConvertConfig) -> Path:
    if config.naming == "bids":
        return config.output / _bids_name(source.name)
    ending = ENDINGS[config.direction] + (NIFTI if config.format == "nifti" else "")
    return config.output / source.below / (source.name + ending)


def _bids_name(name: str) -> Path:
    """Path of a BIDS derivative: the source's entities are kept and its suffix becomes the ``space`` entity."""
    *entities, suffix = (
        name.split("_") if name.startswith("sub-") else (f"sub-{re.sub('[^0-9A-Za-z]', '', name)}", "MR")
    )
    if "-" in suffix:  # an entity, left where the ending of the contrast was cut off
        entities, suffix = [*entities, suffix], "MR"
    entities = [entity for entity in entities if not entity.startswith(("space-", "desc-"))]
    folders = [entity for entity in entities if entity.startswith(("sub-", "ses-"))]
    space = re.sub("[^0-9A-Za-z]", "", suffix)
    return Path(*folders, "ct", "_".join([*entities, f"space-{space}"]) + BIDS_RESULT + NIFTI)


def _check_collisions(jobs: Sequence[Job]) -> None:
    origin: dict[str, Path] = {}
    for job in jobs:
        # Many file systems ignore case.
        key = str(job.result.resolve()).lower()
        if key in origin:
            raise UserError(
                f"{origin[key]} and {job.source.path} would both be written to {job.result}; rename one or convert "
                "them to separate folders"
            )
        origin[key] = job.source.path
    overwritten = {file.resolve() for job in jobs for file in job.source.files} & {job.result.resolve() for job in jobs}
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
    if not path.name.endswith(NIFTI):
        return False
    stem = path.name.removesuffix(NIFTI)
    result, mapped = recorded_result(path.with_name(f"{stem}.json")), result_of_uncertainty(stem)
    if result is not None and result["name"] == path.name:
        return True
    result = recorded_result(path.with_name(f"{mapped}.json")) if mapped else None
    return result is not None and result["name"] in (mapped, f"{mapped}{NIFTI}")
