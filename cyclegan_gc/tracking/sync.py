"""Sending offline runs later, through ``wandb sync``."""

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cyclegan_gc.errors import UserError
from cyclegan_gc.tracking.account import has_key, server
from cyclegan_gc.tracking.privacy import private_environment

REACH_SECONDS = 10


def sync(folder: Path) -> int:
    """Send the offline runs in a run folder as they are, without a prompt; the exit code of ``wandb sync``.

    Raises:
        UserError: if there is nothing to send, there is no API key (the message contains the command), or the server
            cannot be reached.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give the folder of a run tracked offline")
    commands = sync_commands(folder)
    if not commands:
        raise UserError(f"{folder}: no offline run in {folder / 'wandb'}; give the folder of a run tracked offline")
    if not has_key():
        lines = "; ".join(shlex.join(command) for command in commands)
        raise UserError(f"{folder}: no W&B API key; after `wandb login` this command sends the run: {lines}")
    _check_server()
    if any((folder / "wandb").glob("offline-run-*/files/media/images")):
        print(f"{folder}: the run contains pictures, from which a face can be rebuilt; they are sent too")
    return max(_run(command, folder) for command in commands)


def sync_commands(folder: Path) -> list[list[str]]:
    """A ``wandb sync`` for each offline run in the folder, with its segments, oldest first.

    A resumed run has several segments. W&B itself skips those that were sent already.
    """
    runs: dict[str, list[str]] = {}
    # The folders are named offline-run-DATE_TIME-ID, so sorting by name is sorting by time.
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        runs.setdefault(file.stem.removeprefix("run-"), []).append(str(file.parent))
    return [["wandb", "sync", "--id", run_id, *segments] for run_id, segments in runs.items()]


def _check_server() -> None:
    """Raise a UserError unless the server can be reached; W&B itself would try for hours."""
    url = server()
    try:
        address = urlsplit(url)
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=REACH_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(f"{url}: cannot be reached ({error}); try again where there is a network") from error


def _run(command: list[str], folder: Path) -> int:
    print(shlex.join(command), flush=True)
    with private_environment(folder):
        log_there = os.environ | {"WANDB_DIR": str(folder.absolute())}  # else its log is written in the working folder
        return subprocess.run(
            [sys.executable, "-m", *command], stdin=subprocess.DEVNULL, env=log_there, check=False
        ).returncode
