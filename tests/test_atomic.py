import os
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from cyclegan_gc.atomic import atomic_write, remove_leftovers, temporary_folder, write_text

WRITING = """
import pathlib, sys, time
from cyclegan_gc.atomic import atomic_write, temporary_folder

def wait(path):
    print(path, flush=True)
    time.sleep(600)

folder = pathlib.Path(sys.argv[1])
with temporary_folder(folder / "series") as made, atomic_write(folder / "x.nii.gz", check=wait) as file:
    (made / "0001.dcm").write_bytes(b"half")
"""


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path):
    write_text(tmp_path / "x", "old")
    with pytest.raises(TypeError), atomic_write(tmp_path / "x") as file:
        file.writelines([b"half", "text"])  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_check_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path):
    def refuse(written: Path) -> None:
        assert written.read_bytes() == b"new"
        raise ValueError("not as it should be")

    write_text(tmp_path / "x", "old")
    with pytest.raises(ValueError, match="as it should be"), atomic_write(tmp_path / "x", check=refuse) as file:
        file.write(b"new")
    assert (tmp_path / "x").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_killed_processes_are_removed_and_open_files_stay(tmp_path: Path):
    dead = tmp_path / ".x.nii.gz.0123456789ab.part"
    dead.mkdir()
    os.utime(dead, (0, 0))
    with atomic_write(tmp_path / "x.nii.gz") as file:
        file.write(b"whole")
        remove_leftovers(tmp_path)
        assert not dead.exists()
    assert (tmp_path / "x.nii.gz").read_bytes() == b"whole" and len(list(tmp_path.iterdir())) == 1


def test_what_another_process_writes_or_checks_stays_until_it_is_killed(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.glob(".series.*.part/0001.dcm"))) == len(list(tmp_path.glob(".x.nii.gz.*.part"))) == 1
        process.kill()
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_folders_of_killed_processes_are_removed_and_names_of_others_and_links_stay(tmp_path: Path):
    out, others = tmp_path / "out", tmp_path / "others"
    for folder in (out / ".sct.0123456789ab.part", others):
        folder.mkdir(parents=True)
        (folder / "0001.dcm").write_bytes(b"half")
        os.utime(folder, (0, 0))
    kept = [".x.0123456789ab.part", ".x.part", ".x.0123456789AB.part", "x.0123456789ab.part", ".x.0123456789ab.partly"]
    for name in kept:
        (out / name).write_bytes(b"another program's")
        os.utime(out / name, (0, 0))
    (out / ".link.0123456789ab.part").symlink_to(others)
    remove_leftovers(out)
    assert {path.name for path in out.iterdir()} == {*kept, ".link.0123456789ab.part"}
    assert (others / "0001.dcm").read_bytes() == b"half"


def test_the_folder_of_another_machine_counts_as_left_over_after_a_day_only(tmp_path: Path):
    folder = tmp_path / ".x.0123456789ab.part"
    folder.mkdir()
    (folder / "lock").write_bytes(b"the digest of another name")
    remove_leftovers(tmp_path)
    assert folder.exists()
    os.utime(folder, (0, 0))
    remove_leftovers(tmp_path)
    assert not folder.exists()


def test_a_process_waits_while_another_asks_whether_it_lives(tmp_path: Path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    asked, lock = [], fcntl.flock

    def ask_first(file, how):
        if not asked:
            asked.append(Path(file.name).open("r+b"))  # noqa: SIM115 (the timer closes it)
            lock(asked[0], fcntl.LOCK_EX)
            Timer(0.2, asked[0].close).start()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", ask_first)
    with temporary_folder(tmp_path / "x") as folder:
        assert asked[0].closed
        remove_leftovers(tmp_path)
        assert folder.exists()


def test_a_temporary_folder_is_gone_after_its_block(tmp_path: Path):
    with temporary_folder(tmp_path / "x") as folder:
        (folder / "half").write_bytes(b"half")
    assert not list(tmp_path.iterdir())


def test_long_names_are_written_too(tmp_path: Path):
    write_text(tmp_path / ("n" * 255), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
