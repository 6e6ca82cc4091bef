"""Convert one volume or many: read, translate, write on the source's grid; one bad case does not stop the others."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.checkpoint import load_model
from cyclegan_gc.config import ConvertConfig, Direction
from cyclegan_gc.convert.case import read_case, translate_case, write_case
from cyclegan_gc.convert.estimate import LONG, estimate
from cyclegan_gc.convert.manifest import Manifest, manifest_of, write_manifest
from cyclegan_gc.convert.outcome import Conversion, Converted, as_row, models_of, settings_of
from cyclegan_gc.convert.pipeline import overlapped
from cyclegan_gc.convert.plan import Job, part_of, plan, shard_of
from cyclegan_gc.convert.provenance import described, lineage, log_cases
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.files import WRITABLE
from cyclegan_gc.formats.volumes import read_contrasts, write_volume
from cyclegan_gc.inference import Member, members_of, translate_volume
from cyclegan_gc.prepare.preprocess import check_volume
from cyclegan_gc.tracking import opened

BIDS_DESCRIPTION = """{
  "Name": "Synthetic CT",
  "BIDSVersion": "1.9.0",
  "DatasetType": "derivative",
  "GeneratedBy": [{"Name": "cyclegan-gc"}]
}
"""


def convert_volume(
    checkpoint: str | Path,
    source: str | Path | Sequence[str | Path],
    result: str | Path,
    *,
    direction: Direction = "mr_to_ct",
    device: str = "auto",
) -> Path:
    """Convert one file: MR to synthetic CT in HU (or CT to synthetic MR), on the source's exact grid.

    Args:
        checkpoint: of a training run.
        source: a volume file; for a model of several contrasts one of each, in the order of its training.
        result: file to write, .nii or .nii.gz; int16, rounded.
        direction: which generator to use.
        device: auto, cpu, cuda, cuda:N or mps.

    Returns:
        The path of ``result``.

    Raises:
        UserError: if the checkpoint or the volume cannot be used; one line.
    """
    sources = [Path(each) for each in ([source] if isinstance(source, (str, Path)) else source)]
    result = Path(result)
    if not result.name.lower().endswith(WRITABLE):
        raise UserError(f"{result}: the result's name must end in .nii or .nii.gz")
    members = members_of([load_model(Path(checkpoint), direction, choose_device(device))])
    contrasts = members[0].model.contrasts if direction == "mr_to_ct" else ()
    if len(sources) != max(1, len(contrasts)):
        raise UserError(
            f"{checkpoint}: converts {contrasts or 'one volume'}, got {len(sources)} files; give one of each"
        )
    volume = read_contrasts(sources)
    try:
        check_volume(volume, "mr" if direction == "mr_to_ct" else "ct")
        translation = translate_volume(members, volume)
    except VolumeError as error:
        raise VolumeError(f"{sources[0]}: {error}") from None
    write_volume(result, translation.array, volume)
    for warning in (*volume.warnings, *translation.notes):
        warnings.warn(f"{sources[0]}: {warning}", stacklevel=2)
    return result


def convert(
    config: ConvertConfig,
    *,
    started: Callable[[list[Job], list[str]], None] = lambda jobs, notes: None,
    done: Callable[[Converted], None] = lambda case: None,
) -> list[Converted]:
    """Convert every case of ``config.input``; the outcome of each, in order, and a manifest in the output folder.

    Args:
        config: what to convert and how.
        started: called before the first case with those of this process, and sentences: what was left out of the
            input and, before a long batch, what it will take.
        done: called after each case.

    Raises:
        UserError: if nothing can start: input, output, checkpoint or device cannot be used, or two results collide.
    """
    jobs, notes = plan(config)  # once before the model is loaded, to tell a wrong input at once
    shard = shard_of(config)
    _make_folder(config.output)
    members = _members(config)
    if config.direction == "mr_to_ct" and members[0].model.contrasts:
        jobs, notes = plan(config, members[0].model.contrasts)
    jobs = part_of(jobs, shard)
    if config.naming == "bids":
        write_text(config.output / "dataset_description.json", BIDS_DESCRIPTION)
    conversion = Conversion(config, members, settings_of(config, members))
    if config.direction == "mr_to_ct" and members[0].model.back is None:
        notes = [*notes, "the model was trained on pairs alone and has no way back: no cycle error is judged"]
    if len(jobs) >= LONG:
        notes = [*notes, estimate(jobs, members)]
    started(jobs, notes)
    outcomes = []
    steps = (
        partial(read_case, conversion=conversion),
        partial(translate_case, conversion=conversion),
        partial(write_case, conversion=conversion),
    )
    with opened(config.output, config.wandb, described(conversion), job_type="convert") as run:
        for model in (each["artifact"] for each in lineage(conversion) if each["artifact"]):
            run.use(model)
        for outcome in overlapped(jobs, *steps):
            outcomes.append(outcome)
            done(outcome)
        run.checked(lambda: log_cases(run, outcomes, conversion), None)
    write_manifest(config.output, manifest(outcomes, conversion), shard)
    return outcomes


def manifest(outcomes: list[Converted], conversion: Conversion) -> Manifest:
    """The manifest of these outcomes."""
    rows = [as_row(case, conversion.config.output) for case in outcomes]
    return manifest_of(rows, conversion.settings, models_of(conversion))


def _members(config: ConvertConfig) -> list[Member]:
    device = choose_device(config.device)
    paths = [config.checkpoint, *config.ensemble]
    models = [load_model(path, config.direction, device) for path in paths]
    for path, model in zip(paths, models, strict=True):
        unknown = [plane for plane in config.planes or () if plane not in model.slice_axes]
        if unknown:
            raise UserError(
                f"{path}: trained on {', '.join(model.slice_axes)} slices, not {', '.join(unknown)}; choose other "
                "--planes or train with --data.slice_axes"
            )
    if len({model.contrasts for model in models}) > 1:
        raise UserError("--ensemble: the models were trained on different MR contrasts; take models of the same ones")
    members = members_of(models, config.planes, mirror=config.mirror)
    if config.uncertainty and len(members) == 1:
        raise UserError("--uncertainty needs several translations: give --planes, --mirror or --ensemble")
    return members


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); choose another folder") from error
