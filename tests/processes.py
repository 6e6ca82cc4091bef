"""Calls in processes of their own, forked from one that has imported the package: importing takes longest."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["cyclegan_gc.train.run", "cyclegan_gc.convert.batch"])


class Program:
    """A call in a process and session of its own, with one thread; what it prints is caught.

    Args:
        call: what to do; a number that it returns is the exit status.
        environment: added to that of the tests.
        file_limit: bytes of the largest file that the process can write, as on a full disk.
    """

    def __init__(
        self, call: Callable[[], object], environment: Mapping[str, str] | None = None, file_limit: int | None = None
    ) -> None:
        with tempfile.NamedTemporaryFile(delete=False) as out, tempfile.NamedTemporaryFile(delete=False) as errors:
            self._printed = Path(out.name), Path(errors.name)
        arguments = (call, self._printed, environment or {}, file_limit)
        self._process = SERVER.Process(target=_run, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        """Number of the process and of its session."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, or minus the signal that ended it; None while it runs."""
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole session, as a terminal and a batch system do."""
        os.killpg(self.pid, number)

    def finish(self, within: float = 120) -> tuple[int, str, str]:
        """Wait for the end: exit status, output, errors."""
        self._process.join(within)
        status = self.poll()
        assert status is not None, f"it still runs after {within} s"
        out, errors = (path.read_text() for path in self._printed)
        for path in self._printed:
            path.unlink()
        return status, out, errors


def _run(
    call: Callable[[], object], printed: tuple[Path, Path], environment: Mapping[str, str], file_limit: int | None
) -> None:
    os.setsid()
    for stream, path in zip((sys.stdout, sys.stderr), printed, strict=True):
        os.dup2(os.open(path, os.O_WRONLY), stream.fileno())
    os.environ.update(environment)
    torch.set_num_threads(1)
    if file_limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    status = call()
    sys.exit(status if isinstance(status, int) else 0)
