"""Which case becomes which file: names, folders, collisions and shards, settled before the first case starts."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan_gc.config import ConvertConfig, Direction
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import BIDS_RESULT, WRITABLE, uncertainty_name
from cyclegan_gc.formats.sources import Source, find_sources

ENDINGS: dict[Direction, str] = {"mr_to_ct": "_sct", "ct_to_mr": "_smr"}
"""What is added to a source's name."""
NIFTI = ".nii.gz"


@dataclass(frozen=True)
class Job:
    """One case and where its files go."""

    source: Source
    result: Path
    """The NIfTI file, or the folder of the DICOM series."""

    @property
    def stem(self) -> str:
        """Name that all files of the case share."""
        return self.result.name.removesuffix(NIFTI)

    @property
    def sidecar(self) -> Path:
        """What the result is and how it was made."""
        return self.result.with_name(f"{self.stem}.json")

    @property
    def preview(self) -> Path:
        """Pictures of three planes."""
        return self.result.with_name(f"{self.stem}.png")

    @property
    def uncertainty(self) -> Path:
        """Standard deviation over what was fused."""
        return self.result.with_name(f"{uncertainty_name(self.stem)}{NIFTI}")


def plan(config: ConvertConfig, contrasts: Sequence[str] = ()) -> tuple[list[Job], list[str]]:
    """All cases of the input, and a sentence for whatever was left out of them.

    Results that lie below the input, as those of an earlier run may, are not taken for input.

    Args:
        config: of the conversion.
        contrasts: endings of the names of the files that make up a case, of a model of several contrasts.

    Raises:
        UserError: if there is no input, two cases would be written to one file, or the output lies on the input.
    """
    if config.output.name.lower().endswith(WRITABLE):
        raise UserError(f"{config.output}: the output is a folder, in which each result has its source's name")
    folder = Path(config.input).expanduser()
    if folder.is_dir() and folder.resolve() == config.output.resolve():
        raise UserError(f"{config.output}: is the input too; choose another output folder")
    sources, notes = find_sources(config.input, config.series, contrasts)
    output = config.output.resolve()
    sources = [source for source in sources if not source.path.resolve().is_relative_to(output)]
    if not sources:
        raise UserError(f"{config.input}: holds only what was written to {config.output}; choose another input")
    jobs = [Job(source, _result(source, config)) for source in sources]
    _check_collisions(jobs)
    return jobs, notes


def shard_of(config: ConvertConfig, environment: Mapping[str, str] = os.environ) -> tuple[int, int] | None:
    """Which part of how many this process converts, from 1; None for the whole.

    Raises:
        UserError: if ``--shard`` is not i/n.
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
    # 0/n is the same part as n/n, so both ways of counting cover all parts once.
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
    """Path of a derivative; the source's entities stay, its suffix becomes the space in which the result lies."""
    *entities, suffix = (
        name.split("_") if name.startswith("sub-") else (f"sub-{re.sub('[^0-9A-Za-z]', '', name)}", "MR")
    )
    if "-" in suffix:  # an entity: the contrast's ending was taken off a case of several
        entities, suffix = [*entities, suffix], "MR"
    entities = [entity for entity in entities if not entity.startswith(("space-", "desc-"))]
    folders = [entity for entity in entities if entity.startswith(("sub-", "ses-"))]
    space = re.sub("[^0-9A-Za-z]", "", suffix)
    return Path(*folders, "ct", "_".join([*entities, f"space-{space}"]) + BIDS_RESULT + NIFTI)


def _check_collisions(jobs: Sequence[Job]) -> None:
    origin: dict[str, Path] = {}
    for job in jobs:
        # Many file systems do not tell A from a.
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
