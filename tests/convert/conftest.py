"""A network trained for a few steps; it runs all code but its CTs are not realistic."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.config import DataConfig, NetworkConfig, OptimizerConfig, PreprocessConfig, TrainConfig, WandbConfig
from cyclegan_gc.formats.volumes import read_volume
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


@pytest.fixture
def thick_slices(source, tmp_path) -> Path:
    """Every fourth axial slice of a head."""
    path = tmp_path / "thick_slices.nii.gz"
    nib.save(nib.as_closest_canonical(nib.load(source)).slicer[:, :, ::4], path)
    return path


@pytest.fixture
def folder(source, tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    shutil.copy(source, tmp_path / "in" / "a.nii.gz")
    return tmp_path / "in"


@pytest.fixture
def series(source, slices_of, write_series, tmp_path) -> Path:
    """A folder that holds a head as a DICOM series."""
    array = read_volume(source).array
    pixels = np.clip(array * 900 / array.max(), 0, 900).astype(np.int16).transpose(1, 0, 2)
    write_series(tmp_path / "dicom" / "T1", slices_of(pixels, "axial", (2.7, 2.7, 2.7)))
    return tmp_path / "dicom"
