"""The READMEs agree with the program: their commands, options, files, links and messages."""

import ast
import re
import runpy
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import ablation
import pytest
import studies
import yaml

import cyclegan_gc
from cyclegan_gc.cli import main
from cyclegan_gc.config import DataConfig, TrainConfig
from cyclegan_gc.parsing import parse

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cyclegan_gc"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (
        ROOT / "README.md",
        *sorted(path for room in ("configs", "scripts", "cyclegan_gc") for path in (ROOT / room).rglob("*.md")),
        *sorted((ROOT / ".github").glob("*.md")),
    )
}
MAP = PAGES["cyclegan_gc/README.md"]
LONG = 60
"""Letters of a line or sentence from which on its repetition is not chance."""
MADE_UP = r"(?:DIR|RUN)\S*"
"""Names of a user's folders in the READMEs."""


def blocks(text: str, language: str) -> str:
    """The code blocks of a page in one language, continued lines joined."""
    found = re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(found).replace("\\\n", " ")


def prose(text: str) -> str:
    """A page without code blocks, tables and headings."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join(line for line in text.splitlines() if not line.startswith(("|", "#", "    ")))


def commands() -> Iterator[tuple[str, str]]:
    """Page and command of every line of shell and of every command within a sentence; assignments left out."""
    for page, text in PAGES.items():
        inline = re.findall(r"`(python scripts/[^`]+)`", prose(text))
        for line in [*blocks(text, "bash").splitlines(), *inline]:
            yield page, re.sub(r"^(\w+=\S+ )+", "", line.strip())


def program_words() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every call of the program, also of those that torchrun and Slurm make."""
    for page, line in commands():
        words = shlex.split(line, comments=True)
        if "scripts/convert.slurm" in words:
            source, result, checkpoint, *rest = words[words.index("scripts/convert.slurm") + 1 :]
            yield page, ["convert", source, result, "--checkpoint", checkpoint, *rest]
        elif "scripts/train.slurm" in words:
            yield page, ["train", *words[words.index("scripts/train.slurm") + 1 :]]
        elif "cyclegan_gc.cli" in words:
            yield page, words[words.index("cyclegan_gc.cli") + 1 :]
        elif words[:1] == ["cyclegan-gc"]:
            yield page, words[1:]


def named(cases: Iterator[tuple[str, list[str]]]) -> list:
    return [pytest.param(words, id=f"{page}: {' '.join(words)}") for page, words in cases]


def test_the_front_page_is_short_and_holds_both_commands_of_the_set_up():
    assert PAGES["README.md"].count("\n") < 240
    assert {"./scripts/demo", "./scripts/test"} <= set(blocks(PAGES["README.md"], "bash").splitlines())
    assert all((ROOT / name).stat().st_mode & 0o100 for name in ("scripts/demo", "scripts/test", ".ci/run"))


@pytest.mark.parametrize("words", named(program_words()))
def test_every_command_is_accepted_and_lacks_nothing_but_the_data(words, monkeypatch, capsys, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    if words[0] in ("phantom", "demo"):  # they need no data and would begin
        assert parse(words)[0] == words[0]
    elif {"--print_config", "--help"} & set(words):
        assert main(words) == 0
    else:
        assert main(words) == 2
        missing = rf"(?:{MADE_UP}: no |DIR/\S*\*\S*: the pattern matches no )"
        assert re.match(rf"cyclegan-gc: {missing}", capsys.readouterr().err)


def script_words() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every line that begins one of our scripts, the script first."""
    for page, line in commands():
        words = shlex.split(line, comments=True)
        places = [number for number, word in enumerate(words) if word.removeprefix("./").startswith("scripts/")]
        if places:
            yield page, words[places[0] :]


@pytest.mark.parametrize("words", named(script_words()))
def test_every_script_is_there_and_knows_its_words(words):
    script, *rest = words
    assert (ROOT / script).is_file()
    if script == "scripts/ablation.py":
        ablation.parse(rest)
    elif script.endswith(".py"):
        source = (ROOT / script).read_text(encoding="utf-8")
        own = rest[: rest.index("--")] if "--" in rest else rest  # the words after it are those of `cyclegan-gc train`
        assert [word for word in own if word.startswith("--") and f'"{word}"' not in source] == []


def test_every_study_has_its_command():
    told = {words[1] for _, words in script_words() if words[0] == "scripts/ablation.py"}
    assert told == set(studies.STUDIES)


def test_every_function_of_the_python_examples_is_there():
    names = re.findall(r"cyclegan_gc\.(\w+)\(", "".join(blocks(text, "python") for text in PAGES.values()))
    assert names and all(callable(getattr(cyclegan_gc, name)) for name in names)


def test_every_option_of_the_table_exists_with_that_default():
    options = re.findall(r"^\| `--([\w.]+)` \| `?([^`|]+?)`? \|", PAGES["configs/README.md"], flags=re.MULTILINE)
    assert len(options) > 10
    for name, default in options:
        value = reduce(getattr, name.split("."), TrainConfig(Path("RUN"), DataConfig("MR", "CT")))
        assert yaml.safe_load(f"[{default.replace(' ', ', ')}]") == (
            list(value) if isinstance(value, tuple) else [value]
        ), name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"^```.*?^```", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if target and not (ROOT / page).parent.joinpath(target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_it_names_is_there(page):
    names = re.findall(r"`((?:configs|scripts|cyclegan_gc|tests|\.github)/[\w./-]+)`", PAGES[page])
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_the_map_has_every_room_on_its_floor():
    floors = runpy.run_path(str(ROOT / "tests" / "test_imports.py"))["FLOORS"]
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", MAP, flags=re.MULTILINE)
    drawn = {name: int(floor) for floor, rooms in rows for name in re.findall(r"`(\w+)/?`", rooms)}
    assert drawn == {room: floor for room, floor in floors.items() if room != "__init__"}


def test_the_map_names_files_that_hold_what_it_says():
    files = [name for name in re.findall(r"`([\w/]+\.py)`", MAP) if not name.startswith("tests/")]
    assert len(files) > 20 and [name for name in files if not (PACKAGE / name).is_file()] == []
    places = re.findall(r"((?:`\w+`(?: and |, )?)+)(?: in| of) `([\w/]+\.py)`", MAP)
    assert len(places) > 5
    for names, file in places:
        source = (PACKAGE / file).read_text(encoding="utf-8")
        assert [name for name in re.findall(r"`(\w+)`", names) if name not in source] == [], file


def test_every_message_of_the_front_page_is_one_of_the_programs():
    section = PAGES["README.md"].partition("## When it goes wrong")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    assert len(quoted) == 10
    texts = [text for path in PACKAGE.rglob("*.py") for text in texts_of(path)]
    assert [message for message in quoted if not any(message in text for text in texts)] == []


def texts_of(path: Path) -> Iterator[str]:
    """Every text in a file of code, an f-string as one text with ``{}`` for its values."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_sentence_and_no_line_of_prose_stands_twice():
    paragraphs = [each for text in PAGES.values() for each in prose(text).split("\n\n")]
    lines = [line.strip() for each in paragraphs for line in each.splitlines()]
    sentences = [sentence for each in paragraphs for sentence in re.split(r"(?<=[.:;]) ", " ".join(each.split()))]
    for texts in (lines, sentences):
        assert [text for text, times in Counter(texts).items() if times > 1 and len(text) > LONG] == []
