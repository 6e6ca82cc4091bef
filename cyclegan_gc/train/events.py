"""The events of a training: its announcement, a step, a line of figures, a validation, an alarm."""

from collections.abc import Sequence
from math import isfinite

import torch

from cyclegan_gc.checkpoint import State, load_checkpoint
from cyclegan_gc.device import peak_bytes
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.checkpoints import best_score_before, find_before
from cyclegan_gc.train.display import Display
from cyclegan_gc.train.memory import memory_line
from cyclegan_gc.train.meter import CURE
from cyclegan_gc.train.progress import write_progress
from cyclegan_gc.train.run import LESS_MEMORY, Run
from cyclegan_gc.train.step import train_step
from cyclegan_gc.validate.panels import save_pictures
from cyclegan_gc.validate.validation import NotFiniteError, Validation, validate
from cyclegan_gc.validate.watchdog import Alarm, blank_share, training_findings

UNPAIRED = ("cycle_mr", "cycle_ct", "gradient_mr", "gradient_ct", "discriminator_ct", "discriminator_mr")
SHOWN = ("generator", *UNPAIRED, "paired_l1", "paired_gradient", "paired_discriminator")
"""Figures that are printed, if the run has them."""
MOST_ROLLBACKS = 3
"""Returns to an earlier checkpoint after which a failure stops the run."""


def announce_start(run: Run) -> None:
    """Print the cases, the steps and the memory that the training needs, on the first rank."""
    config = run.config
    mr, ct, pairs = (len(each) for each in (run.cases.mr, run.cases.ct, run.cases.pairs))
    unpaired = f"{mr} MR and {ct} CT cases" if config.objective == "unpaired" else ""
    volumes = " and ".join(each for each in (unpaired, f"{pairs} registered pairs" if pairs else "") if each)
    held_out = f"{run.cases.held_out} subjects held out for validation" if run.cases.held_out else "no subject held out"
    where = str(run.device) + (f" and {run.ranks.size - 1} more" if run.ranks.size > 1 else "")
    where += ", which holds the volumes" if run.samples.resident else ""
    run.ranks.says(f"{volumes}, {held_out}; steps {run.progress.step} to {config.end} on {where}")
    if run.ranks.first:
        line, fits = memory_line(config, run.device, run.ranks.size)
        run.ranks.says(line)
        if not fits:
            run.ranks.says(f"warning: memory may not suffice; {LESS_MEMORY}", warning=True)


def take_step(run: Run, batch: Batch | None, pairs: Batch | None) -> None:
    """Train one step on this rank's batches and add its figures to the meter."""
    config = run.config
    batch, pairs = (None if each is None else each.to(run.device) for each in (batch, pairs))
    figures = train_step(
        run.state, batch, config.loss, pairs=pairs, paired=config.paired, parts=config.accumulate, ranks=run.ranks
    )
    run.progress.step += 1
    blank = torch.stack([blank_share(each) for each in (batch, pairs) if each is not None]).mean()
    run.meter.add(run.progress.step, {**figures, "blank_slices": blank})


def log_figures(run: Run, display: Display) -> list[Alarm]:
    """Log the mean figures since the last line; return the watchdog's alarms about them."""
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
        display.show(f"{terms}  {speed:.1f} steps/s")
        if alarms:
            _report(run, alarms)
            _write_page(run, display)
    return alarms


def validate_run(run: Run, display: Display) -> tuple[bool, list[Alarm]]:
    """On the first rank, validate and log: whether the score is the best so far, and the watchdog's alarms."""
    progress, alarms, better = run.progress, [], False
    if run.tracker:
        validation = _validation(run)
        alarms = run.monitor.check(progress.step, validation.findings)
        run.tracker.log(progress.step, {**validation.figures, **run.monitor.lasting(validation.findings)})
        _report(run, alarms)
        run.tracker.show(progress.step, validation.shown)
        run.newest.panels = save_pictures(run.config.output / "panels", progress.step, validation.shown)
        better = validation.score < progress.best_score and not any(validation.findings.values())
        if better:
            progress.best_score = validation.score
        before = f"best so far {progress.best_score:.3f}" if isfinite(progress.best_score) else "none kept so far"
        score = f"validation score {validation.score:.3f}, {'the best so far, kept as best.pt' if better else before}"
        run.ranks.says(f"step {progress.step}: {score}")
        run.newest.score = f"{score.capitalize()}; lower is better."
        _write_page(run, display)
    progress.stale = run.ranks.from_first(0 if better else progress.stale + 1)
    return better, alarms


def _report(run: Run, alarms: Sequence[Alarm]) -> None:
    assert run.tracker is not None
    for alarm in alarms:
        run.tracker.alert(alarm.step, alarm.name, alarm.message)


def _write_page(run: Run, display: Display) -> None:
    """Renew the plot and the page of the run."""
    assert run.tracker is not None
    standing = [f"Step {run.progress.step} of {run.config.end}, {display.left} left.", run.newest.score]
    write_progress(run.config.output, run.tracker.lines(), standing, run.newest.panels)


def is_out_of_patience(run: Run) -> bool:
    """Whether too many validations were no better than the best one; prints a line if so."""
    patience, stale = run.config.patience, run.progress.stale
    if not patience or stale < patience:
        return False
    run.ranks.says(f"no better score in {stale} validations: best.pt is the result")
    return True


def _validation(run: Run) -> Validation:
    assert run.held_out is not None and run.tracker is not None
    try:
        return validate(run.translator(), run.held_out, run.config.loss, run.tracker.pseudonyms.of)
    except NotFiniteError as error:
        raise TrainingStoppedError(
            f"step {run.progress.step}: {error} of validation not finite; {run.last_good}{CURE}"
        ) from error


def heed(run: Run, alarms: Sequence[Alarm]) -> bool:
    """Act on alarms as ``monitor.action`` says.

    Returns:
        Whether the run went back to an earlier checkpoint.

    Raises:
        TrainingStoppedError: if the run is to stop, or there is nothing to go back to.
    """
    action = run.config.monitor.action
    # Pictures are looked at by the first rank alone, so it decides for all.
    alarm = run.ranks.from_first(alarms[0] if alarms else None) if action != "warn" else None
    if alarm is None:
        return False
    before = find_before(run.config.output, alarm.since, run.ranks)
    if before is None or action == "stop" or run.progress.stream >= MOST_ROLLBACKS:
        healthy = f"the last checkpoint before it is {before}" if before else "no earlier checkpoint is left"
        raise TrainingStoppedError(f"step {alarm.step}: {alarm.message}; {healthy}")
    _go_back(run, load_checkpoint(before), alarm)
    return True


def _go_back(run: Run, saved: State, alarm: Alarm) -> None:
    progress = run.progress
    run.restore(saved)
    progress.step, progress.stale, progress.stream = saved["step"], saved["stale"], progress.stream + 1
    if run.ranks.first:
        progress.best_score = best_score_before(run.config.output, alarm.since)
    if run.tracker:
        run.tracker.rewind(progress.step, alarm.message)
    run.ranks.says(f"back at step {progress.step} because of {alarm.name}; other samples are drawn", warning=True)
    run.save(best=False, rotate=False)
