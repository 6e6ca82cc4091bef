"""Where a run's figures go: always into its own metrics.jsonl, and into Weights & Biases where that is on.

W&B is a sink. It never prompts, and nothing that identifies a person or a machine is handed to it: no path, host,
command line, console output or git remote.
"""

import json
import math
import netrc
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from cyclegan_gc.config import WandbConfig

INIT_TIMEOUT_SECONDS = 20


class Tracker:
    """An open run: lines in metrics.jsonl and, unless disabled, a W&B run.

    Args:
        folder: run folder.
        config: W&B mode, project and group.
        settings: plain dict shown as the run's config; the caller leaves paths out.
        step: step from which the run continues; later lines of an interrupted run are dropped.
        run_id: W&B id of the run to continue.
    """

    def __init__(
        self, folder: Path, config: WandbConfig, settings: dict[str, Any], *, step: int = 0, run_id: str | None = None
    ) -> None:
        self._file = folder / "metrics.jsonl"
        _keep_lines_until(self._file, step)
        self._wandb = _start_wandb(folder, config, settings, run_id)

    @property
    def run_id(self) -> str | None:
        """W&B id of the run, None where W&B is disabled."""
        return self._wandb.id if self._wandb else None

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one line of figures; what is not finite becomes null."""
        values = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        with self._file.open("a") as file:
            file.write(json.dumps({"step": step, "time": round(time.time(), 3), **values}) + "\n")
        if self._wandb:
            self._wandb.log({"global_step": step, **values})

    def picture(self, step: int, name: str, pixels: np.ndarray, caption: str) -> None:
        """Show a uint8 picture (H, W) or (H, W, 3); windowing to uint8 is the caller's task."""
        if pixels.dtype != np.uint8:
            raise ValueError(f"a picture must be uint8, got {pixels.dtype}: W&B would cast without scaling")
        if self._wandb:
            import wandb

            self._wandb.log({"global_step": step, name: wandb.Image(pixels, caption=caption)})

    def alert(self, step: int, name: str, message: str) -> None:
        """Tell a failure at once: on the terminal, as a line of metrics.jsonl and as an alert of W&B."""
        print(f"alarm: step {step}: {message}", file=sys.stderr, flush=True)
        with self._file.open("a") as file:
            file.write(
                json.dumps({"step": step, "time": round(time.time(), 3), "alarm": name, "message": message}) + "\n"
            )
        if self._wandb:
            try:
                self._wandb.alert(title=name, text=f"step {step}: {message}", level="WARN")
            except Exception as error:  # W&B is a sink: whatever it raises, training goes on
                print(f"W&B alert failed ({str(error).splitlines()[0]}); training goes on", file=sys.stderr)

    def rewind(self, step: int) -> None:
        """Drop the local lines after ``step``, from which the run goes on."""
        _keep_lines_until(self._file, step)

    def close(self, exit_code: int = 0) -> None:
        """Finish the W&B run."""
        if self._wandb:
            self._wandb.finish(exit_code=exit_code)


def wandb_mode(config: WandbConfig) -> str:
    """``online``, ``offline`` or ``disabled``: online only when asked for and an API key exists."""
    asked = os.environ.get("WANDB_MODE", "").lower() if config.mode == "auto" else config.mode
    if asked == "disabled":
        return "disabled"
    return "online" if asked == "online" and _has_key() else "offline"


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None  # where `wandb login` puts it
    except (OSError, netrc.NetrcParseError):
        return False


def _start_wandb(folder: Path, config: WandbConfig, settings: dict[str, Any], run_id: str | None) -> Any:
    mode = wandb_mode(config)
    if mode == "disabled":
        return None
    import wandb

    run = None
    for attempt in dict.fromkeys((mode, "offline")):
        try:
            run = _init(wandb, folder, config, settings, run_id, attempt)
            break
        except (wandb.Error, OSError, TimeoutError) as error:
            print(f"W&B {attempt} failed ({str(error).splitlines()[0]}); training goes on")
    if run:
        run.define_metric("global_step", hidden=True)
        run.define_metric("*", step_metric="global_step")
    return run


def _init(
    wandb: Any, folder: Path, config: WandbConfig, settings: dict[str, Any], run_id: str | None, mode: str
) -> Any:
    private = wandb.Settings(
        console="off",
        disable_git=True,
        host="redacted",
        init_timeout=INIT_TIMEOUT_SECONDS,
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_save_requirements=False,
        # An offline run is otherwise flushed every 15 s, and a kill before that leaves nothing.
        x_transaction_log_flush_interval=1,
    )
    return wandb.init(
        project=config.project,
        group=config.group,
        config=settings,
        dir=folder,
        id=run_id,
        resume="allow" if run_id else None,
        mode=mode,
        job_type="train",
        settings=private,
    )


def _keep_lines_until(file: Path, step: int) -> None:
    """Drop figures after ``step``: a resumed run logs them again."""
    if not file.exists():
        return
    lines = [line for line in file.read_text().splitlines() if line.endswith("}") and json.loads(line)["step"] <= step]
    file.write_text("".join(f"{line}\n" for line in lines if step))
