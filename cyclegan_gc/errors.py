"""Errors for the user: one line with the file, the cause and the cure."""

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can correct; the command line prints its message and exits with code 2."""


class VolumeError(UserError):
    """One volume cannot be used; a batch names it, continues with the others and exits with code 3."""


class StoppedError(Exception):
    """A run cannot continue; the command line prints its message and exits with code 4."""


class TrainingStoppedError(StoppedError):
    """Training cannot continue (a loss is not finite, a disk is full)."""


class Interruption(KeyboardInterrupt):
    """A signal ended the run; the command line exits with 128 and the signal's number.

    Args:
        signal_number: number of the signal.
        outcome: where the run stopped, for the message.
    """

    def __init__(self, signal_number: int, outcome: str = "before the first step") -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} {outcome}")
        self.signal_number = signal_number


def plain(text: str) -> str:
    """A text in one line for a terminal, a log or a page.

    Characters that a name may hold but no line should (ESC, line breaks, bytes that are not UTF-8) are escaped.
    """
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "".join(escaped).replace("\\udc", "\\x")  # a byte that is not UTF-8 is kept as a surrogate


def one_line(text: str) -> str:
    """A message of any library as :func:`plain` text, line breaks and repeated spaces as one space."""
    return plain(" ".join(text.split()))


def labelled(message: str, labels: Mapping[Path | str, str]) -> str:
    """A message in one line with each path in it replaced by its label, since whole paths must not be published.

    Longer paths are replaced before shorter ones.
    """
    message, known = one_line(message), {one_line(str(path)): label for path, label in labels.items()}
    for path in sorted(known, key=len, reverse=True):
        if path in message:  # the beginning of a path, not the rest of a longer one
            message = re.sub(rf"(?<![\w./-]){re.escape(path)}", lambda _, label=known[path]: label, message)
    return message


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Put the file's name before the message of a :class:`VolumeError`."""
    try:
        yield
    except VolumeError as error:
        raise VolumeError(f"{path}: {error}") from None
