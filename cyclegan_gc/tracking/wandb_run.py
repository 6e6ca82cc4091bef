"""A run in Weights & Biases: an error of W&B is printed once, and the program goes on without it."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking.account import Mode, asked_mode, wandb_mode
from cyclegan_gc.tracking.identity import identity
from cyclegan_gc.tracking.keys import BEST, GROUPS
from cyclegan_gc.tracking.privacy import private_environment, private_settings
from cyclegan_gc.tracking.records import Artifact, Cell, Table, as_wandb, log_artifact

SLOW_SECONDS = 10
"""Longest time of one call online. Some calls of W&B wait for a silent server and report no failure."""


class WandbRun:
    """An open W&B run; every method does nothing where W&B is disabled or has failed.

    As a context manager it finishes the run at the end of the block, and marks it failed if the block raises.

    Args:
        folder: run folder; all files of W&B lie in ``wandb`` below it.
        config: mode, identity, and what is logged.
        settings: plain dict shown as the run's config; the caller leaves paths out.
        job_type: train, convert or evaluate.
        name: beginning of the run's name, which ends with its id, unless the user gives a name.
        run_id: id of the run to continue.
    """

    def __init__(
        self,
        folder: Path,
        config: WandbConfig,
        settings: Mapping[str, Any],
        *,
        job_type: str,
        name: str | None = None,
        run_id: str | None = None,
    ) -> None:
        self.mode: Mode = wandb_mode(config)
        self.run_id = run_id
        self._images = config.images
        self._run: Any = None
        self._environment = ExitStack()
        if self.mode == "offline" and asked_mode(config) == "online":
            print("W&B: no API key, so the run stays here; run `wandb login` or set WANDB_API_KEY", file=sys.stderr)
        if self.mode != "disabled":
            new_id = run_id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
            described = {
                **identity(config, f"{name or job_type}-{new_id}"),
                "config": {"model": f"model-{new_id}", **settings},
                "id": new_id,
                "job_type": job_type,
            }
            self._environment.enter_context(private_environment(folder))
            self._start(folder, config, described)
        if self.mode != "disabled":
            print(_opening_line(folder, self.mode, images=config.images))

    def __enter__(self) -> "WandbRun":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.finish(exit_code=0 if error is None else 1)

    def log(self, values: Mapping[str, Cell | Table]) -> bool:
        """Log figures, tables and, if ``wandb.images`` is set, pictures in one line; True if W&B took it."""
        return self._call(lambda run: run.log(as_wandb(values, images=self._images)))

    def log_artifacts(self, make: Callable[[], Iterable[Artifact]]) -> None:
        """Log the artifacts that ``make`` writes; ``make`` is not called where W&B is off."""

        def log_each() -> None:
            for artifact in make():
                self._call(partial(log_artifact, artifact))

        self.attempt(log_each)

    def use(self, artifact: str) -> None:
        """Record that the run builds on an artifact, given as ``name:alias``; W&B can do so online only."""
        try:
            if self._run is not None:
                self._run.use_artifact(artifact)
        except Exception as error:  # offline, or the model was never sent: the hash in the config has to suffice
            cause = _first_line(error)
            print(f"W&B cannot link to {artifact} ({cause}); the run's config holds its hash", file=sys.stderr)

    def alert(self, title: str, text: str) -> None:
        """Send an alert."""
        self._call(lambda run: run.alert(title=title, text=text, level="WARN"))

    def finish(self, exit_code: int = 0, *, preempted: bool = False) -> None:
        """Close the run; this waits 20 s at most, and unsent data stays in the run folder.

        Args:
            exit_code: of the program; anything but 0 marks the run failed.
            preempted: whether a signal ended the run and it will be resumed.
        """
        if preempted:
            self._call(lambda run: run.mark_preempting(), may_wait=True)
        if self._run is not None:
            self._call(lambda run: run.finish(exit_code=exit_code), may_wait=True)
            _stop()  # only then is all data on the disk
        self._run = None
        self._environment.close()

    def attempt(self, action: Callable[[], object]) -> None:
        """Do what only W&B needs: nothing where W&B is off; an error ends the tracking, not the program."""
        self._call(lambda run: action(), may_wait=True)

    def _start(self, folder: Path, config: WandbConfig, described: Mapping[str, Any]) -> None:
        """Open the run, offline if that fails online; the mode becomes ``disabled`` if both fail."""
        attempts: list[Mode] = ["online", "offline"] if self.mode == "online" else ["offline"]
        for mode in attempts:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._run = _init(folder, mode, described, resumed=self.run_id is not None, system=config.system)
            except Exception as error:  # a bad key, no network, a full disk
                print(f"W&B {mode} failed ({_first_line(error)}); going on", file=sys.stderr)
                _stop()  # it would keep the id in use
            else:
                self.mode, self.run_id = mode, self._run.id
                return
        self.mode = "disabled"

    def _call(self, action: Callable[[Any], object], *, may_wait: bool = False) -> bool:
        """Do ``action`` with W&B's run; True if it succeeded.

        An error ends the tracking, and so does an online call of over ``SLOW_SECONDS`` unless it ``may_wait``.
        """
        if self._run is None:
            return False
        since = time.monotonic()
        try:
            action(self._run)
        except Exception as error:  # whatever W&B raises, the work goes on
            self._give_up(_first_line(error))
            return False
        if self.mode == "online" and not may_wait and time.monotonic() - since > SLOW_SECONDS:
            self._give_up("its server does not answer")
        return True

    def _give_up(self, cause: str) -> None:
        print(f"W&B failed ({cause}); going on without it", file=sys.stderr)
        self._run = None
        _stop()


def _init(folder: Path, mode: Mode, described: Mapping[str, Any], *, resumed: bool, system: bool) -> Any:
    import wandb

    settings = private_settings(wandb, system=system)
    resume = "allow" if resumed else None
    run = wandb.init(dir=folder, mode=mode, settings=settings, resume=resume, **described)
    run.define_metric("global_step", hidden=True)
    for group in GROUPS:
        run.define_metric(f"{group}/*", step_metric="global_step")
    for name, best in BEST.items():
        run.define_metric(name, step_metric="global_step", summary=best)
    return run


def _stop() -> None:
    """End W&B's own process, which first writes the data it still holds; so nothing can fail at the program's end."""
    import wandb

    with suppress(Exception, SystemExit):  # the process may have ended already
        wandb.teardown(exit_code=1)


def _opening_line(folder: Path, mode: Mode, *, images: bool) -> str:
    """The line printed at the start: the mode, whether pictures are logged, and how an offline run is sent."""
    face = "from which a face can be rebuilt"
    pictures = f"with pictures, {face}" if images else f"without pictures ({face}; --wandb.images true adds them)"
    return f"W&B {mode}, {pictures}" + (f"; cyclegan-gc sync {folder} sends the run" if mode == "offline" else "")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
