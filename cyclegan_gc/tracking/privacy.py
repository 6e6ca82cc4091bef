"""Settings and environment that keep W&B from recording a person or a machine, or writing outside the run folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 20
"""Longest wait for the server at the start and at the end of a run."""

PASSED_ON = (
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
    "WANDB_ENTITY",
    "WANDB_IDENTITY_TOKEN_FILE",
    "WANDB_RUN_ID",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
)
"""The only WANDB_ variables that W&B sees: account, server and the variables that a sweep agent sets. Those that name a
run are read in `identity.py`."""
FOLDERS = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
"""Folders of W&B's own files, below RUN/wandb instead of the home folder."""


@contextmanager
def private_environment(folder: Path) -> Iterator[None]:
    """Hide all WANDB_ variables but ``PASSED_ON``, and keep W&B's own files below ``folder``/wandb.

    Reports of W&B's own errors to its makers are turned off: they hold paths.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}
    for name in before.keys() - set(PASSED_ON):
        del os.environ[name]
    os.environ.update({name: str(folder.absolute() / "wandb" / below) for name, below in FOLDERS.items()})
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            del os.environ[name]
        os.environ.update(before)


def private_settings(wandb: Any, *, system: bool) -> Any:
    """W&B settings that record nothing about the process, the machine or its owner.

    Args:
        wandb: the module.
        system: whether the use of GPU, CPU, memory and network is recorded, as numbers without any path.
    """
    return wandb.Settings(
        console="off",
        disable_git=True,
        disable_job_creation=True,
        finish_timeout=TIMEOUT_SECONDS,
        finish_timeout_raises=True,  # otherwise unsent data is lost silently
        host="redacted",
        init_timeout=TIMEOUT_SECONDS,
        program="cyclegan-gc",
        save_code=False,
        silent=True,
        x_disable_machine_info=not system,  # would turn the curves off too
        x_disable_meta=True,
        x_disable_stats=not system,
        x_save_requirements=False,
        x_stats_disk_paths=(),  # a key of a curve would hold the path
        # The default of 15 s would lose a whole run that is killed earlier.
        x_transaction_log_flush_interval=1,
    )
