"""The parameters of the sweep are options of `train`, and its command starts a training."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from wandb.sdk.launch.sweeps import utils

from cyclegan_gc.cli import main

ROOT = Path(__file__).parents[1]
SWEEP: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
NEEDED = ["--data.mr", "A", "--data.ct", "B", "--output", "RUN"]


def values_of(parameter: dict[str, Any]) -> list[Any]:
    """The two ends of a range, or every choice."""
    return parameter.get("values") or [parameter["min"], parameter["max"]]


FLAGS = [(name, value) for name, parameter in SWEEP["parameters"].items() for value in values_of(parameter)]


@pytest.mark.parametrize(("name", "value"), FLAGS)
def test_every_parameter_is_a_flag_of_train(capsys, name, value):
    assert main(["train", *NEEDED, f"--{name}={value}", "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    section, key = name.split(".")
    assert settings[section][key] == value


def test_an_unknown_parameter_is_refused(capsys):
    assert main(["train", *NEEDED, "--loss.cycles=3", "--print_config"]) == 2
    assert "did you mean --loss.cycle?" in capsys.readouterr().err


def test_the_sweep_is_bayesian_stops_trials_early_and_minimises_the_score():
    assert SWEEP["method"] == "bayes" and SWEEP["early_terminate"]["type"] == "hyperband"
    assert SWEEP["metric"] == {"name": "validation/score", "goal": "minimize"}
    assert set(SWEEP["parameters"]) == {
        "loss.cycle", "loss.gradient", "loss.gradient_mode", "optimizer.learning_rate",
    }  # fmt: skip


def test_the_agents_command_starts_a_training_with_the_parameters_in_a_folder_of_its_own(tmp_path):
    """W&B's own function builds the agent's command line; --print_config stops it before any training."""
    chosen = {name: {"value": values_of(parameter)[0]} for name, parameter in SWEEP["parameters"].items()}
    arguments = utils.create_sweep_command_args({"args": chosen})["args"]
    command = [w for word in SWEEP["command"] for w in (arguments if word == "${args}" else [word])]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # as in an activated environment
    environment = {**os.environ, "PATH": path, "MR": "A", "CT": "B", "RUNS": str(tmp_path), "WANDB_RUN_ID": "abc"}
    run = subprocess.run([*command, "--print_config"], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    settings = yaml.safe_load(run.stdout)
    assert settings["output"] == f"{tmp_path}/abc" and settings["wandb"]["mode"] == "online"
    for name, parameter in chosen.items():
        section, key = name.split(".")
        assert settings[section][key] == parameter["value"]
