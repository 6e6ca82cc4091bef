"""A network trained for a few steps; it runs all code but its CTs are not realistic."""

from pathlib import Path

import pytest

from cyclegan_gc.config import DataConfig, NetworkConfig, OptimizerConfig, PreprocessConfig, TrainConfig, WandbConfig
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import Translator, load_model


@pytest.fixture(scope="session")
def checkpoint(phantoms, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    config = TrainConfig(
        output=folder,
        data=DataConfig(
            str(phantoms / "mr"), str(phantoms / "ct"), slice_axes=("axial", "coronal", "sagittal"), crop=(48, 40)
        ),
        steps=3,
        device="cpu",
        preprocess=PreprocessConfig(spacing_mm=4.0),
        network=NetworkConfig(width=4, blocks=1, stem="unshuffle", discriminator_width=4, discriminator_layers=1),
        optimizer=OptimizerConfig(ema_decay=0.5),
        wandb=WandbConfig(mode="disabled"),
    )
    return train(config)


@pytest.fixture(scope="session")
def translator(checkpoint) -> Translator:
    return load_model(checkpoint).translator


@pytest.fixture(scope="session")
def source(phantoms) -> Path:
    return next((phantoms / "test" / "mr").iterdir())
