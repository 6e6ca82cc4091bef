"""What the README tells people to type is what the program takes."""

import re
import shlex
from functools import reduce
from pathlib import Path

import pytest
import yaml

import cyclegan_gc
from cyclegan_gc.cli import main
from cyclegan_gc.config import DataConfig, TrainConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
LINES = [line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]


def test_both_commands_of_the_set_up_are_there():
    assert {"./scripts/demo", "./scripts/test"} <= set(LINES)
    assert all((ROOT / name).stat().st_mode & 0o100 for name in ("scripts/demo", "scripts/test", ".ci/run"))


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("cyclegan-gc ")])
def test_every_command_is_accepted_and_lacks_nothing_but_the_data(line, monkeypatch, capsys, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(line)[1:]) == 2
    assert re.match(r"cyclegan-gc: (DIR|RUN)\S*: no such", capsys.readouterr().err)


def test_every_function_of_the_python_example_is_there():
    names = re.findall(r"cyclegan_gc\.(\w+)\(", "".join(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)))
    assert names and all(callable(getattr(cyclegan_gc, name)) for name in names)


def test_every_option_of_the_table_exists_with_that_default():
    options = re.findall(r"^\| `--([\w.]+)` \| `?([^`|]+?)`? \|", README, flags=re.MULTILINE)
    assert len(options) > 10
    for name, default in options:
        value = reduce(getattr, name.split("."), TrainConfig(Path("RUN"), DataConfig("MR", "CT")))
        assert yaml.safe_load(f"[{default.replace(' ', ', ')}]") == (
            list(value) if isinstance(value, tuple) else [value]
        ), name


def test_every_picture_and_file_it_names_is_there():
    for name in re.findall(r"\]\((\.github/[^)]+)\)|`(configs/[\w.]+)`", README):
        assert (ROOT / "".join(name)).is_file(), name
