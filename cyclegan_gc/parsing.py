"""The words of the command line and what they set."""

import difflib
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from cyclegan_gc import __version__
from cyclegan_gc.config import (
    DISCLAIMER,
    AuditConfig,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    InfoConfig,
    ManifestConfig,
    PhantomConfig,
    SliceAxis,
    SyncConfig,
    TrainConfig,
)
from cyclegan_gc.errors import UserError


class Command(NamedTuple):
    """What one word of the command line can be told."""

    config: type
    positional: tuple[str, ...] = ()
    """Settings that are given without their names, in this order."""


COMMANDS = {
    "audit": Command(AuditConfig),
    "train": Command(TrainConfig),
    "convert": Command(ConvertConfig, ("input", "output")),
    "info": Command(InfoConfig, ("file",)),
    "manifest": Command(ManifestConfig, ("action", "output")),
    "evaluate": Command(EvaluateConfig),
    "sync": Command(SyncConfig, ("run",)),
    "phantom": Command(PhantomConfig, ("output",)),
    "demo": Command(DemoConfig),
}
LISTS: dict[str, Callable[[str], bool]] = {
    "--planes": lambda word: word in get_args(SliceAxis),
    "--data.slice_axes": lambda word: word in get_args(SliceAxis),
    "--data.contrasts": lambda word: not word.startswith(("-", "[")),
    "--compare": lambda word: not word.startswith(("-", "[")),
    "--compared_labels": lambda word: not word.startswith(("-", "[")),
}
"""Settings of several words, and which words that follow belong to them."""


def _tidied(words: Sequence[str]) -> list[str]:
    """``--max-voxels`` as ``--max_voxels``, and ``--planes axial coronal`` as the one list that the parser wants."""
    tidied, position = [], 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            word = "--" + name[2:].replace("-", "_") + equals + value
        tidied.append(word)
        if belongs := LISTS.get(word):
            chosen = list(itertools.takewhile(belongs, words[position:]))
            position += len(chosen)
            tidied += [f"[{', '.join(chosen)}]"] if chosen else []
    return tidied


def parse(words: Sequence[str]) -> tuple[str, Any]:
    """The command that the words begin with, and its settings.

    Raises:
        UserError: if the command line is refused; one line.
        SystemExit: after help, version or settings were printed.
    """
    words = _tidied(words)
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = ArgumentParser(
        prog="cyclegan-gc",
        description=f"Synthetic CT from MR without paired data. {DISCLAIMER}",
        epilog="With --debug an internal error shows its traceback.",
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="command", required=True, title="commands")
    parsers = {name: _command_parser(*command) for name, command in COMMANDS.items()}
    for name, each in parsers.items():
        commands.add_subcommand(name, each, help=_summary(COMMANDS[name].config))
    try:
        parsed = parser.parse_args(words)
    except UnicodeDecodeError as error:
        raise UserError("--config: not a UTF-8 text file; give a YAML file") from error
    except ArgumentError as error:
        chosen = parsers.get(words[0]) if words else None
        raise UserError(_usage_message(error, chosen)) from error
    config = COMMANDS[parsed.command].config
    values = parser.instantiate(parsed)[parsed.command]
    return parsed.command, _plain(config(**{name: values[name] for name in config.__dataclass_fields__}))


def _plain(value: Any) -> Any:
    """Settings without the parser's own number types, which no checkpoint could be loaded with; ``~`` is expanded."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _plain(getattr(value, each.name)) for each in fields(value)})
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return int(value) if isinstance(value, int) else float(value)


def _command_parser(config: type, positional: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(description=f"{_summary(config)} {DISCLAIMER}", exit_on_error=False)
    parser.add_argument("--config", action="config", help="YAML file of settings; flags after it override it.")
    documented = config.__dataclass_fields__
    for name in positional:
        parser.add_argument(name, type=documented[name].type)
    parser.add_class_arguments(config, skip=set(positional))
    return parser


def _summary(config: type) -> str:
    return (config.__doc__ or "").splitlines()[0]


def _usage_message(error: Exception, parser: ArgumentParser | None) -> str:
    """One line with the key, the cause and, where one is close, the key that was meant."""
    text = " ".join(str(error).split())
    unknown = re.search(r"(?:does not accept option '|unrecognized arguments: --)([\w.]+)", text)
    if unknown and parser:
        known = [action.dest for action in parser._actions]
        close = difflib.get_close_matches(unknown[1], known, n=1)
        text = f"unknown setting {unknown[1]}" + (f"; did you mean {close[0]}?" if close else "; see --help")
    return text
