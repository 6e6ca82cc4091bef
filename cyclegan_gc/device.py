"""Choice of the device and the number of threads, and memory in use."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from cyclegan_gc.errors import UserError

try:
    import resource
except ImportError:  # not available on Windows
    resource = None

MOST_THREADS = 4
"""Upper limit of threads; each holds a volume in memory."""


def choose_device(name: str, local_rank: int | None = None) -> torch.device:
    """The device of this name: auto (CUDA if available, then MPS, then the CPU), cpu, cuda, cuda:N or mps.

    With ``local_rank``, the number of this process on its machine, it takes the CUDA device of the same number.

    Raises:
        UserError: if the name is unknown or the hardware is not available.
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
    """Free memory on ``device`` in bytes; None if unknown."""
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
    """Peak memory of this process in bytes: on CUDA of its tensors, elsewhere in total; 0 if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def usable_cpus() -> int:
    """Number of usable CPUs, at most 4."""
    usable: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return min(MOST_THREADS, len(usable(0)) if usable else os.cpu_count() or 1)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Use one torch thread, for work with one volume per Python thread; results do not depend on the number of CPUs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
