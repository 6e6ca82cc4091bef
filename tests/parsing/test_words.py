"""Flags without a value, lists without brackets and advice on unknown words, through the parser itself."""

from pathlib import Path
from typing import Any

import pytest

from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing import parse
from cyclegan_gc.parsing.catalogue import COMMANDS
from cyclegan_gc.parsing.settings import settings_of

TRAIN = "train --data.mr A --data.ct B --output RUN"
CONVERT = "convert IN OUT --checkpoint RUN"


def parsed(line: str) -> Any:
    return parse(line.split())[1]


def setting(line: str, name: str) -> Any:
    value = parsed(line)
    for part in name.split("."):
        value = getattr(value, part)
    return value


def refusal(line: str) -> str:
    with pytest.raises(UserError) as error:
        parsed(line)
    return str(error.value)


NEEDED = {
    "audit": "--data.mr A --data.ct B",
    "train": "--data.mr A --data.ct B --output RUN --optimizer.batch_size 2",
    "convert": "IN OUT --checkpoint RUN",
    "export": "RUN --format weights",
    "info": "FILE",
    "manifest": "merge OUT",
    "evaluate": "--predicted A --reference B --output OUT",
    "sync": "RUN",
    "phantom": "OUT",
    "demo": "",
}
FLAGS = [
    (command, name)
    for command, each in COMMANDS.items()
    for name, setting in settings_of(each.config).items()
    if setting.type is bool
]


@pytest.mark.parametrize(("command", "name"), FLAGS)
def test_every_yes_or_no_setting_works_as_a_bare_flag_and_with_a_value(command, name):
    line = f"{command} {NEEDED[command]}"
    assert setting(f"{line} --{name}", name) is True
    for value, expected in (("true", True), ("yes", True), ("false", False), ("no", False)):
        assert setting(f"{line} --{name} {value}", name) is expected
        assert setting(f"{line} --{name}={value}", name) is expected


def test_a_bare_flag_leaves_the_positional_arguments_alone():
    config = parsed("convert --force IN --overwrite OUT --checkpoint RUN --uncertainty")
    assert (config.input, config.output, config.force, config.overwrite) == ("IN", Path("OUT"), True, True)


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        (f"{TRAIN} --data.crop 192 160", "data.crop", (192, 160)),
        (f"{TRAIN} --data.crop=[192,160]", "data.crop", (192, 160)),
        (f"{TRAIN} --preprocess.ct_window_hu -1000 3000", "preprocess.ct_window_hu", (-1000.0, 3000.0)),
        (f"{TRAIN} --preprocess.mr_percentiles 1 99.5", "preprocess.mr_percentiles", (1.0, 99.5)),
        (f"{TRAIN} --optimizer.betas 0.5 0.9", "optimizer.betas", (0.5, 0.9)),
        (f"{TRAIN} --data.slice_axes axial coronal", "data.slice_axes", ("axial", "coronal")),
        (f"{TRAIN} --data.slice_axes=coronal", "data.slice_axes", ("coronal",)),
        (f"{TRAIN} --data.contrasts _T1w _T2w", "data.contrasts", ("_T1w", "_T2w")),
        (f"{CONVERT} --ensemble b.pt c.pt", "ensemble", (Path("b.pt"), Path("c.pt"))),
        (f"{CONVERT} --ensemble b.pt --mirror", "ensemble", (Path("b.pt"),)),
        (f"{CONVERT} --planes axial coronal", "planes", ("axial", "coronal")),
        ("audit --data.mr A --data.ct B --data.slice_axes sagittal", "data.slice_axes", ("sagittal",)),
    ],
)
def test_lists_need_no_brackets(line, name, expected):
    assert setting(line, name) == expected


def test_a_list_in_brackets_and_quotes_still_works():
    words = [*TRAIN.split(), "--data.crop", "[192, 160]", "--data.slice_axes", "[axial, coronal]"]
    config = parse(words)[1]
    assert config.data.crop == (192, 160) and config.data.slice_axes == ("axial", "coronal")


def test_paths_of_a_list_may_hold_spaces_colons_and_brackets_after_the_first_letter():
    config = parse([*CONVERT.split(), "--ensemble", "my model: a.pt", "b[1], c.pt", "ü.pt"])[1]
    assert config.ensemble == (Path("my model: a.pt"), Path("b[1], c.pt"), Path("ü.pt"))


def test_a_list_of_choices_ends_at_another_word_and_numbers_after_their_count():
    for line in (
        "convert --planes axial coronal IN OUT --checkpoint RUN",
        "convert IN --planes axial OUT --checkpoint R",
    ):
        config = parsed(line)
        assert (config.input, config.output) == ("IN", Path("OUT"))
    assert "unexpected word 3" in refusal(f"{TRAIN} --data.crop 64 64 3")


def test_hyphens_stand_for_underscores():
    assert setting(f"{CONVERT} --max-voxels 7 --batch-size=3", "max_voxels") == 7
    assert setting(f"{TRAIN} --data.validation-fraction 0.5", "data.validation_fraction") == 0.5


MEANT = {
    "--lr 1": "--optimizer.learning_rate",
    "--learning_rate=1": "--optimizer.learning_rate",
    "--epochs 3": "--steps",
    "--mr A": "--data.mr",
    "--ct A": "--data.ct",
    "--batch_size 4": "--optimizer.batch_size",
    "--gpu 0": "--device",
    "--out A": "--output",
    "-o A": "--output",
    "--crop 3 4": "--data.crop",
    "--loss.cycles 3": "--loss.cycle",
    "--losss.cycle 3": "--loss.cycle",
    "--seeed 3": "--seed",
    "--gradient 1": "--loss.gradient or --paired.gradient",
}


@pytest.mark.parametrize(("typed", "meant"), MEANT.items())
def test_a_wrong_word_meets_the_option_that_was_meant(typed, meant):
    assert refusal(f"{TRAIN} {typed}") == f"unknown option {typed.split()[0].split('=')[0]}; did you mean {meant}?"


def test_an_option_that_stands_without_its_name_is_explained():
    assert refusal("convert IN --output OUT --checkpoint RUN") == "unknown option --output; give OUTPUT without a name"
    assert refusal(f"{CONVERT} --model B").endswith("did you mean --checkpoint?")


def test_a_word_like_no_option_points_to_the_help():
    assert refusal(f"{TRAIN} --xyz 3") == "unknown option --xyz; see --help"


def test_a_misspelt_choice_in_a_list_is_named_with_the_choices():
    for words in ("convert IN OUT --checkpoint RUN --planes axial coronl", "convert --planes axial coronl IN OUT"):
        assert refusal(words) == "--planes coronl: choose from axial, coronal, sagittal"


def test_words_that_a_list_has_taken_are_told_where_to_stand():
    told = refusal("convert --checkpoint RUN --ensemble B.pt IN OUT")
    assert told == "INPUT and OUTPUT are missing; give this before --ensemble, which takes all words that follow it"


def test_the_negation_of_a_flag_is_told_how_to_write_it():
    assert refusal(f"{CONVERT} --no-mirror") == "unknown option --no-mirror; write --mirror false"
