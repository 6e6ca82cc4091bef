"""The progress of a training for people: a bar on a terminal, plain lines elsewhere, both with the time left."""

import sys
import time
from datetime import timedelta

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

TIMED_STEPS = 3
"""Steps timed after the first one, to estimate a whole training on a CPU."""
LONG_SECONDS = 24 * 3600
REMAINING_SECONDS = 600
"""Seconds of recent steps, with validations, from which the bar estimates the time left."""


class Display:
    """Shows the progress of the steps inside its ``with`` block.

    Args:
        step: where the run stands.
        end: step after which it stops.
        device: of the training; on a CPU that would need days a warning is printed after a few steps.
        shown: False on all ranks but the first.
    """

    def __init__(self, step: int, end: int, device: torch.device, *, shown: bool) -> None:
        self._end, self._device, self._shown = end, device, shown
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            speed_estimate_period=REMAINING_SECONDS,
            transient=True,
            disable=not (shown and sys.stdout.isatty()),
        )
        self._task = self._bar.add_task("step", total=end, completed=step, figures="")
        self._timed = False
        self.restart(step)

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def restart(self, step: int) -> None:
        """Begin again at ``step``."""
        self._first = self._step = step
        self._since = time.monotonic()
        self._bar.reset(self._task, completed=step, figures="")

    def advance(self) -> None:
        """Count one step."""
        self._step += 1
        self._bar.advance(self._task)
        done = self._step - self._first
        if done == 1:
            self._after_first = time.monotonic()
        elif done == 1 + TIMED_STEPS and self._shown and self._device.type == "cpu" and not self._timed:
            self._timed = True
            self._warn_of_days((time.monotonic() - self._after_first) / TIMED_STEPS)

    def show(self, figures: str) -> None:
        """Show a line of figures with the time left."""
        if not self._bar.disable:
            self._bar.update(self._task, figures=figures)
        elif self._shown:
            print(f"step {self._step}/{self._end}  {figures}  {self.left} left", flush=True)

    @property
    def left(self) -> timedelta:
        """Time until the end, at the mean speed so far."""
        per_step = (time.monotonic() - self._since) / max(1, self._step - self._first)
        return timedelta(seconds=round(per_step * (self._end - self._step)))

    def _warn_of_days(self, seconds_a_step: float) -> None:
        seconds = seconds_a_step * (self._end - self._step)
        if seconds > LONG_SECONDS:
            print(
                f"warning: at this speed the training takes about {seconds / 86400:.0f} days on this CPU; "
                "use a GPU or a preset for a CPU such as configs/head.yaml",
                file=sys.stderr,
                flush=True,
            )
