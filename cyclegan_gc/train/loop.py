"""The training loop: steps, figures, validation, alarms, checkpoints."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from cyclegan_gc.checkpoint import State, load_checkpoint
from cyclegan_gc.config import TrainConfig
from cyclegan_gc.device import choose_device, peak_bytes
from cyclegan_gc.distributed import Ranks, joined, local_rank, reported
from cyclegan_gc.errors import Interruption, TrainingStoppedError, UserError
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.batches import batches_from
from cyclegan_gc.train.checkpoints import LAST, best_score_before, find_before, save
from cyclegan_gc.train.memory import memory_line
from cyclegan_gc.train.run import Run, open_run
from cyclegan_gc.train.signals import Signals
from cyclegan_gc.train.step import train_step
from cyclegan_gc.train.validation import Validated, validation_of
from cyclegan_gc.validate.panels import save_pictures
from cyclegan_gc.validate.watchdog import Alarm, blank_share, training_findings

UNPAIRED = ("cycle_mr", "cycle_ct", "gradient_mr", "gradient_ct", "discriminator_ct", "discriminator_mr")
SHOWN = ("generator", *UNPAIRED, "paired_l1", "paired_gradient", "paired_discriminator")
MOST_ROLLBACKS = 3
"""Returns to an earlier checkpoint after which a failure is taken for good."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LESS_MEMORY = "--accumulate, --activation_checkpointing true, --precision bf16 or a smaller --data.crop need less"


def train(config: TrainConfig) -> Path:
    """Train from ``config`` and return the path of the last checkpoint.

    Raises:
        UserError: if the data, the device or the checkpoint to resume from cannot be used.
        TrainingStoppedError: if a loss is no longer finite, the disk is full, a peer is lost or the watchdog says so.
        Interruption: if a signal came; the step in work was finished and saved.
    """
    reported(lambda: _open_and_train(config))
    return config.output / LAST


def _open_and_train(config: TrainConfig) -> None:
    device = choose_device(config.device, local_rank())
    with Signals() as signals, joined(device, config.peer_timeout) as ranks:
        _check_shares(config, ranks)
        run = open_run(config, device, ranks)
        with signals.postponed():
            signal_number = _train_and_close(run, signals)
    if signal_number:
        raise Interruption(signal_number, f"after step {run.progress.step}; go on with --resume auto")
    ranks.says(f"checkpoint: {config.output / LAST}")


def _train_and_close(run: Run, signals: Signals) -> int:
    """All steps, and the tracker closed; the number of the signal that ended them early, else 0."""
    exit_code, signal_number = 1, 0
    try:
        signal_number = _train(run, signals)
        exit_code = 128 + signal_number if signal_number else 0
        return signal_number
    except OSError as error:
        space = "free some space and " if error.errno in DISK_FULL else ""
        raise TrainingStoppedError(
            f"{error.filename or run.config.output}: {error.strerror or error}; {run.last_good}{space}go on with "
            "--resume auto"
        ) from error
    except torch.OutOfMemoryError as error:
        raise TrainingStoppedError(f"{run.device}: out of memory; {run.last_good}{LESS_MEMORY}") from error
    except RuntimeError as error:
        if not str(error).startswith("DataLoader"):  # a dead loader process is told by a signal, at any place
            raise
        raise TrainingStoppedError(
            f"a loader process died or slept longer than --peer_timeout ({str(error).splitlines()[0]}); "
            f"{run.last_good}try --data.workers 0 and go on with --resume auto"
        ) from error
    finally:
        run.close(exit_code, signal_number=signal_number)


def _train(run: Run, signals: Signals) -> int:
    validation = validation_of(run)
    _announce(run)
    while True:
        stream = run.progress.stream
        signal_number = _follow(run, validation, signals)
        if run.progress.stream == stream:
            return signal_number


def _follow(run: Run, validation: Callable[[Run], Validated], signals: Signals) -> int:
    """Steps along one stream of samples until the end, a signal (its number), an early stop or a return."""
    config, progress = run.config, run.progress
    for batch, pairs in batches_from(run):
        if config.patience and progress.stale >= config.patience:
            run.ranks.says(f"no better score in {progress.stale} validations: best.pt is the result")
            return 0
        _step(run, batch, pairs)
        signal_number = run.ranks.largest(signals.caught)
        last = progress.step == config.steps
        validating = last or progress.step % config.validate_every == 0
        saving = validating or progress.step == run.end or progress.step % config.save_every == 0
        alarms: list[Alarm] = []
        if last or progress.step % config.log_every == 0:
            alarms += _log(run)
        best = False
        if validating:
            best, found = _validate(run, validation)
            alarms += found
        if _heed(run, alarms):
            return 0
        if saving or signal_number:
            _save(run, best=best)
        if signal_number and progress.step < run.end:
            return signal_number
    return 0


def _step(run: Run, batch: Batch | None, pairs: Batch | None) -> None:
    """One step, its figures counted."""
    config = run.config
    figures = train_step(
        run.state, batch, config.loss, pairs=pairs, paired=config.paired, parts=config.accumulate, ranks=run.ranks
    )
    run.progress.step += 1
    blank = torch.stack([blank_share(each) for each in (batch, pairs) if each is not None]).mean()
    run.meter.add(run.progress.step, {**figures, "blank_slices": blank})


def _announce(run: Run) -> None:
    config = run.config
    mr, ct = (len(each) // len(config.data.slice_axes) for each in (run.cases.mr, run.cases.ct))
    where = str(run.device) + (f" and {run.ranks.size - 1} more" if run.ranks.size > 1 else "")
    pairs = len(run.cases.pairs) // len(config.data.slice_axes)
    unpaired = f"{mr} MR and {ct} CT cases" if config.objective == "unpaired" else ""
    volumes = " and ".join(each for each in (unpaired, f"{pairs} registered pairs" if pairs else "") if each)
    run.ranks.says(f"{volumes}; steps {run.progress.step} to {run.end} on {where}")
    if run.ranks.first:
        line, fits = memory_line(config, run.device, run.ranks.size)
        run.ranks.says(line)
        if not fits:
            run.ranks.says(f"warning: memory may not suffice; {LESS_MEMORY}", warning=True)


def _log(run: Run) -> list[Alarm]:
    """Write the mean figures since the last line; what the watchdog finds in them."""
    run.meter.check(run.ranks, run.last_good)
    figures = run.meter.take(run.ranks)
    findings = training_findings(figures)
    alarms = run.monitor.check(run.progress.step, findings)
    if run.tracker:
        speed = figures["steps_per_second"]
        rates = {name: each.get_last_lr()[0] for name, each in run.state.schedulers.items()}
        beside = {
            "learning_rate": float(rates["generators"]),
            "learning_rate_discriminators": float(rates["discriminators"]),
            "slices_per_second": speed * run.config.optimizer.batch_size,
            "memory_gb": peak_bytes(run.device) / 1e9,
            **run.monitor.lasting(findings),
        }
        run.tracker.log(run.progress.step, {**figures, **beside})
        terms = "  ".join(f"{name} {figures[name]:.3f}" for name in SHOWN if name in figures)
        run.ranks.says(f"step {run.progress.step}/{run.end}  {terms}  {speed:.1f} steps/s")
    return alarms


def _validate(run: Run, validation: Callable[[Run], Validated]) -> tuple[bool, list[Alarm]]:
    """On the first rank, log figures and pictures of a validation: whether it is the best, and what is wrong."""
    progress, tracker, alarms, better = run.progress, run.tracker, [], False
    if tracker:
        seen = validation(run)
        alarms = run.monitor.check(progress.step, seen.findings)
        tracker.log(progress.step, {**seen.figures, **run.monitor.lasting(seen.findings)})
        tracker.show(progress.step, seen.shown.all())
        save_pictures(run.config.output / "panels", progress.step, seen.shown.pictures)
        better = seen.score < progress.best_score and not any(seen.findings.values())
        if better:
            progress.best_score = seen.score
    progress.stale = run.ranks.from_first(0 if better else progress.stale + 1)
    return better, alarms


def _heed(run: Run, alarms: Sequence[Alarm]) -> bool:
    """Tell alarms and do what ``monitor.action`` wants; whether the run returned to an earlier checkpoint."""
    action = run.config.monitor.action
    for alarm in alarms:
        if run.tracker:
            run.tracker.alert(alarm.step, alarm.name, alarm.message)
    # Pictures are looked at by the first rank alone, so it decides for all.
    alarm = run.ranks.from_first(alarms[0] if alarms else None) if action != "warn" else None
    if alarm is None:
        return False
    before = find_before(run.config.output, alarm.since, run.ranks)
    if before is None or action == "stop" or run.progress.stream >= MOST_ROLLBACKS:
        healthy = f"the last checkpoint from before is {before}" if before else "no checkpoint is left from before"
        raise TrainingStoppedError(f"step {alarm.step}: {alarm.message}; {healthy}")
    _return_to(run, load_checkpoint(before), alarm)
    return True


def _return_to(run: Run, saved: State, alarm: Alarm) -> None:
    progress = run.progress
    run.restore(saved)
    progress.step, progress.stale, progress.stream = saved["step"], saved["stale"], progress.stream + 1
    if run.ranks.first:
        progress.best_score = best_score_before(run.config.output, alarm.since)
    if run.tracker:
        run.tracker.rewind(progress.step, alarm.message)
    run.ranks.says(f"back at step {progress.step} because of {alarm.name}, with other samples", warning=True)
    _save(run, best=False, rotate=False)


def _save(run: Run, *, best: bool, rotate: bool = True) -> None:
    """Write the checkpoints; where the watchdog may return, previous.pt stays what it was before its first finding."""
    run.meter.check(run.ranks, run.last_good)
    healthy_before = run.config.monitor.action == "warn" or not run.progress.suspect
    run.progress.suspect = bool(run.monitor.found)
    checkpoint = run.checkpoint()
    if run.ranks.first:
        save(run.config.output, checkpoint, best=best, rotate=rotate and healthy_before)


def _check_shares(config: TrainConfig, ranks: Ranks) -> None:
    if config.optimizer.batch_size % (ranks.size * config.accumulate):
        raise UserError(
            f"--optimizer.batch_size {config.optimizer.batch_size}: not a multiple of {ranks.size} processes times "
            f"accumulate={config.accumulate}; it counts the slices of all processes together"
        )
