"""Prepares many volumes for the cache in parallel; after an interruption only the missing ones."""

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.cache import Kind, PreparedVolume, cached_volume, known_volume
from cyclegan_gc.device import one_torch_thread, usable_cpus
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.sources import Source

SHOWN_FAILURES = 3
SECONDS_BETWEEN_LINES = 30

Wanted = tuple[Sequence[Source], Kind]
"""A case, of a pair its MR and its CT, and its kind."""


def prepare_volumes(
    cases: Sequence[Wanted], settings: PreprocessConfig, folder: Path, threads: int = 0
) -> list[PreparedVolume]:
    """Every case, in the given order; cases that ``folder`` already holds are not read again.

    Args:
        cases: what to prepare.
        settings: preprocessing.
        folder: the cache; several processes may use it at once.
        threads: volumes prepared at once; 0 takes one per CPU, at most 4. The result does not depend on it.

    Raises:
        VolumeError: with the volumes that cannot be used, after all others are prepared.
    """
    volumes = [known_volume(sources, kind, settings, folder) for sources, kind in cases]
    missing = [number for number, known in enumerate(volumes) if known is None]
    failures: list[str] = []
    with one_torch_thread(), ThreadPoolExecutor(threads or usable_cpus()) as pool:
        jobs = {pool.submit(cached_volume, *cases[n], settings, folder): n for n in missing}
        try:
            for job in _with_progress(jobs):
                try:
                    volumes[jobs[job]] = job.result()
                except VolumeError as error:
                    failures.append(str(error))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        raise VolumeError(_all_in_one(sorted(failures)))
    return [
        replace(known, source=str(sources[0].place))
        for known, (sources, _) in zip(volumes, cases, strict=True)
        if known is not None
    ]


def _with_progress(jobs: dict[Future, int]) -> Iterator[Future]:
    """The jobs as they finish, with a progress bar on a terminal and a line every 30 seconds elsewhere."""
    last_line = time.monotonic()
    with Progress(transient=True, disable=not sys.stdout.isatty()) as progress:
        for count, job in enumerate(progress.track(as_completed(jobs), len(jobs), description="preparing"), start=1):
            yield job
            if not sys.stdout.isatty() and time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                print(f"prepared {count} of {len(jobs)} volumes", flush=True)
                last_line = time.monotonic()


def _all_in_one(failures: Sequence[str]) -> str:
    if len(failures) == 1:
        return failures[0]
    more = f"; and {len(failures) - SHOWN_FAILURES} more" if len(failures) > SHOWN_FAILURES else ""
    return f"{len(failures)} volumes cannot be used: " + "; ".join(failures[:SHOWN_FAILURES]) + more
