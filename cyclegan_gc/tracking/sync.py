"""Offline runs sent later: what ``wandb sync`` needs, and the calls of it."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cyclegan_gc.errors import UserError
from cyclegan_gc.tracking.privacy import has_key, private_environment
from cyclegan_gc.tracking.sink import PICTURES
from cyclegan_gc.tracking.without_pictures import copy_without_pictures

REACH_SECONDS = 10


def sync(folder: Path, *, images: bool = False) -> int:
    """Send the offline segments of a run, oldest first, each to the run that it belongs to; never asks.

    Pictures are sent of segments for which ``wandb.images`` was set, or where ``images`` is; of the others copies
    without them are sent.

    Args:
        folder: of a training run, a conversion or an evaluation.
        images: send pictures too.

    Returns:
        Exit code of ``wandb sync``.

    Raises:
        UserError: if there is nothing to send, there is no API key (this names the command), the server cannot be
            reached or the copies cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a run tracked offline")
    runs = segments(folder)
    if not runs:
        raise UserError(f"{folder}: no offline run in {folder / 'wandb'}; give the folder of a run tracked offline")
    if not images:
        runs = {run_id: [_without_pictures(segment, folder) for segment in each] for run_id, each in runs.items()}
    commands = [command_for(run_id, each) for run_id, each in runs.items()]
    if not has_key():
        lines = "; ".join(shlex.join(command) for command in commands)
        raise UserError(f"{folder}: no W&B API key; after `wandb login` this command sends the run: {lines}")
    _find_server()
    return max(_call(command, folder) for command in commands)


def segments(folder: Path) -> dict[str, list[Path]]:
    """The folders of offline runs under the run's id, oldest first; a resumed run has several."""
    found: dict[str, list[Path]] = {}
    # The folders are named offline-run-DATE_TIME-ID, so their order is that of time.
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        found.setdefault(file.stem.removeprefix("run-"), []).append(file.parent)
    return found


def command_for(run_id: str, folders: list[Path]) -> list[str]:
    """``wandb sync`` of the segments of one run, which with ``--id`` goes through them in order of their start.

    What was sent already, wandb skips itself.
    """
    return ["wandb", "sync", "--id", run_id, *map(str, folders)]


def _without_pictures(segment: Path, folder: Path) -> Path:
    """A copy of the segment, or itself where its pictures may be sent."""
    if (segment / PICTURES).exists():
        return segment
    try:
        return copy_without_pictures(segment, folder / "wandb" / "without_pictures")
    except OSError as error:
        raise UserError(f"{segment}: cannot be copied without pictures ({error.strerror}); free some space") from error


def _find_server() -> None:
    """W&B itself would try for hours.

    Raises:
        UserError: if nobody answers.
    """
    url = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    try:
        address = urlsplit(url)
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{url}: cannot be reached ({error}); try again where there is a network") from error


def _call(command: list[str], folder: Path) -> int:
    print(shlex.join(command), flush=True)
    restore = private_environment(folder)
    try:
        return subprocess.run([sys.executable, "-m", *command], stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        restore()
