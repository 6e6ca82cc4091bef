"""Parse a command line into a command and its settings."""

import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace, get_loader, set_parsing_settings

from cyclegan_gc import __version__
from cyclegan_gc.config import DISCLAIMER, AuditConfig, TrainConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing.catalogue import COMMANDS
from cyclegan_gc.parsing.helptext import HelpFormatter, arrange, description, summary, usage
from cyclegan_gc.parsing.mistakes import explained
from cyclegan_gc.parsing.settings import sections_of, settings_of
from cyclegan_gc.parsing.words import meant, suggestion, tidied


def parse(words: Sequence[str]) -> tuple[str, Any]:
    """The command that the words begin with, and its settings.

    Raises:
        UserError: if the command line is refused; one line.
        SystemExit: after help, version or settings were printed.
    """
    name = _command_of(words)
    command = COMMANDS[name]
    words = [name, *tidied(words[1:], settings_of(command.config), command.positional)]
    parser = _parser([name], with_help="--help" in words or "-h" in words)
    try:
        parsed = parser.parse_args(_with_training_preset(words) if name == "audit" else words)
        _check_sections(parsed[name], command.config)
    except UnicodeDecodeError as error:
        raise UserError("--config: not a UTF-8 text file; give a YAML file") from error
    except ArgumentError as error:
        raise UserError(explained(str(error), name, command.config, command.positional, words)) from error
    values = parser.instantiate(parsed)[name]
    return name, _plain(command.config(**{each.name: values[each.name] for each in fields(command.config)}))


def _command_of(words: Sequence[str]) -> str:
    """The first word; options of the program itself are answered at once."""
    if not words:
        raise UserError(f"give a command: {', '.join(COMMANDS)}; --help explains them")
    if words[0].startswith("-"):
        with suppress(ArgumentError):
            _parser(list(COMMANDS), with_help=True).parse_args(list(words))
        if words[0].startswith("--print_completion"):
            raise UserError("--print_completion: give shtab-bash, shtab-zsh or shtab-tcsh; needs the package shtab")
        raise UserError(f"{words[0]}: give a command first; cyclegan-gc --help explains them")
    if words[0] not in COMMANDS:
        close = meant(words[0], COMMANDS)
        raise UserError(
            f"unknown command {words[0]}; " + (f"did you mean {close[0]}?" if close else f"give {', '.join(COMMANDS)}")
        )
    return words[0]


def _parser(names: Sequence[str], *, with_help: bool) -> ArgumentParser:
    """The program's parser with these commands; one alone is built faster than all.

    Args:
        names: of the commands.
        with_help: prepare the help pages; the parser then only prints and cannot make settings.
    """
    set_parsing_settings(docstring_parse_attribute_docstrings=False, add_print_completion_argument=True)
    parser = ArgumentParser(
        prog="cyclegan-gc",
        usage="cyclegan-gc COMMAND [options]",
        description=f"Synthetic CT from MR without paired data. {DISCLAIMER}",
        epilog="cyclegan-gc COMMAND --help explains a command. With --debug, an internal error shows its traceback.",
        version=__version__,
        exit_on_error=False,
        formatter_class=HelpFormatter,
    )
    commands = parser.add_subcommands(dest="command", required=True, title="Commands", description=None)
    for name in names:
        commands.add_subcommand(name, _command_parser(name, with_help), help=summary(COMMANDS[name].config))
    return parser


def _command_parser(name: str, with_help: bool) -> ArgumentParser:
    config, examples, positional, leading = COMMANDS[name]
    parser = ArgumentParser(
        usage=usage(name, config, positional),
        description=description(config, examples),
        exit_on_error=False,
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--config", action="config", metavar="PATH", help="YAML file of settings. Options override it.")
    for each in positional:
        parser.add_argument(each, type=config.__dataclass_fields__[each].type)
    parser.add_class_arguments(config, skip=set(positional))
    if with_help:
        arrange(parser, config, positional, leading)
    return parser


def _with_training_preset(words: Sequence[str]) -> list[str]:
    """Words of an audit with the content of each ``--config`` of a training that concerns the audit."""
    done = list(words)
    for place, (word, config) in enumerate(itertools.pairwise(words), start=1):
        if word == "--config":
            done[place] = _without_training(config)
    return done


def _without_training(config: str) -> str:
    """The data and preprocessing settings of a training preset, as JSON; another file's name as it is."""
    known, trained = settings_of(AuditConfig), settings_of(TrainConfig)
    try:
        content = _flat(get_loader("yaml")(Path(config).expanduser().read_text(encoding="utf-8")))
    except Exception:  # whatever is wrong with the file, the parser reads it again and says so
        return config
    if content.keys() <= known.keys():
        return config
    kept: dict[str, dict[str, Any]] = {}
    for name, value in content.items():
        if name not in known and name not in trained:
            said = suggestion(name, known | trained, dashes="")
            raise UserError(f"unknown setting {name} in {config}; {said}")
        section, _, last = name.rpartition(".")
        if section and name in known and value is not None:
            kept.setdefault(section, {})[last] = value
    return json.dumps(kept)


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def _check_sections(values: Namespace, config: type) -> None:
    """Refuse a file that gives a group of settings as a single value."""
    for name in sections_of(config):
        if not isinstance(values[name], Namespace):
            raise UserError(f"{name}: is a group of settings, got {values[name]}; see --print_config")


def _plain(value: Any) -> Any:
    """Settings with plain numbers instead of the parser's own types, which no checkpoint can hold; expands ``~``."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _plain(getattr(value, each.name)) for each in fields(value)})
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return int(value) if isinstance(value, int) else float(value)
