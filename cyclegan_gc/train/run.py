"""An open training run: opened anew or continued, saved, put back to an earlier checkpoint, and closed."""

import errno
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.atomic import write_text
from cyclegan_gc.audit.audit import announce
from cyclegan_gc.checkpoint import State
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.data.cache import fingerprint
from cyclegan_gc.data.cases import Cases, find_files, load_cases
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import TrainingStoppedError, UserError
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.artifacts import data_artifact, model_artifacts, run_name, run_settings
from cyclegan_gc.train.checkpoints import BEST, LAST, Beginning, find_beginning, save
from cyclegan_gc.train.meter import Meter
from cyclegan_gc.train.signals import Signals, preempts
from cyclegan_gc.train.state import TrainState, begin_with, build_state, load_state, state_dict
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import fixed_slices
from cyclegan_gc.validate.true_pairs import load_pair
from cyclegan_gc.validate.validation import HeldOut
from cyclegan_gc.validate.watchdog import Monitor

MOST_PAIRS, MOST_JUDGES = 3, 8
"""``data.validation_pairs`` that are looked at, and held-out pairs that choose best.pt."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LESS_MEMORY = "--accumulate, --activation_checkpointing true, --precision bf16 or a smaller --data.crop need less"


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


@dataclass(frozen=True)
class Run:
    """Everything that the steps, figures and checkpoints of a run share."""

    config: TrainConfig
    device: torch.device
    ranks: Ranks
    cases: Cases
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

    @property
    def last_good(self) -> str:
        """Half a sentence on the checkpoint to go back to."""
        last = self.config.output / LAST
        return f"the last good checkpoint is {last}; " if last.exists() else "no checkpoint was saved before; "

    def translator(self) -> Translator:
        """The moving averages as conversion would use them."""
        return _translator(self.config, self.state, self.facts["fingerprint"])

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


def open_run(config: TrainConfig, device: torch.device, ranks: Ranks) -> Run:
    """Open a run: find the files, decide how to begin, prepare the volumes, build, restore, open the tracker.

    Raises:
        UserError: if the data or the checkpoint to resume from cannot be used.
    """
    torch.manual_seed(config.seed)
    _check_shares(config, ranks)
    _make_folder(config.output)
    files = find_files(config.data)
    settings = public_settings(config)
    beginning = find_beginning(config.output, config.resume, config.init_from, settings, ranks)
    with ranks.after_first():
        cases = load_cases(files, config.data, config.preprocess, config.cache)
    for note in files.notes:
        ranks.says(f"note: {note}", warning=True)
    # After the barrier, so that a failed audit ends every rank by its own error.
    announce(cases.findings, ranks, stop=config.audit == "stop")
    facts = {
        "config": settings,
        "fingerprint": _fingerprint(cases, config),
        "init_sha256": beginning.init_sha256,
    }
    beginning.check_volumes(facts["fingerprint"])
    state = build_state(config, device, ranks.rank)
    if beginning.other is not None:
        begin_with(state, beginning.other)
    run = Run(config, device, ranks, cases, facts, state, _progress_of(beginning, config), Meter(), Monitor())
    if beginning.saved is not None:
        run.restore(beginning.saved)
        _warn_of_other_ranks(beginning.saved, run)
    if not ranks.first:
        return run
    run = replace(run, held_out=_load_held_out(run))
    # Last, so that nothing fails between its opening and its end.
    return replace(run, tracker=_open_tracker(run))


@contextmanager
def closing(run: Run, signals: Signals) -> Iterator[None]:
    """Train in the block and close the run at its end; signals wait for the end of a step.

    Raises:
        TrainingStoppedError: if the disk or the memory is full or a loader process is lost.
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
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):  # PyTorch reports a dead loader process by this message
            raise
        raise TrainingStoppedError(
            f"a loader process died or slept longer than --peer_timeout ({str(error).splitlines()[0]}); "
            f"{run.last_good}try --data.workers 0 and go on with --resume auto"
        ) from error
    finally:
        run.close(exit_code, signal_number=signals.ended_by)


def _translator(config: TrainConfig, state: TrainState, known: dict[str, Any]) -> Translator:
    networks = state.averaged_networks()
    return Translator(
        generator=networks["mr_to_ct"],
        back=networks.get("ct_to_mr"),
        direction="mr_to_ct",
        preprocess=config.preprocess,
        slice_axes=config.data.slice_axes,
        context=config.data.context_slices,
        contrasts=config.data.contrasts,
        crop=config.data.crop,
        fingerprint=known,
    )


def _load_held_out(run: Run) -> HeldOut:
    """The cases of every validation: fixed slices, or held-out pairs with the paired objective."""
    cases, settings = run.cases, run.config.preprocess
    pairs = [load_pair(pair, settings) for pair in cases.validation_pairs[:MOST_PAIRS]]
    if run.config.objective == "paired":
        return HeldOut(None, [load_pair(pair, settings) for pair in cases.judges[:MOST_JUDGES]], pairs)
    all_ct = [*cases.ct, *cases.validation_ct]
    crop = run.config.data.crop
    return HeldOut(fixed_slices(cases.validation_mr, cases.validation_ct, all_ct, crop, run.translator()), (), pairs)


def _open_tracker(run: Run) -> Tracker:
    config, progress, facts = run.config, run.progress, run.facts
    write_text(config.output / "config.json", json.dumps(facts["config"], indent=2) + "\n")
    tracker = Tracker(
        config.output,
        config.wandb,
        run_settings(facts, run.cases),
        name=run_name(config),
        step=progress.step,
        run_id=progress.run_id,
    )
    tracker.log_artifacts(lambda: [data_artifact(config.output, config.cache, facts, run.cases, tracker.pseudonyms)])
    progress.run_id = tracker.run_id or progress.run_id  # a run resumed once without W&B stays the same run
    return tracker


def _fingerprint(cases: Cases, config: TrainConfig) -> dict[str, Any]:
    """Figures of every training case and pair, once whatever the number of planes."""
    first = config.data.slice_axes[0]
    mr, ct, pairs = ([stack for stack in each if stack.axis == first] for each in (cases.mr, cases.ct, cases.pairs))
    return {**fingerprint(mr, ct, config.preprocess), "pairs": [stack.statistics["case"] for stack in pairs]}


def _progress_of(beginning: Beginning, config: TrainConfig) -> Progress:
    if beginning.saved is None:
        return Progress()
    progress = Progress(**{name: beginning.saved[name] for name in vars(Progress())})
    if not (config.output / BEST).exists():  # a run that goes on in another folder
        progress.best_score = math.inf
    if not (config.output / LAST).exists():
        progress.run_id = None
    if progress.step >= config.end and not (config.output / LAST).exists():
        raise UserError(f"--resume {config.resume}: already at step {progress.step}; nothing is left to train")
    return progress


def _warn_of_other_ranks(saved: State, run: Run) -> None:
    count = len(saved["pools"])
    if count != run.ranks.size and run.state.pools:
        run.ranks.says(
            f"warning: saved by {count} processes and resumed by {run.ranks.size}; the image pools are dealt out anew, "
            "so the result is not the uninterrupted run's",
            warning=True,
        )


def _check_shares(config: TrainConfig, ranks: Ranks) -> None:
    if config.optimizer.batch_size % (ranks.size * config.accumulate):
        raise UserError(
            f"--optimizer.batch_size {config.optimizer.batch_size}: not a multiple of {ranks.size} processes times "
            f"accumulate={config.accumulate}; it counts the slices of all processes together"
        )


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); choose another --output") from error
