"""A run in Weights & Biases behind one guard: whatever it raises is told once, and the program goes on without it."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking.privacy import Mode, lacks_key, private_environment, private_settings, wandb_mode
from cyclegan_gc.tracking.records import Artifact, Cell, Picture, Table, log_artifact
from cyclegan_gc.tracking.without_pictures import ENDING

T = TypeVar("T")

BEST = {
    "validation/score": "min",
    "validation/gradient": "min",
    "validation/cycle": "min",
    "validation/depth_histogram_hu": "min",
    "validation/histogram_hu": "min",
    "validation/tissues": "min",
    "validation/outline": "min",
    "validation/roughness": "min",
    "true/mae_body_hu": "min",
    "true/bone_dice": "max",
    "memory_gb": "max",
}
"""Figures whose best value, not the last one, stands in the run's summary."""
PICTURES = "pictures_may_be_sent"
"""An empty file in the folder of an offline run for which ``wandb.images`` was set."""
SLOW_SECONDS = 10
"""Longer than this no call may take online: some of W&B's wait for its server and tell nobody that it was in vain."""


class WandbRun:
    """An open W&B run, or nothing in its place where W&B is disabled or has failed.

    Args:
        folder: run folder; everything that W&B stores lies in ``wandb`` below it.
        config: mode, project and group.
        settings: plain dict shown as the run's config; the caller leaves paths out.
        job_type: train, convert or evaluate.
        name: of the run; None leaves it to W&B.
        run_id: of the run to continue.
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
        self._run: Any = None
        self._restore: Callable[[], None] = lambda: None
        if lacks_key(config):
            print("W&B: no API key, so the run stays here; run `wandb login` or set WANDB_API_KEY", file=sys.stderr)
        if self.mode != "disabled":
            self._restore = private_environment(folder)
            self._start(folder, config, {"settings": settings, "job_type": job_type, "name": name})
        self.shows_pictures = config.images or self.mode == "offline"
        if self.mode == "online" and not config.images:
            print("W&B gets no pictures: a face can be rebuilt from a head's MR; --wandb.images true sends them")
        if self.mode == "offline":
            how = "" if config.images else " without pictures, from which a face can be rebuilt"
            print(f"W&B offline: cyclegan-gc sync {folder} sends the run{how}")

    def log(self, values: Mapping[str, float | Picture | Table | None]) -> bool:
        """Add a line of figures, pictures and tables, of pictures only what may be shown; whether W&B took it.

        A table that holds pictures is logged twice, without them and, under a longer name, with them.
        """
        return self._called(lambda run: run.log(dict(self._sendable(values))))

    def summarise(self, values: Mapping[str, float | int | str | None]) -> None:
        """Set figures of the whole run."""
        self._called(lambda run: run.summary.update(dict(values)))

    def leave(self, make: Callable[[], Artifact]) -> None:
        """Log the artifact that ``make`` writes."""
        artifact = self.checked(make, None)
        if artifact is not None:
            self._called(lambda run: log_artifact(run, artifact))

    def use(self, artifact: str) -> None:
        """Tell which artifact, as ``name:alias``, the run builds on; W&B can record it online only."""
        if self._run is None:
            return
        if self.mode == "offline":
            print(f"W&B records no use of {artifact} offline; the run's config holds the model's hash")
            return
        try:
            self._run.use_artifact(artifact)
        except Exception as error:  # such a model was never sent: the hash in the config must do
            print(f"W&B knows no {artifact} ({_first_line(error)}); the run's config holds its hash", file=sys.stderr)

    def alert(self, title: str, text: str) -> None:
        """Send an alert."""
        self._called(lambda run: run.alert(title=title, text=text, level="WARN"))

    def mark_preempting(self) -> None:
        """Tell that the run was ended from outside and will go on."""
        self._guarded(lambda run: run.mark_preempting())

    def finish(self, exit_code: int = 0) -> None:
        """Close the run; waits 20 s at most, and what is not sent then stays in the run folder."""
        if self._run is not None:
            self._guarded(lambda run: run.finish(exit_code=exit_code))
            _stop()  # only then is everything on the disk
        self._run = None
        self._restore()

    def checked(self, find: Callable[[], T], otherwise: T) -> T:
        """What ``find`` gives; ``otherwise`` where W&B is off, and where ``find`` fails, which ends the tracking."""
        found = [otherwise]
        self._guarded(lambda run: found.insert(0, find()))
        return found[0]

    def _start(self, folder: Path, config: WandbConfig, described: Mapping[str, Any]) -> None:
        attempts: list[Mode] = ["online", "offline"] if self.mode == "online" else ["offline"]
        for mode in attempts:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._run = _init(folder, config, described, self.run_id, mode)
            except Exception as error:  # a bad key, no network, a full disk
                print(f"W&B {mode} failed ({_first_line(error)}); going on", file=sys.stderr)
            else:
                self.mode, self.run_id = mode, self._run.id
                if config.images:
                    self._guarded(lambda run: (Path(run.dir).parent / PICTURES).touch())
                return
        self.mode = "disabled"

    def _called(self, action: Callable[[Any], object]) -> bool:
        """:func:`_guarded` for what may wait for the server: after a call that took too long there is none."""
        since = time.monotonic()
        taken = self._guarded(action)
        if taken and self.mode == "online" and time.monotonic() - since > SLOW_SECONDS:
            self._give_up("its server does not answer")
        return taken

    def _guarded(self, action: Callable[[Any], object]) -> bool:
        """Do it; whether W&B was there and took it."""
        if self._run is None:
            return False
        try:
            action(self._run)
        except Exception as error:  # W&B is a sink: whatever it raises, the work goes on
            self._give_up(_first_line(error))
            return False
        return True

    def _give_up(self, cause: str) -> None:
        print(f"W&B failed ({cause}); going on without it", file=sys.stderr)
        self._run = None
        _stop()

    def _sendable(self, values: Mapping[str, float | Picture | Table | None]) -> Iterator[tuple[str, Any]]:
        """What is logged under which name."""
        import wandb

        for name, value in values.items():
            if isinstance(value, Table):
                kept = [
                    n for n, _ in enumerate(value.columns) if not any(isinstance(r[n], Picture) for r in value.rows)
                ]
                yield name, _table(value, kept)
                if self.shows_pictures and len(kept) < len(value.columns):
                    yield name + ENDING, _table(value, list(range(len(value.columns))))
            elif not isinstance(value, Picture):
                yield name, value
            elif self.shows_pictures:
                yield name, wandb.Image(value.pixels, caption=value.caption)


def _table(table: Table, columns: list[int]) -> Any:
    """Some columns of a table as W&B's own."""
    import wandb

    def shown(cell: Cell) -> Any:
        return wandb.Image(cell.pixels, caption=cell.caption) if isinstance(cell, Picture) else cell

    rows = [[shown(row[n]) for n in columns] for row in table.rows]
    return wandb.Table(columns=[table.columns[n] for n in columns], data=rows)


@contextmanager
def opened(
    folder: Path, config: WandbConfig, settings: Mapping[str, Any], *, job_type: str, name: str | None = None
) -> Iterator[WandbRun]:
    """A run that is finished at the end of the block, and marked failed where it raises."""
    run = WandbRun(folder, config, settings, job_type=job_type, name=name)
    try:
        yield run
    except BaseException:
        run.finish(exit_code=1)
        raise
    run.finish()


def _init(folder: Path, config: WandbConfig, described: Mapping[str, Any], run_id: str | None, mode: Mode) -> Any:
    import wandb

    run = wandb.init(
        project=config.project,
        group=config.group,
        name=described["name"],
        config=dict(described["settings"]),
        dir=folder,
        id=run_id,
        resume="allow" if run_id else None,
        mode=mode,
        job_type=described["job_type"],
        settings=private_settings(wandb),
    )
    run.define_metric("global_step", hidden=True)
    run.define_metric("*", step_metric="global_step")
    for name, best in BEST.items():
        run.define_metric(name, step_metric="global_step", summary=best)
    return run


def _stop() -> None:
    """End W&B's own process, which writes what it still has; nothing is left to fail when the program ends."""
    import wandb

    with suppress(Exception, SystemExit):  # it may be gone already
        wandb.teardown(exit_code=1)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
