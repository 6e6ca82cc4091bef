"""Write a trained model for other programs."""

import json
from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import ExportConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.export.bundle import write_bundle
from cyclegan_gc.export.slices import write_onnx, write_torchscript
from cyclegan_gc.formats.files import make_folder
from cyclegan_gc.model_files import PRETRAINED
from cyclegan_gc.trained_model import load_model, save_model

NAME = "model"
"""Stem of the written files."""


def export(config: ExportConfig) -> list[str]:
    """Write a model in one format, and replace an older file of that name.

    Returns:
        Lines for the user: what was written and how it was checked.

    Raises:
        UserError: if the checkpoint cannot be used, the folder not be written, or an optional package is missing.
        StoppedError: if the written network gives other values than the trained one.
    """
    if config.output is None and config.checkpoint.parent == PRETRAINED:
        raise UserError(f"{config.checkpoint.stem}: a model of the package has no run folder; give --output")
    folder = config.output or config.checkpoint.parent / "export"
    model = load_model(config.checkpoint)
    make_folder(folder)
    try:
        if config.format == "weights":
            return write_shared_weights(config.checkpoint, folder / f"{NAME}.safetensors")
        if config.format == "onnx":
            return write_onnx(model, folder / f"{NAME}.onnx")
        if config.format == "torchscript":
            return write_torchscript(model, folder / f"{NAME}.ts")
        return write_bundle(config.checkpoint, model, folder / "bundle")
    except ModuleNotFoundError as error:
        raise UserError(
            f"--format {config.format} needs the package {error.name}; pip install 'cyclegan-gc[export]'"
        ) from error


def write_shared_weights(checkpoint: Path, path: Path) -> list[str]:
    """Write the weights file and, beside it, the JSON that it holds, for people."""
    facts = save_model(checkpoint, path)
    write_text(path.with_suffix(".json"), json.dumps(facts, indent=2) + "\n")
    return [f"{path}: {path.stat().st_size / 1e6:.1f} MB, the generators and their settings, no path and no name"]
