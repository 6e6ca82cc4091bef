from urllib.parse import urlsplit

import pytest
import wandb

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import wandb_mode
from cyclegan_gc.tracking.account import has_key, server


@pytest.mark.parametrize(
    ("asked", "environment", "key", "expected"),
    [
        ("auto", None, None, "offline"),
        ("auto", "online", "k" * 40, "online"),
        ("auto", "online", None, "offline"),
        ("auto", None, "k" * 40, "offline"),
        ("auto", "disabled", None, "disabled"),
        ("auto", "Disabled", "k" * 40, "disabled"),
        ("auto", "dryrun", "k" * 40, "offline"),
        ("auto", "OFFLINE", "k" * 40, "offline"),
        ("online", None, None, "offline"),
        ("online", None, "k" * 40, "online"),
        ("offline", "online", "k" * 40, "offline"),
        ("disabled", "online", "k" * 40, "disabled"),
    ],
)
def test_a_run_is_online_only_if_asked_and_with_a_key(no_account, monkeypatch, asked, environment, key, expected):
    for name, value in (("WANDB_MODE", environment), ("WANDB_API_KEY", key)):
        if value:
            monkeypatch.setenv(name, value)
    assert wandb_mode(WandbConfig(mode=asked)) == expected


def test_the_key_of_a_server_of_ones_own_is_found(no_account, monkeypatch):
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    settings, keys = no_account / ".config" / "wandb" / "settings", no_account / ".netrc"
    settings.parent.mkdir(parents=True)
    keys.write_text(f"machine wandb.hospital.example\n  login user\n  password {'k' * 40}\n")
    keys.chmod(0o600)
    assert not has_key()
    settings.write_text("[default]\nbase_url = https://wandb.hospital.example\n")  # as `wandb login --host` does
    assert has_key() and server() == "https://wandb.hospital.example"
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(no_account))
    (no_account / "settings").write_text("[default]\nbase_url = https://other.example\n")
    assert server() == "https://other.example"
    monkeypatch.delenv("WANDB_CONFIG_DIR")
    settings.write_text("neither section nor key")
    assert server() == wandb.Settings().base_url


@pytest.mark.parametrize(
    "machine", ["api.wandb.ai", "the default", "wandb.hospital.example:8080", "wandb.hospital.example"]
)
def test_a_key_is_found_under_every_name_that_wandb_takes(no_account, monkeypatch, machine):
    own = "hospital" not in machine
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    if not own:
        monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.hospital.example:8080")
    name = urlsplit(wandb.Settings().base_url).netloc if machine == "the default" else machine
    no_account.mkdir(exist_ok=True)
    (no_account / ".netrc").write_text(f"machine {name} login user password {'k' * 40}\n")
    (no_account / ".netrc").chmod(0o600)
    assert has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://another.example")
    assert not has_key()
