"""The log of a training: lines in metrics.jsonl, which are complete, and the same figures in W&B."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking.keys import wandb_key
from cyclegan_gc.tracking.pseudonyms import Pseudonyms
from cyclegan_gc.tracking.records import Artifact, Picture, Table
from cyclegan_gc.tracking.wandb_run import WandbRun

Line = dict[str, Any]
"""A line of metrics.jsonl: ``step``, ``time`` and figures, None where not finite, or the texts of an event."""


class Tracker:
    """An open run: lines in metrics.jsonl and, unless disabled, a W&B run.

    Args:
        folder: run folder.
        config: mode and identity of the W&B run, and what is logged.
        settings: plain dict shown as the run's config; the caller leaves paths out.
        name: beginning of the run's name in W&B, which ends with its id, unless the user gives a name.
        step: step from which the run continues. Later lines of metrics.jsonl are dropped; W&B keeps what it has, and
            gets a step again only after :meth:`rewind`.
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
        self._sent_file = folder / "wandb" / "sent.json"
        self._sent = self._sent_before() if step and run_id else 0
        """Step up to which earlier calls of the program gave their figures to W&B."""
        self._given = self._sent
        """Step up to which W&B has the figures now."""
        self._drop_lines_after(step)
        self._wandb = WandbRun(folder, config, settings, job_type="train", name=name, run_id=run_id)
        self._write_sent(still_open=self._wandb.mode != "disabled")

    @property
    def run_id(self) -> str | None:
        """W&B id of the run, None if it was never in W&B."""
        return self._wandb.run_id

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Log one line of figures, in W&B under :func:`wandb_key`; non-finite values become null."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        self._write(step, values)
        keyed = {wandb_key(name): value for name, value in values.items()}
        if step > self._sent and self._wandb.log({"global_step": step, **keyed}):
            self._given = max(self._given, step)

    def show(self, step: int, shown: Mapping[str, Picture | Table]) -> None:
        """Log pictures and tables, in W&B only."""
        if step > self._sent:
            self._wandb.log({"global_step": step, **shown})

    def log_artifacts(self, make: Callable[[], Iterable[Artifact]]) -> None:
        """Log the artifacts that ``make`` writes; ``make`` is not called where W&B is off."""
        self._wandb.log_artifacts(make)

    def alert(self, step: int, name: str, message: str) -> None:
        """Report a failure at once: on the terminal, in metrics.jsonl and as an alert of W&B."""
        print(f"alarm: step {step}: {message}", file=sys.stderr, flush=True)
        self._write(step, {"alarm": name, "message": message})
        self._wandb.alert(name, f"step {step}: {message}")

    def rewind(self, step: int, reason: str) -> None:
        """Go back to ``step``: drop the later lines of metrics.jsonl and add a line with the reason."""
        self._drop_lines_after(step)
        self._sent = self._given = min(self._sent, step)
        self._write_sent(still_open=self._wandb.mode != "disabled")
        self._write(step, {"rollback": reason})

    def close(self, exit_code: int = 0, *, preempted: bool = False) -> None:
        """Finish the W&B run; see :meth:`WandbRun.finish`."""
        self._write_sent(still_open=False)
        self._wandb.finish(exit_code, preempted=preempted)

    def lines(self) -> list[Line]:
        """Lines of metrics.jsonl without those that a kill cut off."""
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text().splitlines() if line.endswith("}")]

    def figures_until(self, step: int) -> dict[str, float | None]:
        """The newest value of each figure up to ``step``."""
        known: dict[str, float | None] = {}
        for line in self.lines():
            if line["step"] <= step:
                known |= {name: value for name, value in line.items() if not isinstance(value, str)}
        return {name: value for name, value in known.items() if name not in ("step", "time")}

    def _write(self, step: int, values: Mapping[str, float | str | None]) -> None:
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")

    def _drop_lines_after(self, step: int) -> None:
        if self._file.exists():
            kept = [line for line in self.lines() if line["step"] <= step] if step else []
            write_text(self._file, "".join(f"{json.dumps(line)}\n" for line in kept))

    def _write_sent(self, *, still_open: bool) -> None:
        """Keep the step up to which W&B has the figures; if the run is killed, metrics.jsonl has the step."""
        with suppress(OSError):
            if self._sent_file.parent.is_dir():
                write_text(self._sent_file, json.dumps({"step": self._given, "open": still_open}))

    def _sent_before(self) -> int:
        try:
            known = json.loads(self._sent_file.read_text())
            last = max((line["step"] for line in self.lines()), default=0)
            return max(known["step"], last) if known["open"] else known["step"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0
