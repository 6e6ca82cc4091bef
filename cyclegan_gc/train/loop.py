"""The training loop: cases, steps, figures, validation, checkpoints."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cyclegan_gc.atomic import write_text
from cyclegan_gc.checkpoint import load_checkpoint, save_checkpoint
from cyclegan_gc.config import TrainConfig, public_settings
from cyclegan_gc.data.cache import fingerprint
from cyclegan_gc.data.slices import Sample, UnpairedSlices, unpaired_loader
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import TrainingStoppedError, UserError
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.tracking import Tracker
from cyclegan_gc.train.cases import Cases, load_cases
from cyclegan_gc.train.step import TrainState, build_state, load_state, state_dict, train_step
from cyclegan_gc.train.validation import save_panel, validate, validation_batch

LAST, BEST = "last.pt", "best.pt"


@dataclass
class Progress:
    """Where a run stands: what a resumed run continues besides the networks."""

    step: int = 0
    best_score: float = math.inf
    run_id: str | None = None


@dataclass
class Meter:
    """Running means of the loss terms since the last log line; kept on the device, so a step never waits."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0
    since: float = field(default_factory=time.perf_counter)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Count one step's terms."""
        self.sums = {name: self.sums.get(name, 0) + loss for name, loss in losses.items()}
        self.count += 1

    def take(self) -> dict[str, float]:
        """Means and ``steps_per_second`` since the last call."""
        means = {name: float(total) / self.count for name, total in self.sums.items()}
        speed = self.count / (time.perf_counter() - self.since)
        self.sums, self.count, self.since = {}, 0, time.perf_counter()
        return {**means, "steps_per_second": speed}


def train(config: TrainConfig) -> Path:
    """Train from ``config`` and return the path of the last checkpoint.

    Raises:
        UserError: if the data, the device or the checkpoint to resume from cannot be used.
        TrainingStoppedError: if a loss is no longer finite.
    """
    device = choose_device(config.device)
    torch.manual_seed(config.seed)
    _make_folder(config.output)
    saved = _resume_from(config)
    cases = load_cases(config)
    facts = {"config": public_settings(config), "fingerprint": _fingerprint(cases, config)}
    state, progress = build_state(config, device), Progress()
    if saved is not None:
        _check_same_run(saved, facts, config)
        load_state(state, saved, device)
        progress = _progress_of(saved, config)
    write_text(config.output / "config.json", json.dumps(public_settings(config), indent=2) + "\n")
    tracker = Tracker(config.output, config.wandb, public_settings(config), step=progress.step, run_id=progress.run_id)
    progress.run_id = tracker.run_id
    try:
        _run(config, cases, facts, state, progress, tracker, device)
    except BaseException:
        tracker.close(exit_code=1)
        raise
    tracker.close()
    return config.output / LAST


def _run(
    config: TrainConfig,
    cases: Cases,
    facts: dict[str, Any],
    state: TrainState,
    progress: Progress,
    tracker: Tracker,
    device: torch.device,
) -> None:
    fixed = _to_device(validation_batch(cases.validation_mr, cases.validation_ct, config.data.crop), device)
    end = config.stop_at or config.steps
    slices = UnpairedSlices(cases.mr, cases.ct, config.data, config.seed, end * config.optimizer.batch_size)
    loader = unpaired_loader(
        slices, batch_size=config.optimizer.batch_size, first_step=progress.step, workers=config.data.workers
    )
    mr, ct = (len(each) // len(config.data.slice_axes) for each in (cases.mr, cases.ct))
    print(f"{mr} MR and {ct} CT cases; steps {progress.step} to {end} on {device}")
    meter = Meter()
    for sample in loader:
        meter.add(train_step(state, _batch(sample, device), config.loss))
        progress.step += 1
        validating = progress.step % config.validate_every == 0 or progress.step == config.steps
        saving = validating or progress.step == end
        if saving or progress.step % config.log_every == 0:
            _log(tracker, progress.step, meter, state, end)
        best = validating and _validate(config, state, progress, tracker, fixed)
        if saving:
            _save(config.output, {**vars(progress), **facts, **state_dict(state)}, best=best)


def _fingerprint(cases: Cases, config: TrainConfig) -> dict[str, Any]:
    """Of every training case once, whatever the number of planes."""
    first = config.data.slice_axes[0]
    mr, ct = ([stack for stack in each if stack.axis == first] for each in (cases.mr, cases.ct))
    return fingerprint(mr, ct, config.preprocess)


def _log(tracker: Tracker, step: int, meter: Meter, state: TrainState, end: int) -> None:
    figures = meter.take()
    _check_finite(step, figures)
    figures["learning_rate"] = float(state.schedulers["generators"].get_last_lr()[0])
    tracker.log(step, figures)
    shown = ("generator", "cycle_mr", "cycle_ct", "gradient_mr", "gradient_ct", "discriminator_ct", "discriminator_mr")
    terms = "  ".join(f"{name} {figures[name]:.3f}" for name in shown)
    print(f"step {step}/{end}  {terms}  {figures['steps_per_second']:.1f} steps/s", flush=True)


def _validate(config: TrainConfig, state: TrainState, progress: Progress, tracker: Tracker, fixed: Batch) -> bool:
    """Log the figures and the panel of the fixed slices; whether these are the best figures so far."""
    figures, panel = validate(state, fixed, config.loss)
    _check_finite(progress.step, figures)
    tracker.log(progress.step, {f"validation/{name}": value for name, value in figures.items()})
    tracker.picture(progress.step, "validation/slices", panel, "MR, sCT, reconstructed MR, CT, sMR, reconstructed CT")
    save_panel(config.output / "panels" / f"step_{progress.step:07d}.png", panel)
    better = figures["score"] < progress.best_score
    progress.best_score = min(progress.best_score, figures["score"])
    return better


def _save(output: Path, checkpoint: dict[str, Any], *, best: bool) -> None:
    save_checkpoint(output / LAST, checkpoint)
    if best:
        save_checkpoint(output / BEST, checkpoint)


def _check_finite(step: int, figures: Mapping[str, float]) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise TrainingStoppedError(
            f"step {step}: {', '.join(broken)} not finite, nothing was saved from here; "
            "start a new run with a lower optimizer.learning_rate or check the data"
        )


def _resume_from(config: TrainConfig) -> dict[str, Any] | None:
    last = config.output / LAST
    if config.resume is None and last.exists():
        raise UserError(f"{last}: a run is here already; continue it with --resume auto or choose another --output")
    if config.resume is None or (config.resume == "auto" and not last.exists()):
        return None
    return load_checkpoint(last if config.resume == "auto" else Path(config.resume))


def _check_same_run(saved: dict[str, Any], facts: dict[str, Any], config: TrainConfig) -> None:
    """A continued run must be the run that was stopped: same settings, same training volumes."""
    before, now = saved["config"], facts["config"]
    parts = ("network", "preprocess", "data", "steps", "seed", "loss", "optimizer")
    changed = [
        f"{part}: {before[part]} in the checkpoint, {now[part]} now" for part in parts if before[part] != now[part]
    ]
    if saved["fingerprint"] != facts["fingerprint"]:
        changed.append("other training volumes")
    if changed:
        raise UserError(
            f"--resume {config.resume}: not the same run ({'; '.join(changed)}); resume with the run's own settings "
            "and volumes or choose another --output"
        )


def _progress_of(saved: dict[str, Any], config: TrainConfig) -> Progress:
    # A run that goes on in another folder has no best.pt there yet.
    best_score = saved["best_score"] if (config.output / BEST).exists() else math.inf
    if saved["step"] >= (config.stop_at or config.steps) and not (config.output / LAST).exists():
        raise UserError(f"--resume {config.resume}: already at step {saved['step']}; nothing is left to train")
    return Progress(saved["step"], best_score, saved["run_id"])


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); choose another --output") from error


def _batch(sample: Sample, device: torch.device) -> Batch:
    return _to_device(Batch(sample["mr"], sample["ct"], sample["mr_mask"], sample["ct_mask"]), device)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(**{name: tensor.to(device, non_blocking=True) for name, tensor in vars(batch).items()})
