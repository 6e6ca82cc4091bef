"""Wrong values, missing options and files of settings, each answered in one line; the audit takes training presets."""

from pathlib import Path
from typing import Any

import pytest

from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing import parse
from cyclegan_gc.parsing.presets import CONFIG_HELP

TRAIN = "train --data.mr A --data.ct B --output RUN"
ROOT = Path(__file__).parents[2]
PRESETS = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if path.stem != "sweep"]


def parsed(line: str) -> Any:
    return parse(line.split())[1]


def refusal(line: str) -> str:
    with pytest.raises(UserError) as error:
        parsed(line)
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "convert IN OUT",
            "--checkpoint is missing: give a run folder (its last.pt), a checkpoint, exported weights or "
            "the name of a model: head-t1",
        ),
        ("convert IN OUT --checkpoint RUN --resample x", "--resample x: give axial"),
        ("convert IN", "OUTPUT and --checkpoint are missing; --help explains them"),
        (
            "info",
            "FILE is missing: give a volume, a DICOM file, a folder, a checkpoint, a run folder or "
            "the name of a model: head-t1",
        ),
        (
            "evaluate --predicted A --reference B",
            "--output is missing: folder for report.html, cases.csv, evaluation.json, "
            "and tables and figures for papers",
        ),
    ],
)
def test_what_is_missing_is_named_as_it_is_typed(line, said):
    assert refusal(line) == said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--steps many", "--steps many: give a whole number above 0"),
        ("--steps=0", "--steps 0: give a whole number above 0"),
        ("--steps", "--steps: its value is missing; give a whole number above 0"),
        ("--stop_at -3", "--stop_at -3: give a whole number above 0"),
        ("--loss.cycle -1", "--loss.cycle -1: give a number, 0 or above"),
        ("--data.scale 2", "--data.scale 2: give a number from 0 to 1"),
        ("--loss.gradient_mode abs", "--loss.gradient_mode abs: give absolute or signed"),
        ("--network.reduction 3", "--network.reduction 3: give 2 or 4"),
        ("--data.slice_axes axal", "--data.slice_axes axal: give one or more of axial, coronal or sagittal"),
        ("--data.crop 64", "--data.crop: give 2 values, each a whole number above 0, got 64"),
        ("--data.crop 64 x", "--data.crop 64 x: give 2 values, each a whole number above 0"),
        ("--optimizer.betas 0.5 2", "--optimizer.betas 0.5 2: give 2 values, each a number between 0 and 1"),
        ("--preprocess.n4 maybe", "--preprocess.n4 maybe: give true or false"),
        ("--data.resident maybe", "--data.resident maybe: give auto, true or false"),
        ("--data.crop 63 64", "--data.crop must be multiples of 4, got (63, 64)"),
        ("word", "unexpected word word; the name of an option begins with --"),
    ],
)
def test_a_wrong_value_is_told_with_its_option_and_what_is_allowed(typed, said):
    assert refusal(f"{TRAIN} {typed}") == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: many", "steps in {}: give a whole number above 0"),
        ("data: {crop: [1, x]}", "data.crop in {}: give 2 values, each a whole number above 0"),
        ("network: 3", "network: is a group of settings, got 3; see --print_config"),
    ],
)
def test_a_fault_in_a_file_of_settings_is_told_with_its_key_and_the_file(tmp_path, text, said):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    assert refusal(f"{TRAIN} --config {file}") == said.format(file)


def test_a_broken_or_absent_file_of_settings_is_named(tmp_path):
    broken = tmp_path / "broken.yaml"
    broken.write_text("steps: [")
    assert refusal(f"{TRAIN} --config {broken}").startswith(f"settings in {broken}: not valid YAML: ")
    assert refusal(f"{TRAIN} --config {tmp_path}/none.yaml") == f"--config: {tmp_path}/none.yaml: no such file"
    for command in ("audit", "train"):
        broken.write_bytes(b"\xff\xfe\x00")
        assert refusal(f"{command} --config {broken}") == "--config: not a UTF-8 text file; give a YAML file"


def test_the_help_names_every_preset_and_the_sweep_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    *others, last = (path.stem for path in PRESETS)
    assert f"preset: {', '.join(others)} or {last}." in CONFIG_HELP
    for path in PRESETS:
        assert parsed(f"{TRAIN} --config {path.stem}") == parsed(f"{TRAIN} --config {path}")
    for command in ("audit --data.mr A --data.ct B", TRAIN):
        assert refusal(f"{command} --config sweep") == f"--config: {tmp_path}/sweep: no such file"


def test_the_command_comes_first():
    assert refusal("--device cpu train").startswith("--device: give a command first")
    assert refusal("trian").endswith("did you mean train?")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_an_audit_takes_the_settings_of_a_training_preset_that_concern_it(preset, form):
    audit = parsed(f"audit {form.format(preset)} --data.mr A --data.ct B")
    trained = parsed(f"{TRAIN} --config {preset}")
    assert audit.preprocess == trained.preprocess
    assert audit.data.slice_axes == trained.data.slice_axes
    assert audit.data.validation_fraction == trained.data.validation_fraction
    assert audit.output == Path("audit")


def test_options_override_a_preset_in_an_audit_and_paths_may_stand_in_it(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("output: RUN\nsteps: 9\ndata: {mr: A, ct: B, crop: [64, 64]}\npreprocess: {spacing_mm: 2}\n")
    audit = parsed(f"audit --config {preset} --preprocess.spacing_mm 3")
    assert (audit.data.mr, audit.data.ct, audit.preprocess.spacing_mm) == ("A", "B", 3.0)
    assert audit.output == Path("audit"), "the output of a training is no place for an audit"


def test_the_settings_of_an_audit_itself_are_taken_whole(tmp_path):
    own = tmp_path / "audit.yaml"
    own.write_text("output: HERE\ndata: {mr: A, ct: B}\n")
    assert parsed(f"audit --config {own}").output == Path("HERE")


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("stepss: 3\nnetwork: {width: 4}", "stepss", "steps"),
        ("data: {crops: [4, 4]}", "data.crops", "data.crop"),
        ("datta: {mr: A}", "datta.mr", "data.mr"),
    ],
)
@pytest.mark.parametrize("command", ["audit", "train"])
def test_a_misspelt_key_of_a_preset_is_refused_by_the_training_and_the_audit(tmp_path, command, text, key, meant):
    preset = tmp_path / "bad.yaml"
    preset.write_text(text)
    said = refusal(f"{command} --data.mr A --data.ct B --output OUT --config {preset}")
    assert said == f"unknown setting {key} in {preset}; did you mean {meant}?"


def test_options_of_training_alone_are_refused_by_an_audit():
    assert refusal("audit --data.mr A --data.ct B --data.crop 64 64").startswith("unknown option --data.crop")
