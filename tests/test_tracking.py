import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wandb.proto import wandb_internal_pb2

from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Tracker, wandb_mode

# Its names are made at run time, out of a type checker's sight.
Record = getattr(wandb_internal_pb2, "Record")  # noqa: B009
BLOCK, HEADER = 32768, 7


def offline_records(folder: Path) -> list[Any]:
    """Records of an offline run: a LevelDB log behind a 7-byte file header."""
    [file] = folder.rglob("*.wandb")
    data, at, parts, records = file.read_bytes(), HEADER, b"", []
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(parts)
            records.append(record)
            parts = b""
    return records


def history(records: list[Any]) -> list[dict[str, object]]:
    """Logged figures, one dict a line."""
    lines = [record.history.item for record in records if record.HasField("history")]
    return [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in line} for line in lines]


@pytest.fixture
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


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
def test_online_only_with_a_key_and_when_asked(no_account, monkeypatch, asked, environment, key, expected):
    for name, value in (("WANDB_MODE", environment), ("WANDB_API_KEY", key)):
        if value:
            monkeypatch.setenv(name, value)
    assert wandb_mode(WandbConfig(mode=asked)) == expected


def test_an_offline_run_holds_the_figures_and_the_panel_and_what_is_sent_nothing_of_the_machine(
    no_account, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setattr("sys.argv", ["train", "--data.mr", "/clinic/DOE^JOHN"])
    tracker = Tracker(run, WandbConfig(), {"loss": {"cycle": 10}})
    tracker.log(5, {"cycle_mr": 0.25})
    tracker.picture(5, "validation/slices", np.full((8, 8), 200, np.uint8), "MR, sCT")
    tracker.close()
    records = offline_records(run)
    assert {"cycle_mr": 0.25, "global_step": 5}.items() <= history(records)[0].items()
    assert "validation/slices" in history(records)[1]
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    [config] = [record.run.config for record in records if record.HasField("run")]
    assert json.loads(next(item for item in config.update if item.key == "loss").value_json) == {"cycle": 10}
    # What `wandb sync` would send; the debug logs beside it stay in the run folder.
    sent = [file for file in (run / "wandb").rglob("*") if file.suffix == ".wandb" or "files" in file.parts]
    written = b"".join(file.read_bytes() for file in sent if file.is_file())
    assert b"cycle_mr" in written and b"DOE^JOHN" not in written and str(tmp_path).encode() not in written
    assert [record.run.host for record in records if record.HasField("run")] == ["redacted"]


def test_the_local_file_is_written_whatever_wandb_does(tmp_path):
    tracker = Tracker(tmp_path, WandbConfig(mode="disabled"), {})
    tracker.log(1, {"cycle_mr": 0.5, "psnr": float("inf")})
    tracker.close()
    [line] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["cycle_mr"] == 0.5 and json.loads(line)["psnr"] is None
    assert tracker.run_id is None and not (tmp_path / "wandb").exists()


def test_a_picture_that_is_not_uint8_is_refused(tmp_path):
    tracker = Tracker(tmp_path, WandbConfig(mode="disabled"), {})
    with pytest.raises(ValueError, match="float32"):
        tracker.picture(1, "panel", np.zeros((4, 4), np.float32), "")
