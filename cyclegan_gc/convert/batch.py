"""Convert one volume or many: read, translate, write on the source's grid; one bad case does not stop the others."""

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from cyclegan_gc.checkpoint import TrainedModel, load_model
from cyclegan_gc.config import ConvertConfig, Direction
from cyclegan_gc.data.files import SUFFIXES, case_id, find_volumes
from cyclegan_gc.data.volumes import read_volume, write_volume
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.inference import translate_volume

ENDINGS: dict[Direction, str] = {"mr_to_ct": "_sct", "ct_to_mr": "_smr"}
"""What is added to a source's name."""


@dataclass(frozen=True)
class Converted:
    """What became of one case: a file, or the reason why there is none."""

    source: Path
    result: Path
    failure: str | None = None
    warnings: tuple[str, ...] = ()


def convert_volume(
    checkpoint: str | Path,
    source: str | Path,
    result: str | Path,
    *,
    direction: Direction = "mr_to_ct",
    device: str = "auto",
) -> Path:
    """Convert one file: MR to synthetic CT in HU (or CT to synthetic MR), on the source's exact grid.

    Args:
        checkpoint: of a training run.
        source: .nii or .nii.gz.
        result: file to write, .nii or .nii.gz; int16, rounded.
        direction: which generator to use.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The path of ``result``.

    Raises:
        UserError: if the checkpoint or the volume cannot be used; one line.
    """
    source, result = Path(source), Path(result)
    if not result.name.lower().endswith(SUFFIXES):
        raise UserError(f"{result}: the result's name must end in .nii or .nii.gz")
    model = load_model(Path(checkpoint), direction, choose_device(device))
    for warning in _convert_file(model, source, result, batch_size=8):
        warnings.warn(f"{source}: {warning}", stacklevel=2)
    return result


def convert(config: ConvertConfig) -> list[Converted]:
    """Convert every volume of ``config.input``; the outcome of each case, in order.

    Raises:
        UserError: if nothing can start: input, output, checkpoint or device cannot be used, or two results collide.
    """
    sources = find_volumes(config.input)
    results = _results(sources, config)
    model = load_model(config.checkpoint, config.direction, choose_device(config.device))
    if config.output.name.lower().endswith(SUFFIXES):
        raise UserError(f"{config.output}: the output is a folder, in which each result has its source's name")
    try:
        config.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{config.output}: cannot be made ({error.strerror}); choose another folder") from error
    return [
        _convert_case(model, source, result, config.batch_size)
        for source, result in track(
            list(zip(sources, results, strict=True)), "converting", transient=True, disable=not sys.stdout.isatty()
        )
    ]


def _convert_case(model: TrainedModel, source: Path, result: Path, batch_size: int) -> Converted:
    try:
        result.parent.mkdir(parents=True, exist_ok=True)
        return Converted(source, result, warnings=_convert_file(model, source, result, batch_size))
    except VolumeError as error:
        return Converted(source, result, failure=str(error))
    except (OSError, RuntimeError, MemoryError) as error:  # a folder in the way, a full GPU: the others may do
        return Converted(source, result, failure=f"{source}: {type(error).__name__}: {' '.join(str(error).split())}")


def _convert_file(model: TrainedModel, source: Path, result: Path, batch_size: int) -> tuple[str, ...]:
    volume = read_volume(source)
    try:
        write_volume(result, translate_volume(model, volume, batch_size=batch_size), volume)
    except VolumeError as error:
        raise VolumeError(str(error) if str(error).startswith(str(result)) else f"{source}: {error}") from None
    return volume.warnings


def _results(sources: list[Path], config: ConvertConfig) -> list[Path]:
    """Where each result goes: the folders below the input are kept."""
    root = Path(config.input).expanduser()
    ending = ENDINGS[config.direction] + ".nii.gz"
    below = [source.parent.relative_to(root) if root.is_dir() else Path() for source in sources]
    results = [
        config.output / folder / (case_id(source) + ending) for folder, source in zip(below, sources, strict=True)
    ]
    origin: dict[Path, Path] = {}
    for source, result in zip(sources, results, strict=True):
        if result in origin:
            raise UserError(f"{origin[result]} and {source} would both be written to {result}; rename one")
        origin[result] = source
    overwritten = {path.resolve() for path in sources} & {path.resolve() for path in results}
    if overwritten:
        raise UserError(f"{min(overwritten)}: would be overwritten by its own result; choose another output folder")
    return results
