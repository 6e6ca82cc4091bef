"""The training in the order of events: open the run; at each step train, log, validate, watch, save; stop; close.

Read :func:`_follow` from top to bottom. Each event has a name and lies one jump away.
"""

from contextlib import ExitStack
from pathlib import Path

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.device import choose_device
from cyclegan_gc.distributed import joined, local_rank, reported
from cyclegan_gc.errors import Interruption
from cyclegan_gc.model_files import LAST
from cyclegan_gc.train.display import Display
from cyclegan_gc.train.events import announce_start, heed, is_out_of_patience, log_figures, take_step, validate_run
from cyclegan_gc.train.opening import open_run
from cyclegan_gc.train.run import Run, closing
from cyclegan_gc.train.signals import Signals
from cyclegan_gc.validate.watchdog import Alarm


def train(config: TrainConfig) -> Path:
    """Train and return the path of the last checkpoint.

    Args:
        config: data, networks, losses and schedule; see :class:`cyclegan_gc.config.TrainConfig`.

    Raises:
        UserError: if the data, the device or the checkpoint to resume from cannot be used.
        TrainingStoppedError: if a loss is no longer finite, the disk is full, another process died or the watchdog
            stops the run.
        Interruption: if a signal arrived; the current step was finished and saved.
    """
    reported(lambda: _train(config))
    return config.output / LAST


def _train(config: TrainConfig) -> None:
    device = choose_device(config.device, local_rank())
    with Signals() as signals, joined(device, config.peer_timeout) as ranks:
        run = open_run(config, device, ranks)
        with closing(run, signals):
            announce_start(run)
            _follow(run, signals)
    if signals.ended_by:
        raise Interruption(signals.ended_by, f"after step {run.progress.step}; go on with --resume auto")
    ranks.says(f"checkpoint: {config.output / LAST}")


def _follow(run: Run, signals: Signals) -> None:
    """The steps of a run, in the order of events, until its end, a signal or the end of its patience."""
    config, progress = run.config, run.progress
    batches = run.batches()
    with Display(progress.step, config.end, run.device, shown=run.ranks.first) as display, ExitStack() as leaving:
        leaving.callback(lambda: batches.close())  # otherwise its threads could outlive the run
        while progress.step < config.end and not is_out_of_patience(run):
            take_step(run, *next(batches))
            display.advance()
            signal_number = run.ranks.largest(signals.caught)
            last = progress.step == config.steps
            validating = last or progress.step % config.validate_every == 0
            saving = validating or progress.step == config.end or progress.step % config.save_every == 0

            alarms: list[Alarm] = []
            best = False
            if last or progress.step % config.log_every == 0:
                alarms += log_figures(run, display)
            if validating:
                best, found = validate_run(run, display)
                alarms += found
            if heed(run, alarms):  # back at an earlier checkpoint, with other samples
                batches.close()
                batches = run.batches()
                display.restart(progress.step)
                continue
            if saving or signal_number:
                run.save(best=best)
            if signal_number and progress.step < config.end:
                signals.ended_by = signal_number
                return
