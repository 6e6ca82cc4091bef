"""Small real volumes, made in the test run: phantoms on disk and, beside a checkout, the public heads."""

from pathlib import Path

import pytest

from cyclegan_gc.data.phantom import write_phantoms

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two MR and two CT training heads and one held-out pair."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, subjects=2, test_subjects=1, seed=7)
    return folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Public MR and CT volumes that lie beside the checkout, never inside it."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"public volumes are not at {REAL_DATA}")
    return REAL_DATA
