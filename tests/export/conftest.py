"""A network trained for a few steps, in a run folder whose names must not leave it."""

from dataclasses import replace
from pathlib import Path

import pytest

from cyclegan_gc.train.loop import train


@pytest.fixture(scope="session")
def run(small_config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("Doe_Jane") / "head_7"
    train(replace(small_config, output=folder, stop_at=3))
    return folder


@pytest.fixture(scope="session")
def source(phantoms) -> Path:
    return next((phantoms / "test" / "mr").iterdir())
