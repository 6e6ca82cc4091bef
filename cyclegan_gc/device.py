"""Which processor to run on, with how many threads."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from cyclegan_gc.errors import UserError

try:
    import resource
except ImportError:  # Windows does not tell
    resource = None

MOST_THREADS = 4
"""Of the choice by the number of CPUs; each holds a volume in memory."""


def choose_device(name: str, local_rank: int | None = None) -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU; other names must be available.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.
        local_rank: number of this process among those on its machine; each takes the CUDA device of its number.

    Raises:
        UserError: if the name is unknown or its hardware is not there.
    """
    wanted = name
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted.startswith("cuda:") and local_rank is not None:
        raise UserError(f"--device {name}: names one GPU for several processes; give cuda, and each takes its own")
    if wanted == "cuda":
        wanted = f"cuda:{local_rank or 0}"
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"--device {name}: not usable here ({cause}); choose auto, cpu, cuda, cuda:N or mps") from error
    return device


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on ``device`` now; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123
            known = dict(line.split(":", 1) for line in lines)
    except OSError:
        return None
    return int(known["MemAvailable"].split()[0]) * 1024


def peak_bytes(device: torch.device) -> int:
    """The most memory that this process has held: on CUDA its tensors, elsewhere all of it; 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def usable_cpus() -> int:
    """Threads by the number of CPUs, at most 4."""
    usable: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return min(MOST_THREADS, len(usable(0)) if usable else os.cpu_count() or 1)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """One volume a thread; sums then also come out the same however many there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
