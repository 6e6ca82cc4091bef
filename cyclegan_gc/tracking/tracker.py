"""The figures of a training: lines in metrics.jsonl, which are the truth, and the same in W&B."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking.pseudonyms import Pseudonyms
from cyclegan_gc.tracking.records import Artifact, Picture, Table
from cyclegan_gc.tracking.sink import WandbRun

T = TypeVar("T")

SENT = "sent.json"
"""The step below RUN/wandb up to which W&B has the figures of earlier calls."""


class Tracker:
    """An open run: lines in metrics.jsonl and, unless disabled, a W&B run.

    Args:
        folder: run folder.
        config: W&B mode, project and group.
        settings: plain dict shown as the run's config; the caller leaves paths out.
        name: of the run in W&B.
        step: step from which the run continues; later lines of an interrupted run are dropped, and W&B, which keeps
            what it has, is not told the steps of them again.
        run_id: W&B id of the run to continue.
    """

    def __init__(
        self,
        folder: Path,
        config: WandbConfig,
        settings: dict[str, Any],
        *,
        name: str | None = None,
        step: int = 0,
        run_id: str | None = None,
    ) -> None:
        self.figures: dict[str, float | None] = {}
        """The newest value of each."""
        self.pseudonyms = Pseudonyms(folder)
        self._file = folder / "metrics.jsonl"
        self._sent = max(_last_step(self._file), _sent_before(folder)) if step and run_id else 0
        _keep_lines_until(self._file, step)
        self._wandb = WandbRun(folder, config, settings, job_type="train", name=name, run_id=run_id)
        if self._sent:
            self.checked(lambda: (folder / "wandb" / SENT).write_text(json.dumps(self._sent)), 0)

    @property
    def run_id(self) -> str | None:
        """W&B id of the run, None where there never was one."""
        return self._wandb.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one line of figures; what is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self.figures |= values
        self._write({"step": step, "time": round(time.time(), 3), **values})
        if step > self._sent:
            self._wandb.log({"global_step": step, **values})

    def show(self, step: int, shown: Mapping[str, Picture | Table]) -> None:
        """Show pictures and tables in W&B."""
        if step > self._sent:
            self._wandb.log({"global_step": step, **shown})

    def leave(self, make: Callable[[], Artifact]) -> None:
        """Log the artifact that ``make`` writes; it is not called where W&B is off."""
        if self._wandb.mode != "disabled":
            self._wandb.leave(make)

    def checked(self, find: Callable[[], T], otherwise: T) -> T:
        """What ``find`` gives, for W&B alone; ``otherwise`` where that is off or it fails, which is told."""
        return self._wandb.checked(find, otherwise)

    def alert(self, step: int, name: str, message: str) -> None:
        """Tell a failure at once: on the terminal, as a line of metrics.jsonl and as an alert of W&B."""
        print(f"alarm: step {step}: {message}", file=sys.stderr, flush=True)
        self._write({"step": step, "time": round(time.time(), 3), "alarm": name, "message": message})
        self._wandb.alert(name, f"step {step}: {message}")

    def rewind(self, step: int, reason: str) -> None:
        """Drop the local lines after ``step``, from which the run goes on otherwise than before; a line says why."""
        _keep_lines_until(self._file, step)
        self._sent = min(self._sent, step)
        self._write({"step": step, "time": round(time.time(), 3), "rollback": reason})

    def close(self, exit_code: int = 0, *, preempted: bool = False) -> None:
        """Finish the W&B run.

        Args:
            exit_code: of the program; anything but 0 marks the run failed.
            preempted: whether it was ended from outside and will go on.
        """
        if preempted:
            self._wandb.mark_preempting()
        self._wandb.finish(exit_code)

    def _write(self, line: Mapping[str, Any]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _keep_lines_until(file: Path, step: int) -> None:
    """Drop figures after ``step``: a resumed run logs them again."""
    if not file.exists():
        return
    lines = [line for line in _whole_lines(file) if json.loads(line)["step"] <= step]
    write_text(file, "".join(f"{line}\n" for line in lines if step))


def _last_step(file: Path) -> int:
    return max((json.loads(line)["step"] for line in _whole_lines(file)), default=0) if file.exists() else 0


def _whole_lines(file: Path) -> list[str]:
    return [line for line in file.read_text().splitlines() if line.endswith("}")]


def _sent_before(folder: Path) -> int:
    try:
        return int(json.loads((folder / "wandb" / SENT).read_text()))
    except (OSError, ValueError):
        return 0
