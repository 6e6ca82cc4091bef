import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cyclegan_gc.cli import main
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Picture, Tracker
from cyclegan_gc.tracking.sync import command_for, segments


@pytest.fixture
def run(no_account, tmp_path) -> Path:
    """A run in two segments, without pictures."""
    run_id = None
    for step in (1, 2):
        tracker = Tracker(tmp_path, WandbConfig(mode="offline"), {}, step=step - 1, run_id=run_id)
        tracker.log(step, {"cycle_mr": 0.5})
        tracker.close()
        run_id = tracker.run_id
    return tmp_path


def test_the_segments_of_a_run_belong_to_one_id_oldest_first(run):
    [(run_id, folders)] = segments(run).items()
    assert folders == sorted(folders) and len(folders) == 2
    assert command_for(run_id, folders) == ["wandb", "sync", "--id", run_id, *map(str, folders)]


def test_without_a_key_the_command_is_told_in_one_line(run, capsys):
    assert main(["sync", str(run)]) == 2
    error = capsys.readouterr().err
    assert (
        error.count("\n") == 1 and "no W&B API key" in error and f"wandb sync --id {next(iter(segments(run)))}" in error
    )


def test_a_folder_without_offline_runs_is_named(tmp_path, capsys):
    assert main(["sync", str(tmp_path)]) == 2
    assert "no offline run" in capsys.readouterr().err


def test_pictures_are_not_sent_unless_they_were_wanted(no_account, tmp_path, capsys):
    tracker = Tracker(tmp_path, WandbConfig(mode="offline"), {})
    tracker.show(1, {"panels": Picture(np.zeros((4, 4), np.uint8))})
    tracker.close()
    assert main(["sync", str(tmp_path)]) == 2
    assert "a face can be rebuilt" in capsys.readouterr().err
    assert main(["sync", str(tmp_path), "--images", "true"]) == 2
    assert "no W&B API key" in capsys.readouterr().err
    Tracker(tmp_path, WandbConfig(mode="offline", images=True), {}).close()
    assert main(["sync", str(tmp_path)]) == 2
    assert "no W&B API key" in capsys.readouterr().err


class Refusing(BaseHTTPRequestHandler):
    """A server that knows no key."""

    def do_POST(self) -> None:
        """Refuse."""
        self.send_error(401)

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


@pytest.fixture
def refusing(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()


def test_with_a_key_wandb_itself_is_called_and_takes_the_words(run, refusing, capfd):
    main(["sync", str(run)])
    out, err = capfd.readouterr()
    assert out.startswith("wandb sync --id") and "Syncing" in out + err and "No such option" not in out + err


def test_a_server_that_is_not_there_is_told_at_once(run, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["sync", str(run)]) == 2
    assert "http://127.0.0.1:9: cannot be reached" in capsys.readouterr().err
