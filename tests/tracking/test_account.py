import pytest

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import wandb_mode


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
