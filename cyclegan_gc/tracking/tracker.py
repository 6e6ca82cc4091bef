"""The figures of a training: lines in metrics.jsonl, which are the truth, and the same in W&B."""

import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking.pseudonyms import Pseudonyms
from cyclegan_gc.tracking.records import Artifact, Picture, Table
from cyclegan_gc.tracking.sink import WandbRun

T = TypeVar("T")

SENT = "sent.json"
"""The file below RUN/wandb that tells up to which step W&B has the figures, and whether it was still open."""


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
        self.pseudonyms = Pseudonyms(folder)
        self._file = folder / "metrics.jsonl"
        self._folder = folder
        self._sent = self._handed = _sent_before(folder, self._file) if step and run_id else 0
        _keep_lines_until(self._file, step)
        self._wandb = WandbRun(folder, config, settings, job_type="train", name=name, run_id=run_id)
        self._note(still_open=self._wandb.mode != "disabled")

    @property
    def run_id(self) -> str | None:
        """W&B id of the run, None where there never was one."""
        return self._wandb.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one line of figures; what is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._write({"step": step, "time": round(time.time(), 3), **values})
        if step > self._sent and self._wandb.log({"global_step": step, **values}):
            self._handed = max(self._handed, step)

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
        self._sent = self._handed = min(self._sent, step)
        self._note(still_open=self._wandb.mode != "disabled")
        self._write({"step": step, "time": round(time.time(), 3), "rollback": reason})

    def close(self, exit_code: int = 0, *, preempted: bool = False) -> None:
        """Finish the W&B run.

        Args:
            exit_code: of the program; anything but 0 marks the run failed.
            preempted: whether it was ended from outside and will go on.
        """
        self._note(still_open=False)
        if preempted:
            self._wandb.mark_preempting()
        self._wandb.finish(exit_code)

    def figures_until(self, step: int) -> dict[str, float | None]:
        """The newest value of each figure up to ``step``."""
        known: dict[str, float | None] = {}
        for line in map(json.loads, _whole_lines(self._file) if self._file.exists() else []):
            if line["step"] <= step:
                known |= {name: value for name, value in line.items() if not isinstance(value, str)}
        return {name: value for name, value in known.items() if name not in ("step", "time")}

    def _note(self, *, still_open: bool) -> None:
        """Keep what W&B has; a run that is killed has what stands in metrics.jsonl too."""
        with suppress(OSError):
            if (self._folder / "wandb").is_dir():
                write_text(self._folder / "wandb" / SENT, json.dumps({"step": self._handed, "open": still_open}))

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


def _sent_before(folder: Path, lines: Path) -> int:
    try:
        known = json.loads((folder / "wandb" / SENT).read_text())
        return max(known["step"], _last_step(lines)) if known["open"] else known["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
