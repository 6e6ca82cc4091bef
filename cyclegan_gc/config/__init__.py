"""Settings of every command, as frozen dataclasses.

Imports the package's errors and number types of jsonargparse, nothing heavy, so that ``--help`` answers at once.
"""

from cyclegan_gc.config.commands import (
    AuditConfig,
    AuditDataConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    ExportConfig,
    InfoConfig,
    ManifestConfig,
    PhantomConfig,
    SyncConfig,
)
from cyclegan_gc.config.data import DataConfig, PreprocessConfig, slab_channels
from cyclegan_gc.config.tracking import WandbConfig
from cyclegan_gc.config.training import (
    LossConfig,
    MonitorConfig,
    NetworkConfig,
    OptimizerConfig,
    PairedConfig,
    TrainConfig,
    public_settings,
)
from cyclegan_gc.config.values import SOURCE_MODALITY, Direction, Fusion, Preview, Scanner, SliceAxis

__all__ = [
    "SOURCE_MODALITY",
    "AuditConfig",
    "AuditDataConfig",
    "ConvertConfig",
    "DataConfig",
    "DemoConfig",
    "Direction",
    "EvaluateConfig",
    "ExportConfig",
    "Fusion",
    "InfoConfig",
    "LossConfig",
    "ManifestConfig",
    "MonitorConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "PairedConfig",
    "PhantomConfig",
    "PreprocessConfig",
    "Preview",
    "Scanner",
    "SliceAxis",
    "SyncConfig",
    "TrainConfig",
    "WandbConfig",
    "public_settings",
    "slab_channels",
]

DISCLAIMER = "Research use only; not a medical device."
