"""An open training run: opened anew or where it was stopped, and put back to an earlier checkpoint."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.atomic import file_sha256, write_text
from cyclegan_gc.audit.audit import announce
from cyclegan_gc.checkpoint import State
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.data.cache import fingerprint
from cyclegan_gc.data.cases import Cases, load_cases
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.artifacts import data_artifact, model_artifacts, run_name, run_settings
from cyclegan_gc.train.checkpoints import (
    BEST,
    LAST,
    check_same_beginning,
    check_same_settings,
    check_same_volumes,
    find_saved,
    load_relative,
)
from cyclegan_gc.train.meter import Meter
from cyclegan_gc.train.signals import preempts
from cyclegan_gc.train.state import TrainState, begin_with, build_state, load_state, state_dict
from cyclegan_gc.validate.true_pairs import MOST_JUDGES, TruePair, load_pair, load_pairs
from cyclegan_gc.validate.watchdog import Monitor


@dataclass
class Progress:
    """Where a run stands: what a resumed run continues besides the networks."""

    step: int = 0
    best_score: float = math.inf
    stale: int = 0
    """Validations since the best one."""
    suspect: bool = False
    """Whether the watchdog had found something when the last checkpoint was saved."""
    stream: int = 0
    """Which stream of samples is drawn; the next one after each return to an earlier checkpoint."""
    run_id: str | None = None


@dataclass(frozen=True)
class Run:
    """What the steps, figures and checkpoints of a run share."""

    config: TrainConfig
    device: torch.device
    ranks: Ranks
    cases: Cases
    facts: dict[str, Any]
    """Settings and fingerprint, as a checkpoint keeps them."""
    state: TrainState
    progress: Progress
    meter: Meter
    monitor: Monitor
    tracker: Tracker | None
    """None on all ranks but the first."""
    pairs: Sequence[TruePair] = ()
    """With a true CT, for figures alone; none on all ranks but the first."""
    judges: Sequence[TruePair] = ()
    """With objective paired the held-out pairs that choose best.pt; none on all ranks but the first."""

    @property
    def end(self) -> int:
        """Step after which this call of the program stops."""
        return self.config.stop_at or self.config.steps

    @property
    def last_good(self) -> str:
        """Half a sentence on the checkpoint to go back to."""
        last = self.config.output / LAST
        return f"the last good checkpoint is {last}; " if last.exists() else "no checkpoint was saved before; "

    def checkpoint(self) -> State:
        """All that the run goes on from; complete on the first rank."""
        return {
            **vars(self.progress),
            **self.facts,
            "meter": self.meter.state_dict(self.ranks),
            "monitor": self.monitor.state_dict(),
            **state_dict(self.state, self.ranks),
        }

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

    def restore(self, saved: State) -> None:
        """Put networks, optimisers, pools, meter and watchdog back to where ``saved`` was taken."""
        load_state(self.state, saved, self.device, self.ranks)
        self.meter.load_state_dict(saved["meter"], self.device)
        self.monitor.load_state_dict(saved["monitor"])


def open_run(config: TrainConfig, device: torch.device, ranks: Ranks) -> Run:
    """Prepare the volumes, build the networks and, where the run was begun before, continue it.

    Raises:
        UserError: if the data or the checkpoint to resume from cannot be used.
    """
    torch.manual_seed(config.seed)
    _make_folder(config.output)
    saved = find_saved(config, ranks)
    relative = load_relative(config) if saved is None and config.init_from else None
    if saved is not None:
        check_same_settings(saved, config)
        check_same_beginning(saved, config)
    with ranks.after_first():
        cases = load_cases(config)
    for note in cases.notes:
        ranks.says(f"note: {note}", warning=True)
    # Once all are past the barrier, so that a failed audit ends every rank by its own error.
    announce(cases.findings, config, ranks)
    facts = {"config": public_settings(config), "fingerprint": _fingerprint(cases, config), "init_sha256": None}
    progress = Progress()
    if saved is not None:
        check_same_volumes(saved, facts["fingerprint"], config)
        facts["init_sha256"] = saved["init_sha256"]
        progress = _progress_of(saved, config)
    pairs = load_pairs(config, facts["fingerprint"]) if ranks.first else []
    chosen = cases.validation_pairs[:MOST_JUDGES] if ranks.first else ()
    judges = [load_pair(files, config, facts["fingerprint"]) for files in chosen]
    state = build_state(config, device, ranks.rank)
    if relative is not None and config.init_from:
        begin_with(state, relative)
        facts["init_sha256"] = file_sha256([config.init_from])
    run = Run(config, device, ranks, cases, facts, state, progress, Meter(), Monitor(), None, pairs, judges)
    if saved is not None:
        run.restore(saved)
        if len(saved["pools"]) != ranks.size and state.pools:
            ranks.says(
                f"warning: saved by {len(saved['pools'])} processes and resumed by {ranks.size}; "
                "the image pools are dealt out anew, so the result is not the uninterrupted run's",
                warning=True,
            )
    # Last, so that nothing fails between its opening and its end.
    return replace(run, tracker=_open_tracker(config, progress, facts, cases)) if ranks.first else run


def _open_tracker(config: TrainConfig, progress: Progress, facts: dict[str, Any], cases: Cases) -> Tracker:
    write_text(config.output / "config.json", json.dumps(public_settings(config), indent=2) + "\n")
    settings = run_settings(config, facts, cases)
    tracker = Tracker(
        config.output, config.wandb, settings, name=run_name(config), step=progress.step, run_id=progress.run_id
    )
    tracker.log_artifacts(lambda: [data_artifact(config, facts, cases, tracker.pseudonyms)])
    progress.run_id = tracker.run_id or progress.run_id  # a run resumed once without W&B stays the same run
    return tracker


def _fingerprint(cases: Cases, config: TrainConfig) -> dict[str, Any]:
    """Of every training case and pair once, whatever the number of planes."""
    first = config.data.slice_axes[0]
    mr, ct, pairs = ([stack for stack in each if stack.axis == first] for each in (cases.mr, cases.ct, cases.pairs))
    return {**fingerprint(mr, ct, config.preprocess), "pairs": [stack.statistics["case"] for stack in pairs]}


def _progress_of(saved: State, config: TrainConfig) -> Progress:
    progress = Progress(**{name: saved[name] for name in vars(Progress())})
    if not (config.output / BEST).exists():  # a run that goes on in another folder
        progress.best_score = math.inf
    if not (config.output / LAST).exists():
        progress.run_id = None
    if progress.step >= (config.stop_at or config.steps) and not (config.output / LAST).exists():
        raise UserError(f"--resume {config.resume}: already at step {progress.step}; nothing is left to train")
    return progress


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); choose another --output") from error
