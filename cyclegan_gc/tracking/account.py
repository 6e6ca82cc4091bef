"""The W&B account: its server, its API key, and the mode in which a run is tracked."""

import netrc
import os
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from cyclegan_gc.config import WandbConfig

Mode = Literal["online", "offline", "disabled"]


def wandb_mode(config: WandbConfig) -> Mode:
    """``online``, ``offline`` or ``disabled``: online only if it is asked for and an API key exists."""
    asked = asked_mode(config)
    if asked == "disabled":
        return "disabled"
    return "online" if asked == "online" and has_key() else "offline"


def asked_mode(config: WandbConfig) -> str:
    """The mode that the settings or, with ``auto``, WANDB_MODE ask for, whether or not there is a key."""
    return os.environ.get("WANDB_MODE", "").lower() if config.mode == "auto" else config.mode


def has_key() -> bool:
    """Whether an API key is in the environment or in the file that ``wandb login`` writes."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(urlsplit(server()).hostname or "") is not None
    except (OSError, ValueError, netrc.NetrcParseError):  # the file is missing or cannot be read
        return False


def server() -> str:
    """URL of the W&B server: WANDB_BASE_URL, or the one that ``wandb login --host`` kept, or W&B's own."""
    kept = ConfigParser(interpolation=None)
    with suppress(OSError, ValueError, RuntimeError, ConfigParserError):  # no home folder, or an unreadable file
        kept.read(Path("~/.config/wandb/settings").expanduser())
    return os.environ.get("WANDB_BASE_URL") or kept.get("default", "base_url", fallback="https://api.wandb.ai")
