from pathlib import Path

import pytest

from cyclegan_gc.atomic import atomic_write, remove_leftovers, write_text


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
    dead.write_bytes(b"half")
    (tmp_path / ".other.nii.gz.0123456789ab.part").write_bytes(b"another file's")
    with atomic_write(tmp_path / "x.nii.gz") as file:
        file.write(b"whole")
        remove_leftovers(tmp_path / "x.nii.gz")
        assert not dead.exists()
    assert (tmp_path / "x.nii.gz").read_bytes() == b"whole"
    assert (tmp_path / ".other.nii.gz.0123456789ab.part").exists()


def test_long_names_are_written_too(tmp_path: Path):
    write_text(tmp_path / ("n" * 255), "x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
