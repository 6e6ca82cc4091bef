"""Whether a run is sent at once, kept for later or not made at all: decided before W&B is asked, so it never asks."""

import netrc
import os
from typing import Literal
from urllib.parse import urlsplit

from cyclegan_gc.config import WandbConfig

Mode = Literal["online", "offline", "disabled"]


def wandb_mode(config: WandbConfig) -> Mode:
    """``online``, ``offline`` or ``disabled``: online only when asked for and an API key exists."""
    asked = os.environ.get("WANDB_MODE", "").lower() if config.mode == "auto" else config.mode
    if asked == "disabled":
        return "disabled"
    return "online" if asked == "online" and has_key() else "offline"


def has_key() -> bool:
    """Whether an API key is in the environment or where ``wandb login`` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
