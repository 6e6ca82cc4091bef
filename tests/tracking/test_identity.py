"""Who a W&B run belongs to and what it is called, as W&B's own client reads it back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Table, Tracker, WandbRun, model_of, name_after
from cyclegan_gc.tracking.identity import identity
from cyclegan_gc.tracking.keys import wandb_key

OFFLINE = WandbConfig(mode="offline")
GIVEN = {"entity": "team", "project": "skulls", "group": "seeds", "name": "third", "tags": ("a", "b"), "notes": "slow"}
VARIABLES = {"entity": "ENTITY", "project": "PROJECT", "group": "RUN_GROUP", "name": "NAME", "notes": "NOTES"}


@pytest.fixture(autouse=True)
def without_variables(no_account, monkeypatch):
    for name in (*VARIABLES.values(), "TAGS", "RUN_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


def read_back(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder's offline run, printed by W&B's own program as a JSON object a line."""
    [file] = (folder / "wandb").glob("offline-run-*/*.wandb")
    words = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    printed = subprocess.run(words, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    return [json.loads(line) for line in printed.splitlines()]


def test_wandbs_own_client_reads_the_run_with_its_groups_name_and_table(tmp_path):
    tracker = Tracker(tmp_path, replace(OFFLINE, **GIVEN), {"seed": 3})
    tracker.log(10, {"cycle_mr": 0.5, "discriminator_ct_on_real": 0.75, "steps_per_second": 2.0})
    tracker.show(10, {"validation/cases": Table(["case", "score"], [["case-1", 1.5]])})
    tracker.close()
    records = read_back(tmp_path)
    [run] = [each["run"] for each in records if each["type"] == "run"]
    known = {"entity": "team", "project": "skulls", "run_group": "seeds", "display_name": "third", "notes": "slow"}
    assert known.items() <= run.items() and run["tags"] == ["a", "b"] and run["run_id"] == tracker.run_id
    figures, shown = (each["history"]["item"] for each in records if each["type"] == "history")
    values = {"loss/cycle_mr": 0.5, "discriminator/ct_on_real": 0.75, "speed/steps_per_second": 2, "global_step": 10}
    assert values.items() <= figures.items() and shown["validation/cases.nrows"] == 1


def test_variables_stand_in_for_options_and_the_settings_for_both(monkeypatch):
    assert identity(WandbConfig(), "cycle3-1a")["name"] == "cycle3-1a"
    assert identity(WandbConfig(), "cycle3-1a")["project"] == "cyclegan-gc"
    for name, variable in VARIABLES.items():
        monkeypatch.setenv(f"WANDB_{variable}", f"my {name}")
    monkeypatch.setenv("WANDB_TAGS", "x, y,")
    assert identity(WandbConfig(), "") == {**{name: f"my {name}" for name in VARIABLES}, "tags": ("x", "y")}
    assert identity(WandbConfig(**GIVEN), "") == GIVEN


def test_two_runs_of_the_same_settings_have_two_names(tmp_path, offline_runs):
    names = set()
    for folder in (tmp_path / "one", tmp_path / "other"):
        with WandbRun(folder, OFFLINE, {}, job_type="train", name="cycle3-gc0.3") as run:
            pass
        [offline] = offline_runs(folder)
        names.add(offline.of("run")[0].display_name)
        assert offline.of("run")[0].display_name == f"cycle3-gc0.3-{run.run_id}"
        assert offline.config["model"] == f"model-{run.run_id}"
    assert len(names) == 2


def test_a_conversion_is_named_after_its_model():
    artifacts, hashes = ["model-1a2b:step-300"], ["0123456789abcdef"]
    assert name_after("convert", artifacts, hashes) == "convert-model-1a2b-step-300"
    assert name_after("convert", [], hashes) == "convert-model-01234567"
    assert name_after("convert", [*artifacts, "model-3c4d:step-300"], hashes) == "convert-2-models"
    assert name_after("evaluate", [], []) == "evaluate"
    assert model_of(artifacts) == "model-1a2b" and model_of([]) is None
    assert model_of(["model-1a2b:step-300", "model-3c4d:step-300"]) is None


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("generator", "loss/generator"),
        ("gradient_mr", "loss/gradient_mr"),
        ("paired_l1", "loss/paired_l1"),
        ("discriminator_mr_on_fake", "discriminator/mr_on_fake"),
        ("paired_discriminator", "discriminator/paired"),
        ("paired_discriminator_on_real", "discriminator/paired_on_real"),
        ("gradient_norm_generators", "optim/gradient_norm_generators"),
        ("learning_rate_discriminators", "optim/learning_rate_discriminators"),
        ("memory_gb", "speed/memory_gb"),
        ("watchdog/identity", "watchdog/identity"),
    ],
)
def test_a_figure_has_the_key_of_its_group(name, key):
    assert wandb_key(name) == key
