"""Training of one model by several processes, one per GPU: ranks and communication.

``torchrun`` starts the processes and sets their ranks in the environment. Gradients use NCCL on CUDA and gloo
elsewhere. Flags and Python values always use gloo, whose time limit detects a process that died or hangs.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import record

from cyclegan_gc.errors import TrainingStoppedError, UserError, plain

T = TypeVar("T")

PREPARATION_LIMIT = timedelta(days=2)
"""Longest time that ranks wait for the first rank to prepare the volumes."""


@dataclass(frozen=True)
class Ranks:
    """Rank of this process and communication with the others; the default is a single process.

    All ranks must call every method except ``says`` at the same place; otherwise they wait until the time limit.
    """

    rank: int = 0
    size: int = 1
    values: Any = None
    """Group for flags and Python values (gloo)."""
    patient: Any = None
    """Like ``values``, with a time limit of days."""

    @property
    def first(self) -> bool:
        """Whether this is the first rank, which writes, prints and decides."""
        return self.rank == 0

    def says(self, text: str, *, warning: bool = False) -> None:
        """Print one line on the first rank."""
        if self.first:
            print(plain(text), file=sys.stderr if warning else sys.stdout, flush=True)

    def largest(self, number: int) -> int:
        """Largest of the numbers of all ranks."""
        if self.size == 1:
            return number
        box = torch.tensor(number)
        with _answered():
            dist.all_reduce(box, dist.ReduceOp.MAX, group=self.values)
        return int(box)

    def total(self, values: Tensor) -> Tensor:
        """Sum of a CPU tensor over all ranks."""
        if self.size > 1:
            with _answered():
                dist.all_reduce(values, group=self.values)
        return values

    def from_first(self, value: T) -> T:
        """The first rank's value."""
        box = [value]
        if self.size > 1:
            with _answered():
                dist.broadcast_object_list(box, src=0, group=self.values)
        return box[0]

    def collect(self, value: T) -> list[T]:
        """Values of all ranks, in order, on the first rank; empty on the others."""
        if self.size == 1:
            return [value]
        boxes: list[Any] = [None] * self.size if self.first else []
        with _answered():
            dist.gather_object(value, boxes if self.first else None, dst=0, group=self.values)
        return boxes

    @contextmanager
    def after_first(self) -> Iterator[None]:
        """Run the block on the first rank before the others."""
        if not self.first:
            with _answered():
                dist.barrier(group=self.patient)
        yield
        if self.first and self.size > 1:
            with _answered():
                dist.barrier(group=self.patient)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the ranks, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        with _answered():
            dist.all_reduce(flat)
        flat /= self.size
        for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


ALONE = Ranks()


def local_rank() -> int | None:
    """Number of this process on its machine; None for a single process."""
    return int(os.environ.get("LOCAL_RANK", "0")) if _size() > 1 else None


@contextmanager
def joined(device: torch.device, peer_timeout_seconds: float) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started; without it, yield a single rank.

    Raises:
        UserError: if the device cannot be used by several processes or the other processes are not found.
    """
    if _size() == 1:
        yield ALONE
        return
    if device.type == "mps":
        raise UserError("--device mps: only one process can use it; start without torchrun or choose cpu")
    limit = timedelta(seconds=peer_timeout_seconds)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=limit)
    except (ValueError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"WORLD_SIZE={_size()}: the other processes are not found ({cause}); use torchrun") from error
    values = dist.new_group(backend="gloo", timeout=limit)
    patient = dist.new_group(backend="gloo", timeout=PREPARATION_LIMIT)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), values, patient)
    except BaseException:
        # The other processes may have ended, and NCCL would wait for them.
        for group in (values, patient) if device.type == "cuda" else (None,):
            dist.destroy_process_group(group)
        raise
    dist.destroy_process_group()


def reported(run: Callable[[], None]) -> None:
    """Call ``run``; if ``torchrun`` started this process, report a failure to it, which it prints last."""
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        run = record(run)
    run()


@contextmanager
def _answered() -> Iterator[None]:
    """Turn errors caused by a dead or hanging process into one line."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # an error of this process's own GPU
    except RuntimeError as error:
        cause = str(error).splitlines()[0].rpartition("] ")[2].split(". ")[0]
        raise TrainingStoppedError(
            f"another process died or hung longer than --peer_timeout ({cause}); read its output and continue from "
            "the last checkpoint with --resume auto"
        ) from error


def _size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
