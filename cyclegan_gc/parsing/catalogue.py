"""The commands, each with its settings, examples and most important options."""

from collections.abc import Mapping
from typing import NamedTuple

from cyclegan_gc import config


class Command(NamedTuple):
    """One command of the command line."""

    config: type
    examples: Mapping[str, str]
    """Purpose of each example -> its words."""
    positional: tuple[str, ...] = ()
    """Settings that are given without their names, in this order."""
    leading: tuple[str, ...] = ()
    """Options that the help shows first."""


COMMANDS = {
    "audit": Command(
        config.AuditConfig,
        {"Check the volumes of a training": "audit --config configs/head.yaml --data.mr MR --data.ct CT"},
        leading=("config", "data.mr", "data.ct", "output"),
    ),
    "train": Command(
        config.TrainConfig,
        {
            "Train on unpaired volumes": "train --config configs/head.yaml --data.mr MR --data.ct CT --output RUN",
            "Continue after an interruption": (
                "train --config configs/head.yaml --data.mr MR --data.ct CT --output RUN --resume auto"
            ),
            "Train on registered pairs alone": (
                "train --config configs/head.yaml --objective paired --data.pairs PAIRS --output RUN"
            ),
        },
        leading=(
            "config",
            "data.mr",
            "data.ct",
            "output",
            "steps",
            "resume",
            "device",
            "data.slice_axes",
            "data.crop",
            "preprocess.spacing_mm",
            "optimizer.batch_size",
            "wandb.mode",
        ),
    ),
    "convert": Command(
        config.ConvertConfig,
        {
            "Convert a folder of MR volumes": "convert DIR/mr DIR/sct --checkpoint RUN",
            "Fuse three planes and write their standard deviation": (
                "convert DIR/mr DIR/sct --checkpoint RUN --planes axial coronal sagittal --uncertainty"
            ),
            "Write a DICOM series": "convert DIR/study DIR/sct --checkpoint RUN --format dicom",
        },
        positional=("input", "output"),
        leading=("checkpoint", "planes", "format", "overwrite", "device"),
    ),
    "export": Command(
        config.ExportConfig,
        {
            "Write the weights to share": "export RUN --format weights",
            "Write a MONAI bundle": "export RUN --format bundle --output DIR/export",
        },
        positional=("checkpoint",),
    ),
    "info": Command(
        config.InfoConfig,
        {
            "Describe a volume": "info DIR/head.nii.gz",
            "List the series of a DICOM export": "info DIR/export",
            "Describe a model": "info RUN",
        },
        positional=("file",),
    ),
    "manifest": Command(
        config.ManifestConfig,
        {"Merge the parts of a batch": "manifest merge DIR/sct"},
        positional=("action", "output"),
    ),
    "evaluate": Command(
        config.EvaluateConfig,
        {
            "Compare synthetic CTs with true CTs": (
                "evaluate --predicted DIR/sct --reference DIR/ct --mr DIR/mr --output DIR/evaluation"
            ),
        },
        leading=("predicted", "reference", "output", "mr", "mask"),
    ),
    "sync": Command(config.SyncConfig, {"Send a training": "sync RUN"}, positional=("run",)),
    "phantom": Command(
        config.PhantomConfig, {"Generate heads": "phantom DIR/phantoms --subjects 8"}, positional=("output",)
    ),
    "demo": Command(config.DemoConfig, {"Run the demo": "demo --output DIR/demo"}),
}
