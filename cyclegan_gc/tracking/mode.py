"""Whether a run is sent at once, kept for later or not made at all: decided before W&B is asked, so it never asks."""

import netrc
import os
from typing import Literal
from urllib.parse import urlsplit

from cyclegan_gc.config import WandbConfig

Mode = Literal["online", "offline", "disabled"]


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
