"""One case from file to file, for Python: the same as the command makes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch

from cyclegan_gc.atomic import remove_leftovers
from cyclegan_gc.config import SOURCE_MODALITY, ConvertConfig, Direction, Fusion, Preview, SliceAxis
from cyclegan_gc.config.fitting import check_arguments
from cyclegan_gc.config.values import PositiveInt
from cyclegan_gc.convert.case import read_case, translate_case, write_case
from cyclegan_gc.convert.job import Job
from cyclegan_gc.convert.outcome import Conversion, Converted, members_for
from cyclegan_gc.convert.plan import check_collisions, reference_series
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.files import WRITABLE, is_volume, named_path
from cyclegan_gc.formats.selection import of_kind_or_named, of_series
from cyclegan_gc.formats.sources import Source, find_sources, source_of
from cyclegan_gc.formats.volumes import MAX_VOXELS
from cyclegan_gc.model_files import checkpoint_in
from cyclegan_gc.trained_model import load_models


def convert_volume(
    checkpoint: str | Path,
    source: str | Path | Sequence[str | Path],
    result: str | Path,
    *,
    direction: Direction = "mr_to_ct",
    planes: Sequence[SliceAxis] | None = None,
    mirror: bool = False,
    ensemble: Sequence[str | Path] = (),
    fusion: Fusion = "mean",
    uncertainty: bool = False,
    reference_dicom: str | Path | None = None,
    resample: Literal["axial"] | None = None,
    series: str | None = None,
    force: bool = False,
    preview: Preview = "interactive",
    max_voxels: PositiveInt = MAX_VOXELS,
    batch_size: PositiveInt = 8,
    device: str | torch.device = "auto",
) -> Converted:
    """Convert one case: MR to synthetic CT in HU (or CT to synthetic MR), on the source's exact grid.

    The sidecar, and the pictures and the uncertainty map if wanted, are written beside the result. An older result of
    that name is replaced. To convert many volumes, or images in memory, use :func:`cyclegan_gc.load_model`.

    Args:
        checkpoint: run folder, checkpoint, exported weights or the name of a model: head-t1.
        source: a volume file or the folder of a DICOM series; for a model of several contrasts one file of each, in
            the order used in training.
        result: file to write, .nii, .nii.gz, .mha or .nrrd, int16, rounded; or, without a suffix, the folder of a
            DICOM series.
        direction: which generator to use.
        planes: planes to translate in and fuse; None for all that the model was trained on.
        mirror: also translate the mirrored slices and fuse.
        ensemble: more models to fuse with.
        fusion: mean or median of several translations.
        uncertainty: write their standard deviation in HU.
        reference_dicom: folder of the series that a volume file was made from, for a DICOM result.
        resample: axial writes the DICOM series on a new axial grid.
        series: description, protocol or UID of the series to take, where a folder holds several.
        force: convert even where the values look like the other modality.
        preview: png writes a PNG of three planes, interactive also a page to scroll through all slices.
        max_voxels: refuse larger volumes, from their headers.
        batch_size: slices per pass through the network.
        device: auto, cpu, cuda, cuda:N, mps or a torch.device.

    Returns:
        The outcome: result, warnings and verdict (``quality``).

    Raises:
        UserError: if an argument, the checkpoint or the volume cannot be used; one line.
    """
    check_arguments(convert_volume, locals())
    files = [named_path(each) for each in ([source] if isinstance(source, (str, Path)) else source)]
    result = Path(result)
    is_file = result.name.lower().endswith(WRITABLE)
    if not is_file and result.suffix:
        raise UserError(f"{result}: the result's name must end in {', '.join(WRITABLE)}, or have no suffix for DICOM")
    config = ConvertConfig(
        checkpoint=checkpoint_in(Path(checkpoint)),
        input=str(files[0]),
        output=result.parent,
        direction=direction,
        planes=None if planes is None else tuple(planes),
        mirror=mirror,
        ensemble=tuple(checkpoint_in(Path(path)) for path in ensemble),
        fusion=fusion,
        uncertainty=uncertainty,
        format="same" if is_file else "dicom",
        reference_dicom=None if reference_dicom is None else Path(reference_dicom),
        resample=resample,
        series=series,
        overwrite=True,
        force=force,
        preview=preview,
        max_voxels=max_voxels,
        batch_size=batch_size,
    )
    models = load_models([config.checkpoint, *config.ensemble], direction, config.planes, choose_device(str(device)))
    job = Job(_source(config, files, models[0].translator.source_contrasts), result)
    check_collisions([job])
    remove_leftovers(result.parent)
    conversion = Conversion(config, models, members_for(config, models), reference_series(config, [job]))
    outcome = write_case(conversion, translate_case(conversion, read_case(conversion, job)))
    if outcome.failure:
        raise VolumeError(outcome.failure)
    return outcome


def _source(config: ConvertConfig, files: Sequence[Path], contrasts: Sequence[str]) -> Source:
    """The one case of these files, or of a folder."""
    if len(files) != max(1, len(contrasts)):
        raise UserError(
            f"{config.checkpoint}: expects {', '.join(contrasts) or 'one volume'}, got {len(files)} files; "
            "give one of each"
        )
    if contrasts or is_volume(files[0]):
        return source_of(*files)
    found, _ = of_series(find_sources(files[0])[0], config.series, config.input, "series")
    cases, _ = of_kind_or_named(found, SOURCE_MODALITY[config.direction], config.series)
    if len(cases) != 1:
        raise UserError(f"{files[0]}: holds {len(cases)} cases to convert; give one file, or one series=")
    return cases[0]
