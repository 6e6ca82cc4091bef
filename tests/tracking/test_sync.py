from pathlib import Path

import numpy as np
import pytest

from cyclegan_gc.cli import main
from cyclegan_gc.config import WandbConfig
from cyclegan_gc.tracking import Picture, Table, Tracker
from cyclegan_gc.tracking.sync import command_for, segments
from cyclegan_gc.tracking.without_pictures import BLOCK, START, log_of, records_of


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


GREY = Picture(np.zeros((4, 4), np.uint8))


@pytest.fixture
def with_pictures(no_account, tmp_path) -> Path:
    """A run of many figures with pictures and tables between them, over several blocks of its file."""
    tracker = Tracker(tmp_path, WandbConfig(mode="offline"), {"note": "x" * 70_000})
    for step in range(1, 200):
        tracker.log(step, {"cycle_mr": step / 7, "validation/score": 3.0})
        if step % 50 == 0:
            tracker.show(step, {"panels/planes": GREY, "cases": Table(["case", "picture"], [["case-1", GREY]])})
    tracker.close()
    return tmp_path


def told_folders(folder: Path, capsys, *words: str) -> list[Path]:
    """The folders that `wandb sync` would be given."""
    assert main(["sync", str(folder), *words]) == 2
    return [Path(word) for word in capsys.readouterr().err.split() if "offline-run" in word]


def test_a_run_is_sent_without_its_pictures_unless_they_are_wanted(with_pictures, capsys):
    [copy] = told_folders(with_pictures, capsys)
    assert copy.parent.name == "without_pictures"
    [whole] = told_folders(with_pictures, capsys, "--images", "true")
    assert whole.parent.name == "wandb"
    Tracker(with_pictures, WandbConfig(mode="offline", images=True), {}).close()
    # Another run, maybe of the same second: which of the two comes first is open.
    assert sorted(each.parent.name for each in told_folders(with_pictures, capsys)) == ["wandb", "without_pictures"]


def test_pictures_that_stand_in_a_table_alone_stay_too(no_account, tmp_path, capsys):
    tracker = Tracker(tmp_path, WandbConfig(mode="offline"), {})
    tracker.show(1, {"cases": Table(["case", "picture"], [["case-1", GREY]])})
    tracker.close()
    [copy] = told_folders(tmp_path, capsys)
    files = [file.read_bytes() for file in copy.rglob("*") if file.is_file()]
    assert files and not any(b"media/images" in data or b"\x89PNG" in data for data in files)


def test_a_copy_that_was_sent_is_not_made_anew(run, capsys):
    copies = told_folders(run, capsys)
    [file] = copies[0].glob("*.wandb")
    mark = file.with_name(file.name + ".synced")
    mark.touch()
    assert told_folders(run, capsys) == copies and mark.exists()


def test_figures_of_a_call_without_wandb_and_after_a_return_are_sent_later(no_account, tmp_path, offline_runs):
    def call(mode, first, *steps, run_id=None) -> Tracker:
        tracker = Tracker(tmp_path, WandbConfig(mode=mode), {}, step=first, run_id=run_id)
        for step in steps:
            tracker.log(step, {"cycle_mr": step})
        return tracker

    whole = call("offline", 0, 10, 20)
    whole.close()
    call("disabled", 20, 30, 40, run_id=whole.run_id).close()
    returned = call("offline", 20, 30, 40, 50, run_id=whole.run_id)
    returned.rewind(30, "because")
    returned.log(40, {"cycle_mr": 41})
    returned.close()
    call("offline", 40, 50, run_id=whole.run_id).close()
    sent = [[line["global_step"] for line in run.history if "cycle_mr" in line] for run in offline_runs(tmp_path)]
    assert sent == [[10, 20], [30, 40, 50, 40], [50]]


def test_the_copy_holds_every_figure_and_no_picture(with_pictures, offline_runs, capsys):
    [copy] = told_folders(with_pictures, capsys)
    (copy.parent / "wandb").symlink_to(copy.parent, target_is_directory=True)
    [whole], [clean] = offline_runs(with_pictures), offline_runs(copy.parent)

    def figures(run):
        return [(line["_step"], line["cycle_mr"]) for line in run.history if "cycle_mr" in line]

    assert figures(clean) == figures(whole) and len(figures(clean)) == 199
    assert clean.config == whole.config and clean.exit_codes == [0]
    assert clean.summary["validation/score"] == {"min": 3}
    tables = [line["global_step"] for line in clean.history if line.get("cases/nrows") == 1]
    assert tables == [50, 100, 150]
    for data in (file.read_bytes() for file in copy.rglob("*") if file.is_file()):
        assert b"\x89PNG" not in data and b"media/images" not in data and b"with_pictures" not in data
    assert any("panels/planes/_type" in line for line in whole.history)


def test_the_log_is_written_as_wandb_writes_it(with_pictures):
    """Byte for byte, checksums included, wherever records are cut by blocks."""
    [file] = with_pictures.rglob("*.wandb")
    data = file.read_bytes()
    assert len(data) > 2 * BLOCK and data == data[:START] + log_of(list(records_of(data)))


def test_with_a_key_wandb_itself_is_called_and_takes_the_words(run, refusing, capfd):
    main(["sync", str(run)])
    out, err = capfd.readouterr()
    assert out.startswith("wandb sync --id") and "Syncing" in out + err and "No such option" not in out + err


def test_a_server_that_is_not_there_is_told_at_once(run, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert main(["sync", str(run)]) == 2
    assert "http://127.0.0.1:9: cannot be reached" in capsys.readouterr().err
