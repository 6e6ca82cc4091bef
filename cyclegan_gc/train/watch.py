"""Response to the watchdog's alarms: print them, stop, or go back to an earlier checkpoint."""

from collections.abc import Sequence

from cyclegan_gc.checkpoint import State, load_checkpoint
from cyclegan_gc.errors import TrainingStoppedError
from cyclegan_gc.train.checkpoints import best_score_before, find_before
from cyclegan_gc.train.run import Run
from cyclegan_gc.validate.watchdog import Alarm

MOST_ROLLBACKS = 3
"""Returns to an earlier checkpoint after which a failure stops the run."""


def heed(run: Run, alarms: Sequence[Alarm]) -> bool:
    """Report alarms and act as ``monitor.action`` says.

    Returns:
        Whether the run went back to an earlier checkpoint.

    Raises:
        TrainingStoppedError: if the run is to stop, or there is nothing to go back to.
    """
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
    run.ranks.says(f"back at step {progress.step} because of {alarm.name}, with other samples", warning=True)
    run.save(best=False, rotate=False)
