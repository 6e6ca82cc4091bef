from pathlib import Path

import numpy as np
import pytest

from cyclegan_gc.cli import main
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Picture, Tracker
from cyclegan_gc.tracking.sync import sync_commands


@pytest.fixture
def run(no_account, tmp_path) -> Path:
    """A run in two segments."""
    run_id = None
    for step in (1, 2):
        tracker = Tracker(tmp_path, WandbConfig(mode="offline"), {}, step=step - 1, run_id=run_id)
        tracker.log(step, {"cycle_mr": 0.5})
        tracker.close()
        run_id = tracker.run_id
    return tmp_path


def test_one_command_sends_the_segments_of_a_run_oldest_first(run, offline_runs):
    [command] = sync_commands(run)
    first, second = offline_runs(run)
    assert command == ["wandb", "sync", "--id", first.of("run")[0].run_id, str(first.folder), str(second.folder)]


def test_runs_with_different_ids_are_sent_by_one_command_each(run):
    Tracker(run, WandbConfig(mode="offline"), {}).close()
    commands = sync_commands(run)
    assert len({command[3] for command in commands}) == 2
    assert sorted(len(command) - 4 for command in commands) == [1, 2]


def test_without_a_key_the_command_is_printed_in_one_line(run, capsys):
    assert main(["sync", str(run)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no W&B API key" in error and " ".join(sync_commands(run)[0]) in error


def test_a_folder_without_offline_runs_is_refused_by_name(tmp_path, capsys):
    assert main(["sync", str(tmp_path)]) == 2
    assert "no offline run" in capsys.readouterr().err


def test_figures_of_a_call_without_wandb_and_after_a_rollback_are_sent_later(no_account, tmp_path, offline_runs):
    def call(mode, first, *steps, run_id=None) -> Tracker:
        tracker = Tracker(tmp_path, WandbConfig(mode=mode), {}, step=first, run_id=run_id)
        for step in steps:
            tracker.log(step, {"cycle_mr": step})
        return tracker

    whole = call("offline", 0, 10, 20)
    whole.close()
    call("disabled", 20, 30, 40, run_id=whole.run_id).close()
    rewound = call("offline", 20, 30, 40, 50, run_id=whole.run_id)
    rewound.rewind(30, "because")
    rewound.log(40, {"cycle_mr": 41})
    rewound.close()
    call("offline", 40, 50, run_id=whole.run_id).close()
    sent = [[line["global_step"] for line in run.history if "loss/cycle_mr" in line] for run in offline_runs(tmp_path)]
    assert sent == [[10, 20], [30, 40, 50, 40], [50]]


@pytest.fixture
def elsewhere(monkeypatch, tmp_path_factory) -> Path:
    """An empty working folder."""
    folder = tmp_path_factory.mktemp("working_folder")
    monkeypatch.chdir(folder)
    return folder


def test_with_a_key_wandb_is_called_and_accepts_the_options(run, refusing, elsewhere, capfd):
    capfd.readouterr()
    main(["sync", str(run)])
    out, err = capfd.readouterr()
    assert out.startswith("wandb sync --id") and "Syncing" in out + err and "No such option" not in out + err
    assert not list(elsewhere.iterdir())


def test_pictures_in_an_offline_run_are_mentioned_before_they_are_sent(run, refusing, capfd):
    tracker = Tracker(run, WandbConfig(mode="offline", images=True), {})
    tracker.show(1, {"panels/planes": Picture(np.zeros((4, 4), np.uint8))})
    tracker.close()
    capfd.readouterr()
    main(["sync", str(run)])
    assert capfd.readouterr().out.startswith(f"{run}: the run contains pictures")


def test_a_server_that_cannot_be_reached_is_reported_at_once(run, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["sync", str(run)]) == 2
    assert "http://127.0.0.1:9: cannot be reached" in capsys.readouterr().err
