"""The help pages: examples first, then the options that matter most, then the rest in groups."""

import argparse
import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING
from typing import Any

from cyclegan_gc.config import DISCLAIMER
from cyclegan_gc.parsing.settings import Setting, placeholder, sections_of, settings_of, texts_of

COMMON_TEXTS = {
    "--help": "Show this help and exit.",
    "--print_completion": "Print a script for tab completion, for instance shtab-bash, and exit (needs shtab).",
    "--print_config": "Print all settings as YAML, for --config, and exit.",
}


FILES = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}
"""Completion with file names, in the words of shtab."""


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


def summary(config: type) -> str:
    """The first line of a config's docstring."""
    return (config.__doc__ or "").splitlines()[0]


def details(config: type) -> str:
    """The rest of a config's docstring, in one line."""
    return " ".join((config.__doc__ or "").split()).removeprefix(summary(config)).strip()


def description(config: type, examples: Sequence[tuple[str, str]]) -> str:
    """The text above the options: the purpose of a command and its examples."""
    lines = [f"{summary(config)} {details(config)} {DISCLAIMER}".replace("  ", " "), "", "Examples:"]
    for purpose, words in examples:
        lines += [f"  {purpose}:", f"    cyclegan-gc {words}"]
    return "\n".join(lines)


def usage(name: str, config: type, positional: Sequence[str]) -> str:
    """The usage line: the arguments and options that a command requires."""
    required = [
        f"--{each} {placeholder(setting.type, each)}"
        for each, setting in settings_of(config).items()
        if setting.default is MISSING and each not in positional
    ]
    return " ".join(["cyclegan-gc", name, *map(str.upper, positional), *required, "[options]"])


def arrange(
    parser: argparse.ArgumentParser, config: type, positional: Collection[str], leading: Collection[str]
) -> None:
    """Give every action of a command's parser its text, and sort the actions into groups.

    Args:
        parser: of the command.
        config: dataclass of the settings that the parser has.
        positional: settings that are given without their names.
        leading: settings that matter most.
    """
    settings, texts, sections = settings_of(config), texts_of(config), sections_of(config)
    actions = {action.dest: action for action in parser._actions}
    for section in sections:
        actions[section].help = argparse.SUPPRESS
    for name, setting in settings.items():
        _explain(actions[name], setting, texts[name], name in positional)
    about = {_title(name, sections, ""): f"{details(each)} {texts.get(name, '')}" for name, each in sections.items()}
    groups: dict[str, list[argparse.Action]] = {"Arguments": [actions[name] for name in positional]}
    groups |= {"Options that matter most": [actions[name] for name in leading], "More options": []} if leading else {}
    for name in settings:
        if name not in leading and name not in positional:
            groups.setdefault(_title(name, sections, "More options" if leading else "Options"), []).append(
                actions[name]
            )
    placed = {id(action) for group in groups.values() for action in group}
    groups["Help and configuration"] = [action for action in parser._actions if id(action) not in placed]
    parser._action_groups = []
    for title, members in groups.items():
        parser.add_argument_group(title, description=about.get(title))._group_actions = members


def _title(name: str, sections: Mapping[str, type], otherwise: str) -> str:
    section = name.partition(".")[0]
    return f"{summary(sections[section]).rstrip('.')} (--{section}.*)" if section in sections else otherwise


def _explain(action: argparse.Action, setting: Setting, text: str, positional: bool) -> None:
    if positional:
        action.metavar = action.dest.upper()
    elif setting.type is bool and setting.default is False:
        action.metavar = ""
    else:
        action.metavar = placeholder(setting.type, action.dest)
    action.help = f"{text}{_ending(setting, positional)}"
    if "PATH" in placeholder(setting.type, action.dest):
        action.complete = FILES  # type: ignore[attr-defined]


def _ending(setting: Setting, positional: bool) -> str:
    """The default in parentheses, or ``(required)``; nothing where the text explains it."""
    if setting.default is MISSING:
        return "" if positional else " (required)"
    if setting.default is None or setting.default is False or setting.default == ():
        return ""
    values = setting.default if isinstance(setting.default, tuple) else (setting.default,)
    shown = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values).lower()
    return f" (default: {shown})"
