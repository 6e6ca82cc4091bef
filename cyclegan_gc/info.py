"""Describe a volume, a DICOM series or a model in a few lines, without a GPU."""

from pathlib import Path

import numpy as np

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import axis_directions
from cyclegan_gc.formats.sources import Source, find_sources, read_files
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt")
RUN_CHECKPOINTS = ("last.pt", "best.pt")


def describe(path: Path) -> tuple[list[str], list[str]]:
    """Lines of ``name: value`` for a volume, a model, or each case of a folder; and the cases that cannot be read.

    Raises:
        UserError: if a single file cannot be read; one line.
    """
    if path.name.lower().endswith(CHECKPOINT_SUFFIXES):
        return _checkpoint_lines(path), []
    if models := [path / name for name in RUN_CHECKPOINTS if (path / name).is_file()]:
        return [line for model in models for line in _checkpoint_lines(model)], []
    lines, failures = [], []
    sources, left_out = find_sources(path)
    for source in sources:
        try:
            lines += _source_lines(source)
        except VolumeError as error:
            if len(sources) == 1:
                raise
            failures.append(str(error))
    return [*lines, *(f"{each.label}: {each.reason}" for each in left_out)], failures


def _source_lines(source: Source) -> list[str]:
    volume = read_files(source.readable_files(), MAX_VOXELS, source.frames)
    kind = "volume" if source.series is None else f"DICOM series of {len(source.files)} files"
    return [f"{source.label}: {kind}", *_volume_lines(volume)]


def _volume_lines(volume: Volume) -> list[str]:
    array = volume.array
    quantiles = np.percentile(array, (1, 50, 99))
    return [
        f"  shape: {' x '.join(map(str, array.shape))}",
        f"  voxel size: {' x '.join(f'{mm:.4g}' for mm in volume.spacing_mm)} mm",
        f"  axes run to: {axis_directions(volume.affine)}",
        f"  values: {array.min():g} to {array.max():g}; 1, 50 and 99 %: {', '.join(f'{q:.4g}' for q in quantiles)}",
        *(f"  warning: {warning}" for warning in volume.warnings),
    ]


def _checkpoint_lines(path: Path) -> list[str]:
    from cyclegan_gc.checkpoint import load_checkpoint

    state = load_checkpoint(path)
    config, known = state["config"], state["fingerprint"]
    network, preprocess = config["network"], config["preprocess"]
    spacings = np.array([case["spacing_mm"] for case in known["mr"]])
    weights = config["paired"] if config["objective"] == "paired" else config["loss"]
    terms = (
        ("l1", "gradient") if config["objective"] == "paired" else ("cycle", "gradient", "identity", "depth_histogram")
    )
    return [
        f"{path.name}: checkpoint at step {state['step']} of {config['steps']}, {config['objective']} objective",
        f"  slices: {', '.join(config['data']['slice_axes'])}, {' x '.join(map(str, config['data']['crop']))} pixels",
        f"  pixel size: {preprocess['spacing_mm'] or 'of each volume'} mm; CT window {preprocess['ct_window_hu']} HU",
        f"  generator: width {network['width']}, {network['blocks']} blocks, reduction {network['reduction']}",
        *([f"  contrasts: {', '.join(config['data']['contrasts'])}"] if config["data"]["contrasts"] else []),
        f"  trained on {len(known['mr'])} MR of {spacings.min():.3g} to {spacings.max():.3g} mm voxels and "
        f"{len(known['ct'])} CT",
        f"  loss: {', '.join(f'{name} {weights[name]}' for name in terms)}",
    ]
