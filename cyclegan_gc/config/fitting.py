"""Whether values from a file or of a call in Python have the types and ranges of annotations."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from inspect import formatannotation
from numbers import Integral
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from cyclegan_gc.errors import UserError


def check_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check the arguments of a call in Python, as the command line checks its options; NumPy integers are accepted.

    Raises:
        UserError: for the first argument that does not fit the annotation of ``function``; one line.
    """
    hints = get_type_hints(function)
    for name, value in given.items():
        counted = isinstance(value, Integral) and not isinstance(value, bool)
        if misfit(int(value) if counted else value, hints[name], name):
            wanted = re.sub(r"(\w+\.)+(?=[A-Z])", "", formatannotation(hints[name]))  # without the modules
            raise UserError(f"{name}={value!r} is not possible; give {wanted}")


def misfit(value: Any, kind: Any, place: str) -> str | None:
    """The first place whose value is missing, of another type than ``kind``, or out of its range; None if all fit.

    Args:
        value: plain types, in dicts, lists and tuples.
        kind: a type hint. The fields of a dataclass or TypedDict are the keys of a dict; further keys are allowed in a
            TypedDict only.
        place: name of ``value`` in the result.
    """
    origin, options = get_origin(kind), get_args(kind)
    if is_dataclass(kind) or is_typeddict(kind):
        return _misfit_of_fields(value, kind, place)
    if origin is Literal:
        fits = type(value) in map(type, options) and value in options
    elif origin in (Union, UnionType):
        fits = any(misfit(value, option, place) is None for option in options)
    elif origin is dict:
        return (
            place if not isinstance(value, dict) else _first((v, options[1], f"{place}.{k}") for k, v in value.items())
        )
    elif origin in (list, tuple, Sequence):
        return _misfit_of_items(value, options, place)
    elif issubclass(kind, int | float) and kind is not bool:
        fits = _is_number(value, kind)
    else:
        fits = isinstance(value, kind)
    return None if fits else place


def _first(items: Iterable[tuple[Any, Any, str]]) -> str | None:
    return next((found for item in items if (found := misfit(*item))), None)


def _misfit_of_fields(value: Any, kind: Any, place: str) -> str | None:
    hints = get_type_hints(kind)
    if not isinstance(value, dict) or (is_dataclass(kind) and value.keys() - hints.keys()):
        return place
    needed = hints.keys() if is_dataclass(kind) else kind.__required_keys__
    if missing := sorted(needed - value.keys()):
        return f"{place}.{missing[0]}"
    return _first((value[name], hint, f"{place}.{name}") for name, hint in hints.items() if name in value)


def _misfit_of_items(value: Any, options: tuple[Any, ...], place: str) -> str | None:
    """Items of a list, of a tuple of any length, or of one whose length its hint gives."""
    if type(value) not in (list, tuple):
        return place
    kinds = options if len(options) > 1 and Ellipsis not in options else options[:1] * len(value)
    return (
        place
        if len(kinds) != len(value)
        else _first((item, kind, place) for item, kind in zip(value, kinds, strict=True))
    )


def _is_number(value: Any, kind: type) -> bool:
    """Whether a number fits; the types of jsonargparse check their range when they are made."""
    if type(value) is not int and (type(value) is not float or issubclass(kind, int) or value != value):
        return False
    try:
        kind(value)
    except (ValueError, OverflowError):
        return False
    return True
