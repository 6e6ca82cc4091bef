"""Describe a volume, a folder of volumes and DICOM series, or a model, without a GPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.header import open_dicom, text_of
from cyclegan_gc.formats.geometry import axis_directions
from cyclegan_gc.formats.selection import left_out_lines, title_of
from cyclegan_gc.formats.sources import Source, find_sources, read_files, source_grid
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume
from cyclegan_gc.model_files import BEST, LAST, checkpoint_in
from cyclegan_gc.text_table import aligned

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
COLUMNS = {
    "case": "case",
    "modality": "modality",
    "description": "description",
    "voxels": "voxels",
    "spacing_mm": "mm",
    "contrast_agent": "contrast agent",
}
"""Fact -> its heading in the table."""


@dataclass(frozen=True)
class Description:
    """What a path holds."""

    lines: list[str]
    """For people."""
    facts: dict[str, Any]
    """For programs: ``models``, or ``cases``, ``left_out`` and ``failed``."""
    failures: list[str] = field(default_factory=list)
    """A line for each case that cannot be read."""


def describe(path: Path, *, headers_only: bool = False) -> Description:
    """A model, or every case of a file or a folder; a single case is read, unless ``headers_only``, of several never.

    Raises:
        UserError: if a single file cannot be read; one line.
    """
    models = [path / name for name in (LAST, BEST) if (path / name).is_file()]
    file = path if path.is_dir() else checkpoint_in(path)
    if models or file.name.lower().endswith(CHECKPOINT_SUFFIXES):
        return _described_models(models or [file])
    sources, left_out = find_sources(path)
    cases, failures = [], []
    patients = list(dict.fromkeys(s.series.patient for s in sources if s.series and s.series.patient))
    for source in sources:
        try:
            cases.append(_facts(source, patients))
        except VolumeError as error:
            if len(sources) == 1:
                raise
            failures.append(str(error))
    lines = _table(cases) if headers_only or len(sources) > 1 else _source_lines(sources[0])
    facts = {"cases": cases, "left_out": [each._asdict() for each in left_out], "failed": failures}
    return Description([*lines, *left_out_lines(left_out)], facts, failures)


def _described_models(paths: Sequence[Path]) -> Description:
    from cyclegan_gc.trained_model import read_state  # torch is slow to import, and volumes do not need it

    states = {path: read_state(path) for path in paths}
    lines = [line for path, state in states.items() for line in _checkpoint_lines(path, state)]
    facts = [{"file": path.name, "step": state["step"], "config": state["config"]} for path, state in states.items()]
    return Description(lines, {"models": facts})


def _facts(source: Source, patients: Sequence[str]) -> dict[str, Any]:
    """What the headers of a case say; the patient is a number, since a hash can be undone by trial."""
    shape, affine = source_grid(source)
    facts = {
        "case": source.label,
        "files": len(source.files),
        "voxels": list(shape),
        "spacing_mm": [round(float(mm), 4) for mm in np.linalg.norm(affine[:3, :3], axis=0)],
    }
    if source.series is None:
        return facts
    agent = text_of(open_dicom(source.files[0], tags=["ContrastBolusAgent"]), "ContrastBolusAgent")
    series = source.series
    return {
        **facts,
        "modality": series.kind,
        "description": title_of(source),
        "protocol": series.protocol,
        "contrast_agent": agent.strip(),
        "series": series.uid,
        "patient": patients.index(series.patient) + 1 if series.patient else None,
    }


def _table(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """A heading and a line for each case."""
    return aligned([list(COLUMNS.values()), *([_cell(case.get(name, "")) for name in COLUMNS] for case in cases)])


def _cell(value: str | Sequence[float]) -> str:
    return value if isinstance(value, str) else " x ".join(f"{number:.4g}" for number in value)


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


def _checkpoint_lines(path: Path, state: Mapping[str, Any]) -> list[str]:
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
        f"  pixel size: {preprocess['spacing_mm'] or 'of each volume'} mm; {_window(preprocess)}",
        f"  generator: width {network['width']}, {network['blocks']} blocks, reduction {network['reduction']}",
        *([f"  contrasts: {', '.join(config['data']['contrasts'])}"] if config["data"]["contrasts"] else []),
        f"  trained on {len(known['mr'])} MR of {spacings.min():.3g} to {spacings.max():.3g} mm voxels and "
        f"{len(known['ct'])} CT",
        f"  loss: {', '.join(f'{name} {weights[name]}' for name in terms)}",
    ]


def _window(preprocess: Mapping[str, Any]) -> str:
    """The CT window in words."""
    soft = preprocess.get("soft_tissue_hu")
    return f"CT window {preprocess['ct_window_hu']} HU{f', half of it for {soft} HU' if soft else ''}"
