"""The wheel holds all that its use away from the clone needs."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution, version
from pathlib import Path

import pytest
import yaml

from cyclegan_gc import __version__
from cyclegan_gc.parsing import parse

ROOT = Path(__file__).parents[1]
TRAIN = ["train", "--data.mr", "MR", "--data.ct", "CT", "--output", "RUN"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The content of the wheel that is built by way of a source distribution, as ``python -m build`` does it."""
    folder = tmp_path_factory.mktemp("wheel")
    clone, ignore = folder / "clone", shutil.ignore_patterns("__pycache__")
    for name in ("cyclegan_gc", "configs"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".github/CHANGELOG.md"):
        (clone / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    if int(version("setuptools").split(".")[0]) < 77:
        pytest.skip("building a wheel offline needs setuptools 77")
    pack = [sys.executable, "-c", "from setuptools.build_meta import build_sdist; build_sdist('..')"]
    subprocess.run(pack, cwd=clone, capture_output=True, check=True)
    [source] = folder.glob("*.tar.gz")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", "."]
    subprocess.run([*build, source], cwd=folder, capture_output=True, check=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_the_wheel_says_its_version_its_command_and_its_changes(installed):
    [folder] = installed.glob("*.dist-info")
    wheel = PathDistribution(folder)
    assert wheel.version == __version__ and wheel.metadata["License-Expression"] == "Apache-2.0"
    assert [(each.name, each.value) for each in wheel.entry_points] == [("cyclegan-gc", "cyclegan_gc.cli:main")]
    changes = (ROOT / ".github" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert (folder / "METADATA").read_text(encoding="utf-8").endswith(changes)


def test_the_citation_has_the_version_of_the_package():
    assert f"version = {{{__version__}}}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_wheel_has_the_presets_the_models_the_page_of_slices_and_the_mark_of_types(installed):
    package = installed / "cyclegan_gc"
    presets = {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert {path.name for path in (package / "pretrained").iterdir()} >= {"head-t1.safetensors", "README.md"}
    assert (package / "py.typed").is_file() and {path.name for path in (package / "presets").iterdir()} >= presets
    assert (package / "pictures" / "viewer.html").is_file()
    assert not {path.name for path in installed.iterdir()} & {"configs", "presets", "tests", "scripts"}


def test_a_preset_is_named_away_from_the_clone(installed, tmp_path):
    words = [sys.executable, "-m", "cyclegan_gc.cli", *TRAIN, "--config", "head", "--print_config"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    printed = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    preset = yaml.safe_load((ROOT / "configs" / "head.yaml").read_text())
    assert yaml.safe_load(printed)["network"].items() >= preset["network"].items()


def test_the_name_of_a_preset_is_its_file_unless_a_file_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse([*TRAIN, "--config", "head"]) == parse([*TRAIN, "--config", str(ROOT / "configs" / "head.yaml")])
    (tmp_path / "head").write_text("steps: 7\n")
    assert parse([*TRAIN, "--config=head"])[1].steps == 7
