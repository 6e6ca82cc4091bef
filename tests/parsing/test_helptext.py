"""Every help page in a person's words: examples, placeholders, short group titles and the text of every setting."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from cyclegan_gc.cli import main
from cyclegan_gc.parsing import parse
from cyclegan_gc.parsing.catalogue import COMMANDS
from cyclegan_gc.parsing.settings import sections_of, settings_of, texts_of

EXAMPLES = [(command, words) for command, each in COMMANDS.items() for words in each.examples.values()]


@pytest.fixture
def page(capsys, monkeypatch):
    """The help of a command, 100 columns wide."""

    def show(*words: str) -> str:
        monkeypatch.setenv("COLUMNS", "100")
        assert main([*words, "--help"]) == 0
        return capsys.readouterr().out

    return show


def titles(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.endswith(":") and not line.startswith((" ", "Examples"))]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_shows_no_word_of_the_programming_language(page, command):
    text = page(command)
    for word in (
        "<class",
        "typing",
        "Literal",
        "tuple",
        "jsonargparse",
        "PositiveInt",
        "Interval",
        "ITEM",
        "null",
        "``",
    ):
        assert word not in text, word
    assert all(len(line) <= 105 for line in text.splitlines())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_setting_has_its_text_and_stands_in_the_help_once(page, command):
    text, each = page(command), COMMANDS[command]
    flat = " ".join(text.split())
    for name, setting in settings_of(each.config).items():
        assert setting.text and setting.text in flat, name
        heading = rf"^  {name.upper()} " if name in each.positional else rf"^  --{re.escape(name)}( |$)"
        assert len(re.findall(heading, text, flags=re.MULTILINE)) == 1, name
    texts = texts_of(each.config)
    for name in sections_of(each.config):
        assert texts.get(name, "") in flat, name


@pytest.mark.parametrize("command", COMMANDS)
def test_groups_have_short_titles_and_end_with_the_configuration(page, command):
    found = titles(page(command))
    assert found[-1] == "Help and configuration:"
    assert all(len(title) < 55 and "," not in title for title in found)


def test_the_help_of_train_begins_with_three_examples_and_the_twelve_options_that_matter(page):
    text = page("train")
    examples, leading = text.index("Examples:"), text.index("Options that matter most:")
    after = text.index("More options:")
    assert text.count("\n    cyclegan-gc train ", examples, leading) == 3
    assert len(re.findall(r"^  --", text[leading:after], flags=re.MULTILINE)) == 12
    assert text.startswith("usage: cyclegan-gc train --output PATH [options]\n")


def test_placeholders_and_defaults_are_readable(page):
    text = page("train")
    for heading in (
        "--data.mr PATH",
        "--steps NUMBER",
        "--data.crop NUMBER NUMBER",
        "--data.slice_axes {axial,coronal,sagittal} ...",
        "--data.flip {true,false}",
        "--data.resident {auto,true,false}",
        "--wandb.group NAME",
        "--data.mr_series PATTERN",
    ):
        assert f"  {heading}" in text, heading
    assert "  --compile  " in text and "(default: 256 256)" in text and "(default: 600)" in text
    assert "--output PATH" in text and "(required)" in text
    assert "  --ensemble PATH ..." in page("convert") and "  --series PATTERN" in page("convert")


def test_positional_arguments_have_their_text(page):
    text = page("convert")
    assert re.search(r"^  INPUT +A volume, a DICOM series, a folder", text, flags=re.MULTILINE)
    assert text.startswith("usage: cyclegan-gc convert INPUT OUTPUT --checkpoint PATH [options]\n")


def test_the_first_page_names_every_command_with_its_purpose(page):
    text = page()
    for command in COMMANDS:
        assert re.search(rf"^    {command} +[A-Z]", text, flags=re.MULTILINE), command


@pytest.mark.parametrize(("command", "words"), EXAMPLES)
def test_every_example_is_accepted(command, words, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    assert parse(shlex.split(words))[0] == command


def test_a_completion_script_knows_commands_options_and_choices(tmp_path):
    pytest.importorskip("shtab", reason="shtab, of the extra completion, is not installed")
    bash = shutil.which("bash") or pytest.skip("bash is not installed")
    program = "import sys; from cyclegan_gc.cli import main; sys.exit(main(['--print_completion', 'shtab-bash']))"
    script = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    (tmp_path / "completion.bash").write_text(script)
    for words, expected in (
        ("con", "convert"),
        ("train --data.mr_", "--data.mr_intensity"),
        ("train --loss.gradient_mode abs", "absolute"),
        (f"convert {tmp_path}/compl", f"{tmp_path}/completion.bash"),
    ):
        typed = ["cyclegan-gc", *words.split()]
        ask = (
            f"source {tmp_path}/completion.bash; COMP_WORDS=({' '.join(typed)}); COMP_CWORD={len(typed) - 1}; "
            f"_shtab_cyclegan_gc cyclegan-gc {typed[-1]}; echo ${{COMPREPLY[@]}}"
        )
        assert subprocess.run([bash, "-c", ask], capture_output=True, text=True).stdout.split() == [expected]


def test_completion_without_its_package_says_what_is_needed(capsys):
    assert main(["--print_completion", "shtab-nosuch"]) == 2
    error = capsys.readouterr().err
    assert "shtab-bash" in error and "package shtab" in error and error.count("\n") == 1
