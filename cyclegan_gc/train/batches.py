"""The batches of each step: unpaired slices, registered pairs, or both."""

from collections.abc import Generator, Iterable

import torch

from cyclegan_gc.data.slices import PairedSlices, Sample, UnpairedSlices, awaited, slice_loader
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.run import Run

StepBatches = tuple[Batch | None, Batch | None]
"""Unpaired slices, None with objective paired; registered pairs, None if the step has none."""


def batches_from(run: Run) -> Generator[StepBatches, None, None]:
    """This rank's batches of every step from the run's current step; they depend on seed and step only.

    Closing the generator ends its loader processes.
    """
    config, first = run.config, run.progress.step
    every = 1 if config.objective == "paired" else config.paired.every
    pairs = iter(_pairs(run, first=-(-first // every), end=-(-run.config.end // every)) if run.cases.pairs else ())
    if config.objective == "paired":
        yield from ((None, _batch(sample, run.device)) for sample in pairs)
        return
    for step, sample in enumerate(_unpaired(run), start=first):
        due = next(pairs, None) if step % every == 0 else None
        yield _batch(sample, run.device), None if due is None else _batch(due, run.device)


def _unpaired(run: Run) -> Iterable[Sample]:
    config = run.config
    samples, depths = run.config.end * config.optimizer.batch_size, config.loss.depth_histogram > 0
    slices = UnpairedSlices(run.cases.mr, run.cases.ct, config.data, config.seed, samples, run.progress.stream, depths)
    return _loaded(slices, run, run.progress.step)


def _pairs(run: Run, *, first: int, end: int) -> Iterable[Sample]:
    """Batches of pairs number ``first`` to ``end``, exclusively."""
    config = run.config
    samples = end * config.optimizer.batch_size
    return _loaded(PairedSlices(run.cases.pairs, config.data, config.seed, samples, run.progress.stream), run, first)


def _loaded(slices: UnpairedSlices | PairedSlices, run: Run, first: int) -> Iterable[Sample]:
    config = run.config
    loader = slice_loader(
        slices,
        batch_size=config.optimizer.batch_size,
        first_step=first,
        workers=config.data.workers,
        rank=run.ranks.rank,
        ranks=run.ranks.size,
        pin_memory=run.device.type == "cuda",
    )
    return awaited(loader, config.peer_timeout) if config.data.workers else loader


def _batch(sample: Sample, device: torch.device) -> Batch:
    names = {"mr": "real_mr", "ct": "real_ct"}
    moved = {name: tensor.to(device, non_blocking=device.type == "cuda") for name, tensor in sample.items()}
    return Batch(**{names.get(name, name): tensor for name, tensor in moved.items()})
