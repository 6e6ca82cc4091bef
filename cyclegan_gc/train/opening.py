"""The opening of a run, in a straight line; read :func:`open_run` from top to bottom."""

import json
import math
from dataclasses import replace
from typing import Any

import torch

from cyclegan_gc.atomic import remove_leftovers, write_text
from cyclegan_gc.audit.audit import announce
from cyclegan_gc.checkpoint import State, restoring
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.data.cache import fingerprint
from cyclegan_gc.data.cases import Cases, find_files, load_cases
from cyclegan_gc.data.planes import Stack
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.files import make_folder
from cyclegan_gc.model_files import BEST, LAST
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.artifacts import data_artifact, run_name, run_settings
from cyclegan_gc.train.batches import open_samples
from cyclegan_gc.train.checkpoints import Beginning, find_beginning
from cyclegan_gc.train.meter import Meter
from cyclegan_gc.train.run import Progress, Run
from cyclegan_gc.train.state import begin_with, build_state
from cyclegan_gc.validate.fixed_slices import fixed_slices
from cyclegan_gc.validate.true_pairs import load_pair
from cyclegan_gc.validate.validation import HeldOut
from cyclegan_gc.validate.watchdog import Monitor

MOST_PAIRS, MOST_JUDGES = 3, 8
"""``data.validation_pairs`` that are looked at, and held-out pairs that choose best.pt."""


def open_run(config: TrainConfig, device: torch.device, ranks: Ranks) -> Run:
    """Open a run: find the files, decide how to begin, prepare the volumes, build, restore, open the tracker.

    Raises:
        UserError: if the data or the checkpoint to resume from cannot be used.
    """
    torch.manual_seed(config.seed)
    _check_shares(config, ranks)
    make_folder(config.output)
    files = find_files(config.data)
    settings = public_settings(config)
    beginning = find_beginning(config.output, config.resume, config.init_from, settings, ranks)
    if ranks.first:
        within = (config.output / name for name in (".", "panels", "wandb", "wandb/logged"))
        for folder in (*within, config.cache):
            remove_leftovers(folder)
    for note in files.notes:
        ranks.says(f"note: {note}", warning=True)
    with ranks.after_first():
        cases = load_cases(files, config.data, config.preprocess, config.cache)
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
        with restoring(beginning.path):
            begin_with(state, beginning.other)
    samples = open_samples(cases, config, device)
    run = Run(config, device, ranks, cases, samples, facts, state, _progress_of(beginning, config), Meter(), Monitor())
    if beginning.saved is not None:
        with restoring(beginning.path):
            run.restore(beginning.saved)
        _warn_of_other_ranks(beginning.saved, run)
    if not ranks.first:
        return run
    run = replace(run, held_out=_load_held_out(run))
    # Opened last, so that no later step can fail and leave it open.
    return replace(run, tracker=_open_tracker(run))


def _load_held_out(run: Run) -> HeldOut:
    """The cases of every validation: fixed slices, or held-out pairs with the paired objective."""
    cases, settings = run.cases, run.config.preprocess
    pairs = [load_pair(pair, settings) for pair in cases.validation_pairs[:MOST_PAIRS]]
    if run.config.objective == "paired":
        return HeldOut(None, [load_pair(pair, settings) for pair in cases.judges[:MOST_JUDGES]], pairs)
    mr, ct, training_ct = (
        [Stack(volume, axis) for volume in volumes for axis in run.config.data.slice_axes]
        for volumes in (cases.validation_mr, cases.validation_ct, cases.ct)
    )
    return HeldOut(fixed_slices(mr, ct, [*training_ct, *ct], run.config.data.crop, run.translator()), (), pairs)


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
    tracker.log_artifacts(lambda: [data_artifact(config.output, facts, run.cases, tracker.pseudonyms)])
    progress.run_id = tracker.run_id or progress.run_id  # a run resumed once without W&B stays the same run
    return tracker


def _fingerprint(cases: Cases, config: TrainConfig) -> dict[str, Any]:
    """Figures of every training case and pair."""
    pairs = [volume.statistics["case"] for volume in cases.pairs]
    return {**fingerprint(cases.mr, cases.ct, config.preprocess), "pairs": pairs}


def _progress_of(beginning: Beginning, config: TrainConfig) -> Progress:
    if beginning.saved is None:
        return Progress()
    progress = Progress(**{name: beginning.saved[name] for name in vars(Progress())})
    if not (config.output / BEST).exists():  # a run continued in another folder
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
            f"warning: saved by {count} processes and resumed by {run.ranks.size}; "
            "the image pools are distributed again, so the result differs from an uninterrupted run",
            warning=True,
        )


def _check_shares(config: TrainConfig, ranks: Ranks) -> None:
    if config.optimizer.batch_size % (ranks.size * config.accumulate):
        raise UserError(
            f"--optimizer.batch_size {config.optimizer.batch_size}: not a multiple of {ranks.size} processes times "
            f"accumulate={config.accumulate}; it counts the slices of all processes together"
        )
