"""The settings of a command: name, type, default and help text of each, read from its config dataclass."""

from dataclasses import MISSING, fields, is_dataclass
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from docstring_parser import parse_from_object

NUMBERS = {
    "int": "a whole number",
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number, 0 or above",
    "float": "a number",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number, 0 or above",
    "ClosedUnitInterval": "a number from 0 to 1",
    "OpenUnitInterval": "a number between 0 and 1",
}
TEXTS = {
    "contrasts": "ENDING",
    "ct_series": "PATTERN",
    "device": "DEVICE",
    "entity": "NAME",
    "group": "NAME",
    "mr_series": "PATTERN",
    "name": "NAME",
    "notes": "TEXT",
    "project": "NAME",
    "resume": "auto|PATH",
    "series": "PATTERN",
    "shard": "I/N|auto",
    "tags": "TAG",
}
"""Placeholders of the text settings that are not paths."""


class Setting(NamedTuple):
    """One setting of a command."""

    type: Any
    """Without None."""
    default: Any
    """MISSING where the setting is required."""
    text: str


def settings_of(config: type, prefix: str = "", defaults: Any = MISSING) -> dict[str, Setting]:
    """Every setting by its dotted name, in the order of the dataclass.

    Args:
        config: a dataclass; those among its fields are opened.
        prefix: put before each name.
        defaults: instance whose values are the defaults.
    """
    sections, texts, found = sections_of(config), texts_of(config), {}
    for each in fields(config):
        if defaults is not MISSING:
            default = getattr(defaults, each.name)
        else:
            default = each.default if each.default_factory is MISSING else each.default_factory()
        if each.name in sections:
            found |= settings_of(sections[each.name], f"{prefix}{each.name}.", default)
        else:
            kind = next((item for item in get_args(each.type) if NoneType in get_args(each.type)), each.type)
            found[prefix + each.name] = Setting(kind, default, texts[each.name])
    return found


def sections_of(config: type) -> dict[str, type]:
    """The dataclasses among the fields of a config, by name."""
    return {each.name: each.type for each in fields(config) if isinstance(each.type, type) and is_dataclass(each.type)}


def texts_of(config: type) -> dict[str, str]:
    """The docstring below each attribute of a config, in one line."""
    described = parse_from_object(config).params
    return {each.arg_name: " ".join((each.description or "").replace("``", "").split()) for each in described}


def placeholder(kind: Any, name: str) -> str:
    """Placeholder for a setting's value in the help: ``PATH``, ``NUMBER NUMBER`` or ``{mean,median}``."""
    items = get_args(kind)
    if kind is bool:
        return "{true,false}"
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(_word, items)) + "}"
    if get_origin(kind) is tuple:
        return " ".join("..." if item is Ellipsis else placeholder(item, name) for item in items)
    return "NUMBER" if issubclass(kind, (int, float)) else TEXTS.get(name.rsplit(".", 1)[-1], "PATH")


def allowed(kind: Any) -> str:
    """The values that a setting takes, in words: ``a whole number above 0`` or ``mean or median``."""
    items = get_args(kind)
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        *others, last = map(_word, items)
        return f"{', '.join(others)} or {last}" if others else last
    if get_origin(kind) is tuple:
        count = "one or more of" if Ellipsis in items else f"{len(items)} values, each"
        return f"{count} {allowed(items[0])}"
    return NUMBERS.get(kind.__name__, "a path or a name")


def _word(choice: object) -> str:
    """A choice as it is typed."""
    return str(choice).lower() if isinstance(choice, bool) else str(choice)
