"""What keeps W&B from recording a person or a machine, and from leaving files outside the run folder."""

import netrc
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from cyclegan_gc.config import WandbConfig

Mode = Literal["online", "offline", "disabled"]

INIT_TIMEOUT_SECONDS = 20
FINISH_TIMEOUT_SECONDS = 20

HEEDED = (
    "WANDB_API_KEY",
    "WANDB_BASE_URL",
    "WANDB_ENTITY",
    "WANDB_IDENTITY_TOKEN_FILE",
    "WANDB_RUN_ID",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
)
"""Of the WANDB_ variables these alone reach W&B: account, server and what a sweep's agent sets. Names, notes and tags
are typed by people, who type patients' names."""
FOLDERS = {"WANDB_DATA_DIR": "data", "WANDB_CACHE_DIR": "cache", "WANDB_ARTIFACT_DIR": "artifacts"}
"""Below RUN/wandb instead of the home folder."""


def wandb_mode(config: WandbConfig) -> Mode:
    """``online``, ``offline`` or ``disabled``: online only when asked for and an API key exists."""
    asked = _asked(config)
    if asked == "disabled":
        return "disabled"
    return "online" if asked == "online" and has_key() else "offline"


def lacks_key(config: WandbConfig) -> bool:
    """Whether the run is offline only because no key was found."""
    return _asked(config) == "online" and not has_key()


def has_key() -> bool:
    """Whether an API key is in the environment or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, ValueError, netrc.NetrcParseError):  # none, or one that cannot be read
        return False


def _asked(config: WandbConfig) -> str:
    return os.environ.get("WANDB_MODE", "").lower() if config.mode == "auto" else config.mode


def private_environment(folder: Path) -> Callable[[], None]:
    """Show W&B only what it needs of the environment, until the returned function is called.

    Args:
        folder: run folder, in which everything that W&B stores comes to lie.
    """
    before = {name: value for name, value in os.environ.items() if name.startswith("WANDB_")}

    def restore() -> None:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            del os.environ[name]
        os.environ.update(before)

    for name in before.keys() - set(HEEDED):
        del os.environ[name]
    os.environ.update({name: str(folder.absolute() / "wandb" / below) for name, below in FOLDERS.items()})
    return restore


def private_settings(wandb: Any) -> Any:
    """Settings under which a run records what it is given and nothing of the process, the machine or its owner."""
    return wandb.Settings(
        console="off",
        disable_git=True,
        disable_job_creation=True,
        finish_timeout=FINISH_TIMEOUT_SECONDS,
        finish_timeout_raises=True,  # else what was not sent is lost without a word
        host="redacted",
        init_timeout=INIT_TIMEOUT_SECONDS,
        program="cyclegan-gc",
        save_code=False,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        # An offline run is otherwise flushed every 15 s, and a kill before that leaves nothing.
        x_transaction_log_flush_interval=1,
    )
