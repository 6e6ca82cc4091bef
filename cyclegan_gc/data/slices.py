"""Training samples, unpaired and paired: a pure function of the seed and the global sample index."""

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.transforms.compose import Compose
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cyclegan_gc.config import DataConfig
from cyclegan_gc.data.augment import as_another_scanner, augmentation
from cyclegan_gc.data.cache import SliceStack, decode
from cyclegan_gc.model.cyclegan import AIR
from cyclegan_gc.prepare.body import relative_depth
from cyclegan_gc.prepare.grid import around

HEIGHT_SPREAD = 0.05
"""Standard deviation of the relative height between matched MR and CT slices."""

PAIRS = 1
"""Last number of the seed for pairs, so that they are drawn independently of the unpaired stream."""

Sample = dict[str, Tensor]


class UnpairedSlices(Dataset[Sample]):
    """Sample ``index`` of an endless stream: one MR and one CT slice of unrelated subjects.

    Every volume is drawn equally often, whatever its number of slices. The same seed and index give the same sample
    in any process, so runs on 1 or 2 ranks, and resumed runs, see the same data.

    Args:
        mr: prepared MR cases.
        ct: prepared CT cases.
        config: planes, crop, augmentation and matching.
        seed: seed of the stream.
        length: number of samples, from index 0.
        stream: another number gives other samples under the same seed.
        depths: add the depth of each pixel below the skin.
    """

    def __init__(
        self,
        mr: Sequence[SliceStack],
        ct: Sequence[SliceStack],
        config: DataConfig,
        seed: int,
        length: int,
        stream: int = 0,
        depths: bool = False,
    ) -> None:
        self.depths = depths
        self.axes, self.length, self.context = config.slice_axes, length, config.context_slices
        self.seed, self.stream = seed, [stream] if stream else []
        self.mr, self.ct = ({axis: [s for s in each if s.axis == axis] for axis in self.axes} for each in (mr, ct))
        self.match_position, self.mr_intensity = config.match_position, config.mr_intensity
        self.augment = {axis: augmentation(config, axis) for axis in self.axes}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """``mr`` (S * contrasts, h, w) and ``ct`` (S, h, w) float32 in [-1, 1], S a slice and its neighbours;
        ``mr_mask`` and ``ct_mask`` (S, h, w) bool; ``mr_depth`` and ``ct_depth`` (S, h, w) by `relative_depth`."""
        random = np.random.default_rng([self.seed, index, *self.stream])
        # With a single plane no number is drawn, so older runs, which had one plane, keep their samples.
        axis = self.axes[int(random.integers(len(self.axes))) if len(self.axes) > 1 else 0]
        mr = _draw(self.mr[axis], random)
        mr_slice = int(random.integers(len(mr.heights)))
        ct = _draw(self.ct[axis], random)
        ct_slice = int(random.integers(len(ct.heights)))
        if self.match_position:
            ct_slice = _nearest(ct.heights, mr.heights[mr_slice] + random.normal(0, HEIGHT_SPREAD))
        sample: Sample = {}
        for modality, stack, number in (("mr", mr, mr_slice), ("ct", ct, ct_slice)):
            image, mask = load_slice(stack, number, self.context)
            depth = torch.from_numpy(relative_depth(mask.numpy())) if self.depths else None
            changed = _augmented(image, mask, self.augment[axis], random, depth)
            sample |= {modality if name == "image" else f"{modality}_{name}": each for name, each in changed.items()}
        if self.mr_intensity:  # drawn last, so that it does not change the rest of the sample
            sample["mr"] = as_another_scanner(sample["mr"], _contrasts(sample), self.mr_intensity, random)
        return sample


class PairedSlices(Dataset[Sample]):
    """Sample ``index`` of an endless stream: one MR slice and the CT slice of the same place, with one augmentation.

    A pure function of seed and index, like :class:`UnpairedSlices`.

    Args:
        pairs: prepared pairs.
        config: planes, crop and augmentation.
        seed: seed of the stream.
        length: number of samples, from index 0.
        stream: another number gives other samples under the same seed.
    """

    def __init__(
        self, pairs: Sequence[SliceStack], config: DataConfig, seed: int, length: int, stream: int = 0
    ) -> None:
        self.length, self.context, self.seed, self.stream = length, config.context_slices, seed, stream
        self.axes, self.mr_intensity = config.slice_axes, config.mr_intensity
        self.pairs = {axis: [stack for stack in pairs if stack.axis == axis] for axis in self.axes}
        self.augment = {axis: augmentation(config, axis) for axis in self.axes}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        """Like an unpaired sample; both masks are the MR's body."""
        random = np.random.default_rng([self.seed, index, self.stream, PAIRS])
        axis = self.axes[int(random.integers(len(self.axes)))]
        pair = _draw(self.pairs[axis], random)
        number = int(random.integers(len(pair.heights)))
        image, mask = _augmented(*load_slice(pair, number, self.context), self.augment[axis], random).values()
        by_slice = image.unflatten(0, (len(mask), -1))
        sample = {"mr": by_slice[:, :-1].flatten(0, 1), "ct": by_slice[:, -1], "mr_mask": mask, "ct_mask": mask}
        if self.mr_intensity:
            sample["mr"] = as_another_scanner(sample["mr"], _contrasts(sample), self.mr_intensity, random)
        return sample


def load_slice(stack: SliceStack, index: int, context: int = 0) -> tuple[Tensor, Tensor]:
    """One prepared slice with ``context`` neighbours on each side, without augmentation.

    Returns:
        Image (S * contrasts, h, w) in [-1, 1] and mask (S, h, w) with S = 2 context + 1. The contrasts of a slice are
        neighbours; at the ends of the stack the last slice repeats.
    """
    return decode(np.asarray(_open(stack.path)[around(index, len(stack.heights), context)]))


def slice_loader(
    slices: UnpairedSlices | PairedSlices,
    *,
    batch_size: int,
    first_step: int,
    workers: int,
    rank: int = 0,
    ranks: int = 1,
    pin_memory: bool = False,
) -> DataLoader[Sample]:
    """Batches of plain tensors from step ``first_step`` on.

    Step s holds the samples from s * batch_size on, for any number of ranks; each rank gets its share.

    Args:
        slices: the stream.
        batch_size: samples of a step over all ranks, a multiple of ``ranks``.
        first_step: step of the first batch.
        workers: number of loader processes.
        rank: rank of this process.
        ranks: number of processes that share each step.
        pin_memory: makes copies to a GPU faster.
    """
    return DataLoader(
        slices,
        batch_sampler=_Shares(len(slices), batch_size, first_step, rank, ranks),
        num_workers=workers,
        pin_memory=pin_memory,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # the global one would differ in a resumed run
    )


def awaited(loader: DataLoader[Sample], seconds: float) -> Iterator[Sample]:
    """The batches of ``loader``; its processes are killed if a batch takes longer than ``seconds``.

    Otherwise a stopped process would block the trainer for ever: the loader's own timeout does not cover the transfer
    of a batch.

    Raises:
        RuntimeError: if a process is dead; the message begins with ``DataLoader``.
    """
    batches = iter(loader)
    while True:
        patience = threading.Timer(seconds, _kill_children)
        patience.daemon = True
        patience.start()
        try:
            sample = next(batches, None)
        except (ConnectionError, EOFError) as error:  # from the pipe of a process that died during the transfer
            raise RuntimeError(f"DataLoader: {str(error) or type(error).__name__}") from error
        finally:
            patience.cancel()
        if sample is None:
            return
        yield sample


def _augmented(
    image: Tensor, mask: Tensor, augment: Compose, random: np.random.Generator, depth: Tensor | None = None
) -> Sample:
    """``image``, ``mask`` and, if given, ``depth`` under the same random augmentation."""
    augment.set_random_state(seed=int(random.integers(2**31)))
    # MONAI fills new pixels with 0, so air is set to 0 before and to -1 again afterwards.
    slices = {"image": image + 1, "mask": mask.float()} | ({} if depth is None else {"depth": depth})
    changed: Any = augment(slices)
    mask = changed["mask"].as_tensor() > 0.5
    image = changed["image"].as_tensor() - 1
    sample = {"image": torch.where(mask.repeat_interleave(len(image) // len(mask), dim=0), image, AIR), "mask": mask}
    return sample if depth is None else {**sample, "depth": changed["depth"].as_tensor() * mask}


class _Shares(Sampler[list[int]]):
    """Sample indices of one rank, step by step."""

    def __init__(self, samples: int, batch_size: int, first_step: int, rank: int, ranks: int) -> None:
        self.starts = range(first_step * batch_size, samples - batch_size + 1, batch_size)
        share = batch_size // ranks
        self.own = range(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[list[int]]:
        return ([start + position for position in self.own] for start in self.starts)


def _kill_children() -> None:
    for child in multiprocessing.active_children():
        child.kill()


def _leave_signals_to_the_parent(_: int) -> None:
    """Ignore signals in a loader process: every process receives them, but only the trainer handles them."""
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _draw(stacks: Sequence[SliceStack], random: np.random.Generator) -> SliceStack:
    return stacks[int(random.integers(len(stacks)))]


def _contrasts(sample: Sample) -> int:
    return len(sample["mr"]) // len(sample["mr_mask"])


def _nearest(heights: Sequence[float], height: float) -> int:
    return int(np.abs(np.asarray(heights) - height).argmin())


# Each open map needs a file descriptor, and many systems allow 1024.
@lru_cache(maxsize=256)
def _open(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r")
