"""The words of a command line: rewritten for the parser, with advice on wrong ones."""

import difflib
import itertools
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclegan_gc.errors import UserError
from cyclegan_gc.parsing.settings import Setting, allowed

TRUTH = {"true": "true", "yes": "true", "false": "false", "no": "false"}
OPTION = "--?[A-Za-z]"
"""Pattern of an option's beginning; negative numbers do not match."""
COMMON = ("config", "print_config", "help")
"""Options of every command."""
SYNONYMS = {
    "checkpoint": ("ckpt", "model", "weights"),
    "config": ("preset", "yaml"),
    "crop": ("patch_size", "size"),
    "ct_window_hu": ("window",),
    "cycle": ("lambda_cycle",),
    "device": ("cuda", "gpu", "gpus"),
    "dropout": ("dropout_rate",),
    "gradient": ("gc", "lambda_gc"),
    "input": ("i", "in"),
    "learning_rate": ("lr",),
    "mirror": ("tta",),
    "mr": ("mri",),
    "output": ("o", "out", "output_dir"),
    "precision": ("amp",),
    "predicted": ("pred", "prediction"),
    "reference": ("gt",),
    "slice_axes": ("axes",),
    "spacing_mm": ("spacing",),
    "steps": ("epoch", "epochs", "iterations", "max_steps"),
    "validation_fraction": ("val_fraction",),
    "workers": ("num_workers",),
}
"""Words of other programs for our options; an option is named by its last part."""


def tidied(words: Sequence[str], settings: Mapping[str, Setting], positional: Collection[str] = ()) -> list[str]:
    """Words in the form that the parser takes: names with underscores, flags with a value, lists as one word."""
    rest, done = list(words), []
    while rest:
        word = rest.pop(0)
        if not re.match(OPTION, word) or word == "-h":
            done.append(word)
            continue
        typed, equals, value = word.partition("=")
        name = typed.lstrip("-").replace("-", "_")
        if not word.startswith("--") or name not in (*settings, *COMMON) or name in positional:
            raise UserError(f"unknown option {typed}; {suggestion(name, settings, positional)}")
        if equals and name == "config":
            done += ["--config", value]
        elif equals:
            done.append(f"--{name}={_one_value(value, settings.get(name))}")
        else:
            done += [f"--{name}", *_values(name, rest, settings.get(name), positional)]
    return done


def suggestion(name: str, settings: Collection[str], positional: Collection[str] = (), dashes: str = "--") -> str:
    """Advice on an unknown ``name``: the settings that may have been meant, each after ``dashes``."""
    if name.startswith("no_") and name[3:] in settings:
        return f"write {dashes}{name[3:]} false"
    found = meant(name, [*settings, *COMMON])
    if found and found[0] in positional:
        return f"give {found[0].upper()} without a name"
    return f"did you mean {' or '.join(dashes + each for each in found)}?" if found else "see --help"


def meant(name: str, known: Collection[str]) -> list[str]:
    """The known options closest to ``name``: by their last part, by another program's word, by spelling."""
    last = name.rsplit(".", 1)[-1].lower()
    for part in (last, next((ours for ours, others in SYNONYMS.items() if last in others), None)):
        if found := [each for each in known if each.rsplit(".", 1)[-1] == part]:
            return found
    by_last = {each.rsplit(".", 1)[-1]: each for each in known}
    close = [by_last[each] for each in difflib.get_close_matches(last, by_last, n=1)]
    return close or difflib.get_close_matches(name, known, n=1, cutoff=0.8)


def _values(name: str, rest: list[str], setting: Setting | None, positional: Collection[str]) -> list[str]:
    """The value of an option as at most one word; what belongs to it is taken from ``rest``."""
    if setting is None:
        return []
    if setting.type is bool:
        if rest and rest[0].lower() in TRUTH:
            return [TRUTH[rest.pop(0).lower()]]
        # Without positional arguments a word after a flag can only be its value.
        return [rest.pop(0)] if rest and not positional and not re.match(OPTION, rest[0]) else ["true"]
    if get_origin(setting.type) is not tuple or not rest or rest[0].startswith("[") or rest[0] == "null":
        return []
    items = get_args(setting.type)
    taken = list(itertools.takewhile(lambda word: _belongs(word, items[0]), rest))
    if Ellipsis not in items:
        taken = taken[: len(items)]
        if len(taken) < len(items):
            raise UserError(f"--{name}: give {allowed(setting.type)}, got {' '.join(taken) or 'nothing'}")
    elif not taken:
        taken = rest[:1]
    del rest[: len(taken)]
    choices = get_args(items[0]) if get_origin(items[0]) is Literal else ()
    if rest and difflib.get_close_matches(rest[0], choices, cutoff=0.75):
        raise UserError(f"--{name} {rest[0]}: choose from {', '.join(choices)}")
    return [_as_list(taken, items[0])]


def _belongs(word: str, item: Any) -> bool:
    """Whether a word belongs to a list of these items: one of the choices, or else whatever is no option."""
    return word in get_args(item) if get_origin(item) is Literal else not re.match(OPTION, word)


def _one_value(value: str, setting: Setting | None) -> str:
    """A value that was given with ``=``."""
    if setting is not None and setting.type is bool:
        return TRUTH.get(value.lower(), value)
    if setting is not None and get_origin(setting.type) is tuple and not value.startswith("[") and value != "null":
        return _as_list([value], get_args(setting.type)[0])
    return value


def _as_list(words: Sequence[str], item: Any) -> str:
    numbers = isinstance(item, type) and issubclass(item, (int, float))
    return f"[{', '.join(words if numbers else (json.dumps(word, ensure_ascii=False) for word in words))}]"


def explained(
    message: str, command: str, settings: Mapping[str, Setting], positional: Collection[str], words: Sequence[str]
) -> str:
    """A message of the parser in one plain line: the option as it was typed, the cause and the cure."""
    text = " ".join(message.split())
    if unknown := re.search(r"does not accept option '([\w.]+)", text):
        return f"unknown setting {unknown[1]}{_in_file(words)}; {suggestion(unknown[1], settings, dashes='')}"
    if extra := re.search(r"unrecognized arguments: (\S+)", text):
        return f"unexpected word {extra[1]}; the name of an option begins with --"
    if missing := re.search(r"arguments are required: (.+)", text):
        return _missing(missing[1].replace(f"{command}.", "").split(", "), settings, positional, words)
    if valueless := re.match(r"argument --([\w.]+): expected one argument", text):
        kind = settings[valueless[1]].type if valueless[1] in settings else None
        return f"--{valueless[1]}: its value is missing" + (f"; give {allowed(kind)}" if kind else "")
    if absent := re.search(r"key \"config\": File does not exist: '([^']*)'", text):
        return f"--config: {absent[1]}: no such file"
    if wrong := [each for each in re.findall(r"[Pp]arser key \"([\w.]+)\"", text) if each in settings]:
        name = wrong[-1]
        given = name.upper() if name in positional else _typed(name, words) or f"{name}{_in_file(words)}"
        return f"{given}: give {allowed(settings[name].type)}"
    if text.startswith("Problems parsing config: "):
        cause = text.removeprefix("Problems parsing config: ").replace(' in "<unicode string>",', " at")
        return f"settings{_in_file(words)}: not valid YAML: {cause}"
    return text


def _missing(
    names: Sequence[str], settings: Mapping[str, Setting], positional: Collection[str], words: Sequence[str]
) -> str:
    """The message for required settings that were not given; for a single one with its text."""
    said = [each.upper() if each in positional else f"--{each}" for each in names]
    open_ended = [name for name in settings if settings[name].type == tuple[Path, ...] and f"--{name}" in words]
    if open_ended and set(names) <= set(positional):
        option = f"--{open_ended[0]}"
        verb = "are" if names[1:] else "is"
        return f"{' and '.join(said)} {verb} missing; give this before {option}, which takes all words that follow it"
    if len(names) > 1:
        return f"{', '.join(said[:-1])} and {said[-1]} are missing; --help explains them"
    text = settings[names[0]].text.split(". ")[0].rstrip(".")
    begin = text if text[1:2].isupper() else text[:1].lower() + text[1:]
    return f"{said[0]} is missing: {'give ' if begin.startswith(('the ', 'a ')) else ''}{begin}"


def _typed(name: str, words: Sequence[str]) -> str | None:
    """The option and its value as they were typed; None if they came from a file."""
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
