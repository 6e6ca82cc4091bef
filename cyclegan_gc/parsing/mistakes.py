"""Messages of the parser rewritten in one line: the option as it was typed, the cause and the cure."""

import itertools
import re
from collections.abc import Collection, Sequence

from cyclegan_gc.parsing.settings import allowed, settings_of, texts_of
from cyclegan_gc.parsing.words import suggestion


def explained(message: str, name: str, config: type, positional: Collection[str], words: Sequence[str]) -> str:
    """A message of the parser in one plain line.

    Args:
        message: the parser's own.
        name: of the command.
        config: dataclass of the command's settings.
        positional: settings that are given without their names.
        words: of the command line.
    """
    text = " ".join(message.split())
    settings = settings_of(config)
    if unknown := re.search(r"does not accept option '([\w.]+)", text):
        return f"unknown setting {unknown[1]}{_in_file(words)}; {suggestion(unknown[1], settings, dashes='')}"
    if extra := re.search(r"unrecognized arguments: (\S+)", text):
        return f"unexpected word {extra[1]}; the name of an option begins with --"
    if missing := re.search(r"arguments are required: (.+)", text):
        return _missing(missing[1].replace(f"{name}.", "").split(", "), config, positional)
    if missing := re.search(r"Key \"?([\w.]+)\"? is required", text):
        return _missing([missing[1].removeprefix(f"{name}.")], config, positional)
    if valueless := re.match(r"argument --([\w.]+): expected one argument", text):
        kind = settings[valueless[1]].type if valueless[1] in settings else None
        return f"--{valueless[1]}: its value is missing" + (f"; give {allowed(kind)}" if kind else "")
    if absent := re.search(r"key \"config\": File does not exist: '([^']*)'", text):
        return f"--config: {absent[1]}: no such file"
    wrong = [each for each in re.findall(r"[Pp]arser key \"([\w.]+)\"", text) if each in settings]
    if wrong:
        given = wrong[-1].upper() if wrong[-1] in positional else _typed(wrong[-1], words)
        return f"{given or f'{wrong[-1]}{_in_file(words)}'}: give {allowed(settings[wrong[-1]].type)}"
    if text.startswith("Problems parsing config: "):
        cause = text.removeprefix("Problems parsing config: ").replace(' in "<unicode string>",', " at")
        return f"settings{_in_file(words)}: not valid YAML: {cause}"
    return text


def _missing(names: Sequence[str], config: type, positional: Collection[str]) -> str:
    """The message for required settings that were not given; for a single one with its text."""
    said = [each.upper() if each in positional else f"--{each}" for each in names]
    if len(names) > 1:
        return f"{', '.join(said[:-1])} and {said[-1]} are missing; --help explains them"
    text = texts_of(config)[names[0]].split(". ")[0].rstrip(".")
    begin = text if text[1:2].isupper() else text[:1].lower() + text[1:]
    return f"{said[0]} is missing: {'give ' if begin.startswith(('the ', 'a ')) else ''}{begin}"


def _typed(name: str, words: Sequence[str]) -> str | None:
    """The option and its value as they were typed; None where a file brought them."""
    for word, after in itertools.pairwise([*words, ""]):
        option, equals, value = word.partition("=")
        if option == f"--{name}":
            plain = re.sub(r'[\[\],"]+ ?', " ", value if equals else after)
            return f"{option} {plain.strip()}"
    return None


def _in_file(words: Sequence[str]) -> str:
    """The file that a setting comes from, for a message; empty without a file."""
    files = [after for word, after in itertools.pairwise(words) if word == "--config"]
    return f" in {files[-1]}" if files else ""
