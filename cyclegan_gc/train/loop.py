"""The training loop: cases, steps, figures, validation, checkpoints."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cyclegan_gc.atomic import write_text
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.data.cache import fingerprint
from cyclegan_gc.data.slices import Sample, UnpairedSlices, unpaired_loader
from cyclegan_gc.device import choose_device
from cyclegan_gc.distributed import Ranks, joined, local_rank, reported
from cyclegan_gc.errors import Interruption, TrainingStoppedError, UserError
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.cases import Cases, load_cases
from cyclegan_gc.train.checkpoints import BEST, LAST, check_same_run, find_saved, save
from cyclegan_gc.train.memory import memory_line
from cyclegan_gc.train.meter import Meter
from cyclegan_gc.train.signals import Signals
from cyclegan_gc.train.step import TrainState, build_state, load_state, state_dict, train_step
from cyclegan_gc.train.validation import save_panel, validate, validation_batch

SHOWN = ("generator", "cycle_mr", "cycle_ct", "gradient_mr", "gradient_ct", "discriminator_ct", "discriminator_mr")


@dataclass
class Progress:
    """Where a run stands: what a resumed run continues besides the networks."""

    step: int = 0
    best_score: float = math.inf
    run_id: str | None = None


@dataclass(frozen=True)
class Run:
    """An open run: what its steps, figures and checkpoints share."""

    config: TrainConfig
    device: torch.device
    ranks: Ranks
    cases: Cases
    facts: dict[str, Any]
    """Settings and fingerprint, as a checkpoint keeps them."""
    state: TrainState
    progress: Progress
    meter: Meter
    tracker: Tracker | None
    """None on all ranks but the first."""

    @property
    def end(self) -> int:
        """Step after which this call of the program stops."""
        return self.config.stop_at or self.config.steps


def train(config: TrainConfig) -> Path:
    """Train from ``config`` and return the path of the last checkpoint.

    Raises:
        UserError: if the data, the device or the checkpoint to resume from cannot be used.
        TrainingStoppedError: if a loss is no longer finite or the disk is full.
        Interruption: if a signal came; the step in work was finished and saved.
    """
    reported(lambda: _open_and_train(config))
    return config.output / LAST


def _open_and_train(config: TrainConfig) -> None:
    device = choose_device(config.device, local_rank())
    with Signals() as signals, joined(device, config.peer_timeout) as ranks:
        _check_shares(config, ranks)
        run = _open(config, device, ranks)
        with signals.postponed():
            signal_number = _train(run, signals)
    if signal_number:
        raise Interruption(signal_number, f"after step {run.progress.step}; go on with --resume auto")
    ranks.says(f"checkpoint: {config.output / LAST}")


def _open(config: TrainConfig, device: torch.device, ranks: Ranks) -> Run:
    torch.manual_seed(config.seed)
    _make_folder(config.output)
    saved = find_saved(config, ranks)
    with ranks.after_first():
        cases = load_cases(config)
    facts = {"config": public_settings(config), "fingerprint": _fingerprint(cases, config)}
    state, progress, meter = build_state(config, device, ranks.rank), Progress(), Meter()
    if saved is not None:
        check_same_run(saved, facts, config)
        load_state(state, saved, device, ranks)
        meter.load_state_dict(saved["meter"], device)
        progress = _progress_of(saved, config)
        if len(saved["pools"]) != ranks.size:
            ranks.says(
                f"warning: saved by {len(saved['pools'])} processes and resumed by {ranks.size}; "
                "the image pools are dealt out anew, so the result is not the uninterrupted run's",
                warning=True,
            )
    tracker = _open_tracker(config, progress) if ranks.first else None
    return Run(config, device, ranks, cases, facts, state, progress, meter, tracker)


def _open_tracker(config: TrainConfig, progress: Progress) -> Tracker:
    settings = public_settings(config)
    write_text(config.output / "config.json", json.dumps(settings, indent=2) + "\n")
    tracker = Tracker(config.output, config.wandb, settings, step=progress.step, run_id=progress.run_id)
    progress.run_id = tracker.run_id
    return tracker


def _train(run: Run, signals: Signals) -> int:
    """All steps, and the tracker closed; the number of the signal that ended them early, else 0."""
    exit_code = 1
    try:
        signal_number = _steps(run, signals)
        exit_code = 128 + signal_number if signal_number else 0
        return signal_number
    except OSError as error:
        raise TrainingStoppedError(
            f"{error.filename or run.config.output}: cannot be written ({error.strerror}); {_last_good(run)}"
            "free some space and go on with --resume auto"
        ) from error
    finally:
        if run.tracker:
            run.tracker.close(exit_code=exit_code)


def _steps(run: Run, signals: Signals) -> int:
    config, progress = run.config, run.progress
    fixed = _to_device(validation_batch(run.cases.validation_mr, run.cases.validation_ct, config.data.crop), run.device)
    _announce(run)
    for sample in _loader(run):
        figures = train_step(
            run.state, _batch(sample, run.device), config.loss, parts=config.accumulate, ranks=run.ranks
        )
        progress.step += 1
        run.meter.add(progress.step, figures)
        signal_number = run.ranks.largest(signals.caught)
        last = progress.step == config.steps
        validating = last or progress.step % config.validate_every == 0
        saving = validating or progress.step == run.end or progress.step % config.save_every == 0
        if last or progress.step % config.log_every == 0:
            _log(run)
        better = validating and run.ranks.first and _validate(run, fixed)
        if saving or signal_number:
            _save(run, best=better)
        if signal_number and progress.step < run.end:
            return signal_number
    return 0


def _announce(run: Run) -> None:
    config = run.config
    mr, ct = (len(each) // len(config.data.slice_axes) for each in (run.cases.mr, run.cases.ct))
    where = str(run.device) + (f" and {run.ranks.size - 1} more" if run.ranks.size > 1 else "")
    run.ranks.says(f"{mr} MR and {ct} CT cases; steps {run.progress.step} to {run.end} on {where}")
    if run.ranks.first:
        line, fits = memory_line(config, run.device, run.ranks.size)
        run.ranks.says(line)
        if not fits:
            cures = "--accumulate, --activation_checkpointing true, --precision bf16 or a smaller --data.crop"
            run.ranks.says(f"warning: memory may not suffice; {cures} need less", warning=True)


def _loader(run: Run) -> Any:
    config, batch_size = run.config, run.config.optimizer.batch_size
    return unpaired_loader(
        UnpairedSlices(run.cases.mr, run.cases.ct, config.data, config.seed, run.end * batch_size),
        batch_size=batch_size,
        first_step=run.progress.step,
        workers=config.data.workers,
        rank=run.ranks.rank,
        ranks=run.ranks.size,
        pin_memory=run.device.type == "cuda",
    )


def _fingerprint(cases: Cases, config: TrainConfig) -> dict[str, Any]:
    """Of every training case once, whatever the number of planes."""
    first = config.data.slice_axes[0]
    mr, ct = ([stack for stack in each if stack.axis == first] for each in (cases.mr, cases.ct))
    return fingerprint(mr, ct, config.preprocess)


def _log(run: Run) -> None:
    run.meter.check(run.ranks, _last_good(run))
    figures = run.meter.take(run.ranks)
    if run.tracker:
        figures["learning_rate"] = float(run.state.schedulers["generators"].get_last_lr()[0])
        run.tracker.log(run.progress.step, figures)
        terms = "  ".join(f"{name} {figures[name]:.3f}" for name in SHOWN)
        speed = figures["steps_per_second"]
        run.ranks.says(f"step {run.progress.step}/{run.end}  {terms}  {speed:.1f} steps/s")


def _validate(run: Run, fixed: Batch) -> bool:
    """Log the figures and the panel of the fixed slices; whether these are the best figures so far."""
    step, progress = run.progress.step, run.progress
    figures, panel = validate(run.state, fixed, run.config.loss)
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise TrainingStoppedError(f"step {step}: validation's {', '.join(broken)} not finite; {_last_good(run)}")
    if run.tracker:
        run.tracker.log(step, {f"validation/{name}": value for name, value in figures.items()})
        run.tracker.picture(step, "validation/slices", panel, "MR, sCT, reconstructed MR, CT, sMR, reconstructed CT")
    save_panel(run.config.output / "panels" / f"step_{step:07d}.png", panel)
    better = figures["score"] < progress.best_score
    progress.best_score = min(progress.best_score, figures["score"])
    return better


def _save(run: Run, *, best: bool) -> None:
    run.meter.check(run.ranks, _last_good(run))
    checkpoint = {
        **vars(run.progress),
        **run.facts,
        "meter": run.meter.state_dict(run.ranks),
        **state_dict(run.state, run.ranks),
    }
    if run.ranks.first:
        save(run.config.output, checkpoint, best=best)


def _last_good(run: Run) -> str:
    last = run.config.output / LAST
    return f"the last good checkpoint is {last}; " if last.exists() else "no checkpoint was saved before; "


def _progress_of(saved: dict[str, Any], config: TrainConfig) -> Progress:
    # A run that goes on in another folder has no best.pt there yet.
    best_score = saved["best_score"] if (config.output / BEST).exists() else math.inf
    if saved["step"] >= (config.stop_at or config.steps) and not (config.output / LAST).exists():
        raise UserError(f"--resume {config.resume}: already at step {saved['step']}; nothing is left to train")
    return Progress(saved["step"], best_score, saved["run_id"])


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


def _batch(sample: Sample, device: torch.device) -> Batch:
    return _to_device(Batch(sample["mr"], sample["ct"], sample["mr_mask"], sample["ct_mask"]), device)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(batch).items()})
