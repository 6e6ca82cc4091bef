"""Preparing volumes for the cache: in parallel, deterministic, once, and continued after an interruption."""

import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from processes import Program

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.preparation import prepare_volumes
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.content import content_hash, known_contents
from cyclegan_gc.formats.sources import source_of

SETTINGS = PreprocessConfig(spacing_mm=4.0)


@pytest.fixture
def sources(phantoms, tmp_path):
    """The four training heads in a folder of their own."""
    found = []
    for modality in ("mr", "ct"):
        (tmp_path / modality).mkdir()
        for path in sorted((phantoms / modality).iterdir()):
            copy = tmp_path / modality / path.name
            copy.write_bytes(path.read_bytes())
            found.append(((source_of(copy),), modality))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_volumes_do_not_depend_on_the_number_of_threads(sources, tmp_path):
    for threads in (1, 3):
        prepare_volumes(sources, SETTINGS, tmp_path / str(threads), threads)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")
    assert len(list((tmp_path / "1").glob("*.npy"))) == 2 * len(sources)


def test_the_volumes_come_in_the_order_of_the_sources(sources, tmp_path):
    volumes = prepare_volumes(sources, SETTINGS, tmp_path / "cache")
    turned = prepare_volumes(sources[::-1], SETTINGS, tmp_path / "cache")
    assert [one.path for one in turned] == [one.path for one in volumes][::-1]


def test_prepared_files_are_not_read_again(sources, tmp_path):
    """A file with the same path, size and time of change is not opened."""
    volumes = prepare_volumes(sources, SETTINGS, tmp_path / "cache")
    for (source,), _ in sources:
        before = source.path.stat()
        source.path.write_bytes(b"?" * before.st_size)
        os.utime(source.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert prepare_volumes(sources, SETTINGS, tmp_path / "cache") == volumes


def test_a_changed_file_is_prepared_again(sources, tmp_path):
    ((source,), modality), folder = sources[0], tmp_path / "cache"
    one = source.path
    (before,) = prepare_volumes([([source], modality)], SETTINGS, folder)
    image = nib.Nifti1Image.from_filename(one)
    nib.Nifti1Image(np.asarray(image.dataobj)[20:], image.affine).to_filename(one)
    (after,) = prepare_volumes([([source], modality)], SETTINGS, folder)
    assert after.path.read_bytes() != before.path.read_bytes()


def test_a_moved_file_is_hashed_but_not_prepared_again(sources, tmp_path):
    ((source,), modality), folder = sources[0], tmp_path / "cache"
    one = source.path
    (before,) = prepare_volumes([([source], modality)], SETTINGS, folder)
    written = before.path.stat().st_mtime_ns
    moved = one.rename(tmp_path / "elsewhere.nii.gz")
    assert prepare_volumes([([source_of(moved)], modality)], SETTINGS, folder) == [replace(before, source=str(moved))]
    assert before.path.stat().st_mtime_ns == written


def test_the_voxel_file_beside_a_header_counts(tmp_path):
    image = nib.Nifti1Pair(np.arange(8000, dtype=np.int16).reshape(20, 20, 20), np.eye(4))
    nib.save(image, tmp_path / "pair.hdr")
    before = content_hash([tmp_path / "pair.hdr"], tmp_path / "cache")
    voxels = bytearray((tmp_path / "pair.img").read_bytes())
    voxels[100] ^= 1
    (tmp_path / "pair.img").write_bytes(voxels)
    assert known_contents([source_of(tmp_path / "pair.hdr")], tmp_path / "cache") is None
    assert content_hash([tmp_path / "pair.hdr"], tmp_path / "cache") != before


@pytest.mark.parametrize(
    ("header", "line"), [("head.mhd", "ElementDataFile = v 1.raw"), ("head.nhdr", "data file: v 1.raw")]
)
def test_a_voxel_file_of_another_name_than_its_header_counts(tmp_path, header, line):
    path, voxels = tmp_path / header, tmp_path / "v 1.raw"
    path.write_text(f"Comment = a volume\n{line}\n")
    voxels.write_bytes(bytes(8))
    before = content_hash([path], tmp_path / "cache")
    voxels.write_bytes(bytes(8) + b"1")
    assert content_hash([path], tmp_path / "cache") != before


def test_an_incomplete_note_of_a_hash_is_written_again(sources, tmp_path):
    source, folder = sources[0][0][0], tmp_path / "cache"
    before = content_hash(source.files, folder)
    (note,) = folder.iterdir()
    note.write_text(note.read_text()[:20])
    assert known_contents([source], folder) is None
    assert content_hash(source.files, folder) == before == known_contents([source], folder)


def test_the_cache_contains_no_path_and_no_file_name(sources, tmp_path):
    prepare_volumes(sources, SETTINGS, tmp_path / "cache")
    everything = b"".join(name.encode() + content for name, content in contents(tmp_path / "cache").items())
    assert b"spacing_mm" in everything
    assert b"head_" not in everything and str(tmp_path).encode() not in everything


def test_every_volume_that_cannot_be_used_is_named_after_the_others_are_done(sources, tmp_path):
    for (source,), _ in sources[:2]:
        source.path.write_bytes(b"nothing of use")
    with pytest.raises(VolumeError, match="2 volumes cannot be used: ") as caught:
        prepare_volumes(sources, SETTINGS, tmp_path / "cache", threads=2)
    assert all(source.path.name in str(caught.value) for (source,), _ in sources[:2])
    assert "\n" not in str(caught.value)
    assert len(list((tmp_path / "cache").glob("*.json"))) == len(sources) - 2


def test_two_at_once_into_one_folder_agree(sources, tmp_path):
    results = {}

    def run(name: str) -> None:
        results[name] = prepare_volumes(sources, SETTINGS, tmp_path / "cache", threads=2)

    both = [threading.Thread(target=run, args=(name,)) for name in ("one", "other")]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert results["one"] == results["other"]
    alone = prepare_volumes(sources, SETTINGS, tmp_path / "alone")
    for one, other in zip(results["one"], alone, strict=True):
        assert one.path.read_bytes() == other.path.read_bytes()
    assert list((tmp_path / "cache").glob(".*.part")) == []


def test_a_killed_preparation_continues_with_the_missing_volumes(sources, tmp_path):
    cache = tmp_path / "cache"
    process = Program(partial(prepare_volumes, sources, SETTINGS, cache, threads=1))
    deadline = time.monotonic() + 120
    while not list(cache.glob("*.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.001)
    process.send(signal.SIGKILL)
    process.finish()
    done = {path: path.stat().st_mtime_ns for path in cache.glob("*.json")}
    assert 1 <= len(done) < len(sources)
    volumes = prepare_volumes(sources, SETTINGS, cache)
    assert len(volumes) == len(sources) == len(list(cache.glob("*.json")))
    assert all(path.stat().st_mtime_ns == then for path, then in done.items())
