"""Parse a command line into a command and its settings, or print a help page."""

import argparse
import itertools
import json
import textwrap
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace, dict_to_namespace, get_loader, set_parsing_settings

from cyclegan_gc import __version__
from cyclegan_gc.config import DISCLAIMER, AuditConfig, TrainConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing.catalogue import COMMANDS, Command
from cyclegan_gc.parsing.presets import CONFIG_HELP, with_preset_files
from cyclegan_gc.parsing.settings import Setting, placeholder, sections_of, settings_of, texts_of
from cyclegan_gc.parsing.words import explained, meant, suggestion, tidied

COMMON_TEXTS = {
    "--help": "Show this help and exit.",
    "--print_completion": "Print a script for tab completion, for instance shtab-bash, and exit (needs shtab).",
    "--print_config": "Print all settings as YAML, for --config, and exit.",
}
LEADING = "Options that matter most"
FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
"""Completion with file names, in the words of shtab."""


def parse(words: Sequence[str]) -> tuple[str, Any]:
    """The command that the words begin with, and its settings.

    Raises:
        UserError: if the command line is refused; one line.
        SystemExit: after help, version or settings were printed.
    """
    name = _command_of(words)
    config, positional = COMMANDS[name].config, COMMANDS[name].positional
    settings = settings_of(config)
    words = with_preset_files([name, *tidied(words[1:], settings, positional)])
    try:
        parsed = _program([name]).parse_args(_with_training_preset(words) if name == "audit" else words)
    except UnicodeDecodeError as error:
        raise UserError("--config: not a UTF-8 text file; give a YAML file") from error
    except ArgumentError as error:
        raise UserError(explained(str(error), name, settings, positional, words)) from error
    return name, _built(config, parsed[name])


def _command_of(words: Sequence[str]) -> str:
    """The first word; options of the program itself are answered at once."""
    if not words:
        raise UserError(f"give a command: {', '.join(COMMANDS)}; --help explains them")
    if words[0].startswith("-"):
        with suppress(ArgumentError):
            _program(list(COMMANDS)).parse_args(list(words))
        if words[0].startswith("--print_completion"):
            raise UserError("--print_completion: give shtab-bash, shtab-zsh or shtab-tcsh; needs the package shtab")
        raise UserError(f"{words[0]}: give a command first; cyclegan-gc --help explains them")
    if words[0] not in COMMANDS:
        close = meant(words[0], COMMANDS)
        cure = f"did you mean {close[0]}?" if close else f"give {', '.join(COMMANDS)}"
        raise UserError(f"unknown command {words[0]}; {cure}")
    return words[0]


def _program(names: Sequence[str]) -> ArgumentParser:
    """The program's parser with these commands; one alone is built faster than all."""
    set_parsing_settings(add_print_completion_argument=True)
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
        commands.add_subcommand(name, _command_parser(name), help=_purpose(COMMANDS[name].config)[0])
    return parser


def _command_parser(name: str) -> ArgumentParser:
    """The parser of one command: its leading options first, then the rest in groups, then help and configuration."""
    command = COMMANDS[name]
    settings, sections, texts = settings_of(command.config), sections_of(command.config), texts_of(command.config)
    required = [
        f"--{each} {placeholder(setting.type, each)}"
        for each, setting in settings.items()
        if setting.default is MISSING and each not in command.positional
    ]
    parser = ArgumentParser(
        usage=" ".join(["cyclegan-gc", name, *map(str.upper, command.positional), *required, "[options]"]),
        description=_description(command),
        exit_on_error=False,
        formatter_class=HelpFormatter,
    )
    for title, names in _groups(command, settings, sections).items():
        summary, *details = _purpose(sections[title]) if title in sections else [title]
        about = " ".join([*details, *([texts[title]] if title in texts else [])])
        shown = f"{summary.rstrip('.')} (--{title}.*)" if title in sections else title
        group = parser.add_argument_group(shown, description=about or None)
        for each in names:
            _add(group, each, settings[each], each in command.positional)
    _add_config(parser, leading="config" in command.leading)
    return parser


def _add_config(parser: ArgumentParser, leading: bool) -> None:
    """Add --config and --print_config, and show the parser's own options last; a leading --config is shown first."""
    parser.add_argument("--config", action="config", metavar="PATH", help=CONFIG_HELP)
    own = parser._optionals
    own.title = "Help and configuration"
    parser._action_groups = sorted(parser._action_groups, key=lambda group: group is own)
    if leading:
        file = parser._option_string_actions["--config"]
        own._group_actions.remove(file)
        next(group for group in parser._action_groups if group.title == LEADING)._group_actions.insert(0, file)


def _groups(command: Command, names: Collection[str], sections: Collection[str]) -> dict[str, list[str]]:
    """The settings of a command in the order of its help page, by the title of their group."""
    groups = {"Arguments": list(command.positional)}
    if command.leading:
        groups |= {LEADING: [each for each in command.leading if each in names], "More options": []}
    for name in names:
        if name not in command.leading and name not in command.positional:
            section = name.partition(".")[0]
            title = section if section in sections else "More options" if command.leading else "Options"
            groups.setdefault(title, []).append(name)
    return groups


def _add(group: Any, name: str, setting: Setting, positional: bool) -> None:
    """Add one setting to a group of the parser."""
    shown = placeholder(setting.type, name)
    if positional:
        action = group.add_argument(name, help=setting.text, metavar=name.upper(), type=setting.type)
    else:
        given = {"required": True} if setting.default is MISSING else {"default": setting.default}
        kind = setting.type | None if setting.default is None else setting.type
        text, metavar = setting.text + _ending(setting.default), "" if setting.default is False else shown
        action = group.add_argument(f"--{name}", help=text, metavar=metavar, type=kind, **given)
    if "PATH" in shown:
        action.complete = FILES


def _ending(default: Any) -> str:
    """The default in parentheses, or ``(required)``; nothing where the text explains it."""
    if default is MISSING:
        return " (required)"
    if default is None or default is False or default == ():
        return ""
    values = default if isinstance(default, tuple) else (default,)
    shown = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values).lower()
    return f" (default: {shown})"


def _description(command: Command) -> str:
    """The text above the options: the purpose of a command and its examples."""
    lines = [" ".join([*_purpose(command.config), DISCLAIMER]), "", "Examples:"]
    for purpose, words in command.examples.items():
        lines += [f"  {purpose}:", f"    cyclegan-gc {words}"]
    return "\n".join(lines)


def _purpose(config: type) -> list[str]:
    """The first line of a config's docstring, and the rest in one line if there is one."""
    return [" ".join(part.split()) for part in (config.__doc__ or "").split("\n", 1)]


class HelpFormatter(argparse.HelpFormatter):
    """Formatter that prints each action's own placeholder and text unchanged."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{**options, "max_help_position": 32})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap each line, except for indented ones: commands to be copied stay whole."""
        wrapper = textwrap.TextWrapper(width, initial_indent=indent, subsequent_indent=indent)
        return "\n".join(line if line.startswith(" ") else wrapper.fill(line) for line in text.splitlines())

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if isinstance(action, argparse._SubParsersAction):
            return "COMMAND"
        names = ", ".join(action.option_strings)
        return names if names in COMMON_TEXTS else f"{names} {action.metavar or ''}".strip()

    def _expand_help(self, action: argparse.Action) -> str:
        return COMMON_TEXTS.get("".join(action.option_strings[-1:]), action.help or "")


def _with_training_preset(words: Sequence[str]) -> list[str]:
    """Words of an audit with the content of each ``--config`` of a training that concerns the audit."""
    return [
        _without_training(word) if before == "--config" else word for before, word in itertools.pairwise(["", *words])
    ]


def _without_training(config: str) -> str:
    """The data and preprocessing settings of a training preset, as JSON; another file's name as it is."""
    known, trained = settings_of(AuditConfig), settings_of(TrainConfig)
    try:
        text = Path(config).expanduser().read_text(encoding="utf-8")
        content = dict(dict_to_namespace(get_loader("yaml")(text)).items())
    except Exception:  # whatever is wrong with the file, the parser reads it again and says so
        return config
    if content.keys() <= known.keys():
        return config
    kept = Namespace()
    for name, value in content.items():
        if name not in known and name not in trained:
            said = suggestion(name, known | trained, dashes="")
            raise UserError(f"unknown setting {name} in {config}; {said}")
        if "." in name and name in known and value is not None:
            kept[name] = value
    return json.dumps(kept.as_dict())


def _built(config: type, values: Namespace, name: str = "") -> Any:
    """The config that parsed values make. A file may have given a whole section as one value."""
    if not isinstance(values, Namespace):
        raise UserError(f"{name}: is a group of settings, got {values}; see --print_config")
    sections = sections_of(config)
    settings = {
        each.name: _built(sections[each.name], values[each.name], each.name)
        if each.name in sections
        else _plain(values[each.name])
        for each in fields(config)
    }
    return config(**settings)


def _plain(value: Any) -> Any:
    """A value with plain numbers instead of the parser's own types, which no checkpoint can hold; expands ``~``."""
    if isinstance(value, tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Path):
        return value.expanduser()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return int(value) if isinstance(value, int) else float(value)
