"""Convert a whole batch; a bad case does not stop the others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from cyclegan_gc.atomic import remove_leftovers, write_text
from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.case import read_case, translate_case, write_case
from cyclegan_gc.convert.estimate import LONG, estimate
from cyclegan_gc.convert.job import Job, is_below
from cyclegan_gc.convert.manifest import Manifest, manifest_names, manifest_of, write_manifest
from cyclegan_gc.convert.outcome import Conversion, Converted, as_row, members_for, models_of
from cyclegan_gc.convert.plan import part_of, plan, reference_series, shard_of
from cyclegan_gc.convert.wandb_log import log_cases, run_name, run_settings
from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import StoppedError, UserError
from cyclegan_gc.formats.files import make_folder
from cyclegan_gc.formats.selection import left_out_lines
from cyclegan_gc.tracking import WandbRun
from cyclegan_gc.trained_model import load_models

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")

GRACE_SECONDS = 5.0
"""How long a thread may finish its case when the batch ends early."""

BIDS_DESCRIPTION = """{
  "Name": "Synthetic CT",
  "BIDSVersion": "1.9.0",
  "DatasetType": "derivative",
  "GeneratedBy": [{"Name": "cyclegan-gc"}]
}
"""


def convert(
    config: ConvertConfig,
    *,
    started: Callable[[list[Job], list[str]], None] = lambda jobs, notes: None,
    done: Callable[[Converted], None] = lambda case: None,
    ended: Callable[[Manifest], None] = lambda manifest: None,
) -> list[Converted]:
    """Convert every case of ``config.input`` and write a manifest; returns the outcome of each case, in order.

    Args:
        config: input, output and settings.
        started: called before the first case with the cases of this process and with notes: files that were left
            out and, for a long batch, an estimate of time and memory.
        done: called after each case.
        ended: called with the manifest, which accounts for all of the input.

    Raises:
        UserError: if input, output, checkpoint or device cannot be used, or two results would have one name.
    """
    jobs, left_out = plan(config)  # before the model is loaded, so that a wrong input is reported at once
    shard = shard_of(config)
    make_folder(config.output)
    for name in ("dataset_description.json", *manifest_names(shard)):
        if (config.output / name).is_dir():
            raise UserError(f"{config.output / name}: a folder lies where a file belongs; rename it")
    paths, device = [config.checkpoint, *config.ensemble], choose_device(config.device)
    models = load_models(paths, config.direction, config.planes, device)
    first = models[0].translator
    if config.direction == "mr_to_ct" and first.contrasts:
        jobs, left_out = plan(config, first.contrasts)
    reference = reference_series(config, jobs)
    for folder in {config.output, *(job.result.parent for job in jobs)}:
        if is_below(folder, config.output):
            remove_leftovers(folder)
    own, notes = part_of(jobs, shard), left_out_lines(left_out)
    if config.naming == "bids":
        write_text(config.output / "dataset_description.json", BIDS_DESCRIPTION)
    members = members_for(config, models)
    conversion = Conversion(config, models, members, reference)
    if config.direction == "mr_to_ct" and first.back is None:
        notes += ["the model was trained on pairs only and has no generator back to MR: the cycle error is not judged"]
    if len(own) >= LONG:
        notes += [estimate(own, members)]
    started(own, notes)
    outcomes = []
    steps = partial(read_case, conversion), partial(translate_case, conversion), partial(write_case, conversion)
    name = run_name(conversion)
    with WandbRun(config.output, config.wandb, run_settings(conversion), job_type="convert", name=name) as run:
        for artifact in conversion.artifacts:
            run.use(artifact)
        for outcome in overlapped(own, *steps):
            outcomes.append(outcome)
            done(outcome)
        run.attempt(lambda: log_cases(run, outcomes, conversion))
    rows, others = [as_row(case, config.output) for case in outcomes], len(jobs) - len(own)
    manifest = manifest_of(rows, conversion.settings, models_of(conversion), left_out, others)
    write_manifest(config.output, manifest, shard)
    ended(manifest)
    return outcomes


def overlapped(
    items: Sequence[Item],
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Written],
) -> Iterator[Written]:
    """``write(work(read(item)))`` for every item, in order; while the next item is read and the previous one written.

    Reading and writing have a thread each; the work is done in the caller's. At most three items are in memory.

    Raises:
        StoppedError: if a thread ends with any error; what is finished is kept.
    """
    yield from _one_ahead(write, map(work, _one_ahead(read, items)))


def _one_ahead(function: Callable[[Item], Worked], items: Iterable[Item]) -> Iterator[Worked]:
    """``function`` of every item, in order, in a thread, which gets the next item before a result is handed on."""
    given: SimpleQueue[tuple[Item, Future[Worked]] | None] = SimpleQueue()
    # A daemon: a thread that hangs does not keep the program from ending.
    thread = Thread(target=_serve, args=(function, given), daemon=True)
    thread.start()
    ahead: Future[Worked] | None = None
    try:
        for item in items:
            following: Future[Worked] = Future()
            given.put((item, following))
            del item  # a volume is not kept longer than it is needed
            if ahead is not None:
                yield _result_of(ahead)
            ahead = following
        if ahead is not None:
            yield _result_of(ahead)
    finally:
        given.put(None)
        thread.join(GRACE_SECONDS)


def _serve(function: Callable[[Item], Worked], given: SimpleQueue[tuple[Item, Future[Worked]] | None]) -> None:
    while (task := given.get()) is not None:
        item, future = task
        try:
            future.set_result(function(item))
        except BaseException as error:  # an error of any kind ends the batch, not this thread alone
            future.set_exception(error)
        del task, item, future


def _result_of(future: Future[Worked]) -> Worked:
    """The result; waiting for it can be interrupted."""
    if (error := future.exception()) is not None:
        cause = f"{type(error).__name__}: {error}"
        raise StoppedError(f"reading or writing ended with {cause}; start again to continue after the finished cases")
    return future.result()
