"""Signals that end a run: immediately during setup, after the current step during training."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from cyclegan_gc.errors import Interruption

HANDLED = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
"""Signals of batch systems and torchrun, of the keyboard, and the usual early warning of Slurm."""


def preempts(number: int) -> bool:
    """Whether a signal says that the run was ended from outside and will go on.

    The agent of a W&B sweep ends poor trials by SIGTERM, and W&B would queue what is marked preempted again.
    """
    if number == getattr(signal, "SIGUSR1", None):
        return True
    return number == signal.SIGTERM and "WANDB_SWEEP_ID" not in os.environ


class Signals:
    """Handles SIGTERM, SIGINT and SIGUSR1 inside its ``with`` block (in the main thread; elsewhere none arrive)."""

    def __init__(self) -> None:
        self.caught = 0
        """Number of the first signal that was postponed, 0 where none came."""
        self.ended_by = 0
        """Number of the signal that ended the training after a whole step; 0 while none has."""
        self._postponing = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in HANDLED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def postponed(self) -> Iterator[None]:
        """Signals are only noted in ``caught``; a second Ctrl-C stops at once."""
        self._postponing = True
        try:
            yield
        finally:
            self._postponing = False

    def _handle(self, number: int, _: FrameType | None) -> None:
        if not self._postponing:
            raise Interruption(number)
        # torchrun passes a Ctrl-C on that the terminal has sent already: so the user may have pressed it only once.
        if self.caught and number == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise Interruption(number, "at once; go on from the last checkpoint with --resume auto")
        self.caught = self.caught or number
