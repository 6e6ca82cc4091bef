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
FORMER_HOST = "api.wandb.ai"
"""W&B's own server before it moved; W&B still takes a key that was kept for it."""


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
    url = server()
    address = urlsplit(url)
    hosts = [address.netloc, address.hostname or ""]  # versions of W&B differ in whether they keep the port
    if url == _own_server():
        hosts.append(FORMER_HOST)
    try:
        kept = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, ValueError, netrc.NetrcParseError):  # the file is missing or cannot be read
        return False
    return any(kept.authenticators(host) for host in hosts)


def server() -> str:
    """URL of the W&B server: WANDB_BASE_URL, or the one that ``wandb login --host`` kept, or W&B's own."""
    kept = ConfigParser(interpolation=None)
    with suppress(OSError, ValueError, RuntimeError, ConfigParserError):  # no home folder, or an unreadable file
        kept.read(Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser() / "settings")
    return os.environ.get("WANDB_BASE_URL") or kept.get("default", "base_url", fallback=_own_server())


def _own_server() -> str:
    import wandb  # slow to import, and needed only where a run is to be online

    return wandb.Settings().base_url
