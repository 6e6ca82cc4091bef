"""An open training run: saved, put back to an earlier checkpoint, and closed."""

import errno
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.checkpoint import State
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cases import Cases
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.model_files import LAST
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.artifacts import model_artifacts
from cyclegan_gc.train.batches import Samples, StepBatches, batches_from
from cyclegan_gc.train.checkpoints import save
from cyclegan_gc.train.meter import Meter
from cyclegan_gc.train.signals import Signals, preempts
from cyclegan_gc.train.state import TrainState, load_state, state_dict
from cyclegan_gc.trained_model import Translator, translator_of
from cyclegan_gc.validate.validation import HeldOut
from cyclegan_gc.validate.watchdog import Monitor

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LESS_MEMORY = (
    "--accumulate, --activation_checkpointing true, --precision bf16, --data.resident false or a smaller --data.crop "
    "need less"
)


@dataclass
class Progress:
    """Where a run stands; a resumed run continues from it."""

    step: int = 0
    best_score: float = math.inf
    stale: int = 0
    """Validations since the best one."""
    suspect: bool = False
    """Whether the watchdog had found something when the last checkpoint was saved."""
    stream: int = 0
    """Stream of samples; the next one begins after each return to an earlier checkpoint."""
    run_id: str | None = None
    """W&B id of the run."""


@dataclass
class NewestValidation:
    """What the page of a run shows of the newest validation of this process."""

    score: str = ""
    """A sentence."""
    panels: Mapping[str, Path] = field(default_factory=dict)
    """Title -> picture."""


@dataclass(frozen=True)
class Run:
    """Everything that the steps, figures and checkpoints of a run share."""

    config: TrainConfig
    device: torch.device
    ranks: Ranks
    cases: Cases
    samples: Samples
    facts: dict[str, Any]
    """Settings, fingerprint and origin of the first weights, as a checkpoint keeps them."""
    state: TrainState
    progress: Progress
    meter: Meter
    monitor: Monitor
    held_out: HeldOut | None = None
    """Cases of the validations; None on all ranks but the first."""
    tracker: Tracker | None = None
    """None on all ranks but the first."""
    newest: NewestValidation = field(default_factory=NewestValidation)

    @property
    def last_good(self) -> str:
        """Part of an error message: the checkpoint to return to."""
        last = self.config.output / LAST
        return f"the last good checkpoint is {last}; " if last.exists() else "no checkpoint was saved before; "

    def batches(self) -> Generator[StepBatches, None, None]:
        """This rank's batches from the current step on."""
        progress = self.progress
        return batches_from(self.samples, self.config, self.ranks, first_step=progress.step, stream=progress.stream)

    def translator(self) -> Translator:
        """The moving averages as conversion would use them."""
        return translator_of(self.facts, self.state.averaged_networks())

    def save(self, *, best: bool, rotate: bool = True) -> None:
        """Write the checkpoints; on the first rank.

        Args:
            best: whether best.pt is to be the same.
            rotate: False leaves previous.pt as it is.

        Raises:
            TrainingStoppedError: if a figure of a step was not finite.
            OSError: if the disk is full or read-only.
        """
        self.meter.check(self.ranks, self.last_good)
        # Where the watchdog may return, previous.pt stays as it was before the first finding.
        healthy_before = self.config.monitor.action == "warn" or not self.progress.suspect
        self.progress.suspect = bool(self.monitor.found)
        checkpoint = {
            **vars(self.progress),
            **self.facts,
            "meter": self.meter.state_dict(self.ranks),
            "monitor": self.monitor.state_dict(),
            **state_dict(self.state, self.ranks),
        }
        if self.ranks.first:
            save(self.config.output, checkpoint, best=best, rotate=rotate and healthy_before)

    def restore(self, saved: State) -> None:
        """Put networks, optimisers, pools, meter and watchdog back to a checkpoint."""
        load_state(self.state, saved, self.device, self.ranks)
        self.meter.load_state_dict(saved["meter"], self.device)
        self.monitor.load_state_dict(saved["monitor"])

    def close(self, exit_code: int, *, signal_number: int = 0) -> None:
        """Finish the tracking, with the models that the run leaves unless it failed.

        Args:
            exit_code: of the program.
            signal_number: of the signal that ended the run after a whole step; 0 for none.
        """
        tracker = self.tracker
        if tracker is None:
            return
        if exit_code == 0 or signal_number:
            tracker.log_artifacts(lambda: model_artifacts(self.config.output, tracker.run_id, tracker.figures_until))
        tracker.close(exit_code, preempted=preempts(signal_number))


@contextmanager
def closing(run: Run, signals: Signals) -> Iterator[None]:
    """Train in the block and close the run at its end; signals wait for the end of a step.

    Raises:
        TrainingStoppedError: if the disk or the memory is full.
    """
    exit_code = 1
    try:
        with signals.postponed():
            yield
        exit_code = 128 + signals.ended_by if signals.ended_by else 0
    except OSError as error:
        space = "free some space and " if error.errno in DISK_FULL else ""
        raise TrainingStoppedError(
            f"{error.filename or run.config.output}: {error.strerror or error}; {run.last_good}{space}go on with "
            "--resume auto"
        ) from error
    except torch.OutOfMemoryError as error:
        raise TrainingStoppedError(f"{run.device}: out of memory; {run.last_good}{LESS_MEMORY}") from error
    finally:
        run.close(exit_code, signal_number=signals.ended_by)
