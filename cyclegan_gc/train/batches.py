"""The batches of each step: unpaired planes, registered pairs, or both."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

import torch

from cyclegan_gc.config import TrainConfig
from cyclegan_gc.data.cache import PreparedVolume
from cyclegan_gc.data.cases import Cases
from cyclegan_gc.data.reading import Resident, are_kept_on
from cyclegan_gc.data.samples import PairedSamples, UnpairedSamples
from cyclegan_gc.distributed import Ranks
from cyclegan_gc.model.cyclegan import Batch

AHEAD = 4
"""Steps that each thread reads ahead."""

StepBatches = tuple[Batch | None, Batch | None]
"""Unpaired planes, None with objective paired; registered pairs, None if the step has none."""


@dataclass(frozen=True)
class Samples:
    """The sample streams of a run."""

    unpaired: UnpairedSamples | None
    """None with objective paired."""
    pairs: PairedSamples | None
    resident: bool
    """Whether the volumes are kept on the training device."""


def open_samples(cases: Cases, config: TrainConfig, device: torch.device) -> Samples:
    """The streams of a run's cases; its volumes go to ``device`` as ``--data.resident`` says."""
    data, depths = config.data, config.loss.depth_histogram > 0
    both = (cases.mr, cases.ct) if config.objective == "unpaired" else ()
    resident = are_kept_on(device, [*chain(*both), *cases.pairs], data.resident)

    def kept(volumes: Sequence[PreparedVolume]) -> Resident | None:
        return Resident.of(volumes, device, depths=depths) if resident else None

    return Samples(
        UnpairedSamples(*both, data, config.seed, depths, *map(kept, both)) if both else None,
        PairedSamples(cases.pairs, data, config.seed, kept(cases.pairs)) if cases.pairs else None,
        resident,
    )


def batches_from(
    samples: Samples, config: TrainConfig, ranks: Ranks, *, first_step: int, stream: int
) -> Generator[StepBatches, None, None]:
    """This rank's batches of every step from ``first_step`` on; they depend on seed, stream and step only.

    Closing the generator ends its threads.

    Raises:
        TrainingStoppedError: if a prepared volume cannot be read.
    """
    read = partial(_of_step, samples, config, ranks, stream)
    steps, threads = range(first_step, config.end), 0 if samples.resident else config.data.workers
    if not threads:
        yield from map(read, steps)
        return
    yield from _ahead(read, steps, threads)


def _of_step(samples: Samples, config: TrainConfig, ranks: Ranks, stream: int, step: int) -> StepBatches:
    share = config.optimizer.batch_size // ranks.size

    def batch(stream_of: UnpairedSamples | PairedSamples, number: int) -> Batch:
        first = number * config.optimizer.batch_size + ranks.rank * share
        return stream_of.batch(range(first, first + share), stream)

    every = 1 if config.objective == "paired" else config.paired.every
    due = samples.pairs if step % every == 0 else None
    return (
        batch(samples.unpaired, step) if samples.unpaired else None,
        batch(due, step // every) if due else None,
    )


def _ahead(read: Callable[[int], StepBatches], steps: Iterable[int], threads: int) -> Iterator[StepBatches]:
    """The batches of ``steps`` in their order, read ahead by threads that end with the generator."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="samples")
    coming, remaining = deque[Future[StepBatches]](), iter(steps)
    try:
        coming.extend(pool.submit(read, step) for step in islice(remaining, threads * AHEAD))
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(read, step) for step in islice(remaining, 1))
    finally:
        pool.shutdown(cancel_futures=True)
