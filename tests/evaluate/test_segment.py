"""With a small program in the place of TotalSegmentator, which takes its words and writes label maps by threshold."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from nibabel.nifti1 import Nifti1Image

from cyclegan_gc.cli import main
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.evaluate.segment import find_segmenter, with_label_maps
from cyclegan_gc.formats.sources import source_of

PROGRAM = """#!{python}
import gzip
import sys
from pathlib import Path

import numpy as np

words = sys.argv[1:]
with (Path(__file__).parent / "calls.txt").open("a") as calls:
    print(*words, file=calls)
source, result = (words[words.index(word) + 1] for word in ("-i", "-o"))
stored = gzip.decompress(Path(source).read_bytes())
kind = {{4: "<i2", 16: "<f4"}}[stored[70]]
hu = np.frombuffer(stored[352:], kind)
if hu.min() == -2000:
    sys.exit("RuntimeError: no lung found")
labels = np.digitize(hu, [-500, 250]).astype(kind)
assert "--ml" in words
Path(result).write_bytes(gzip.compress(stored[:352] + labels.tobytes()))
"""


def save(path: Path, voxels: np.ndarray) -> None:
    Nifti1Image(voxels.astype(np.int16), np.diag([3.0, 3.0, 3.0, 1.0])).to_filename(path)


def load(path: Path) -> np.ndarray:
    return np.asarray(Nifti1Image.from_filename(path).dataobj)


@pytest.fixture
def calls(tmp_path, monkeypatch) -> Path:
    """The program on the PATH; returned is where it notes what it was told."""
    program = tmp_path / "bin" / "TotalSegmentator"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program.parent / "calls.txt"


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two heads with synthetic CTs and another method's, whose bone is smaller and smallest."""
    x, y, z = np.ogrid[-1:1:24j, -1:1:24j, -1:1:20j]
    radius = np.sqrt(x**2 + y**2 + z**2)
    for number in range(2):
        for name, thickness in (("ct", 0.3), ("sct", 0.25), ("other", 0.2)):
            ct = np.select([radius < 0.5, radius < 0.5 + thickness], [40 + number, 700], -1000)
            (tmp_path / name).mkdir(exist_ok=True)
            save(tmp_path / name / f"head{number}.nii.gz", ct)
    return tmp_path


def run(folder: Path, *words: str) -> int:
    places = ["--predicted", folder / "sct", "--reference", folder / "ct", "--output", folder / "out"]
    return main([str(word) for word in ["evaluate", *places, *words]])


def rows(folder: Path) -> list[dict]:
    return json.loads((folder / "out" / "evaluation.json").read_text())["cases"]


def test_both_methods_are_judged_by_the_labels_that_the_program_finds(folder, calls):
    assert run(folder, "--compare", str(folder / "other"), "--segment", "totalsegmentator") == 0
    first = [row for row in rows(folder) if row["case"] == "head0"]
    assert [row["method"] for row in first] == ["sct", "compared", "constant"]
    assert 1 > first[0]["dice_label_2"] > first[1]["dice_label_2"] > 0.5 and "dice_label_2" not in first[2]
    assert len(calls.read_text().splitlines()) == 6


def test_a_ct_is_segmented_once_and_again_only_if_it_changed(folder, calls):
    sct = folder / "sct" / "head0.nii.gz"
    files = CaseFiles("head0", source_of(sct), source_of(folder / "ct" / "head0.nii.gz"))
    made = with_label_maps(files, find_segmenter(), folder / "labels")
    assert with_label_maps(files, find_segmenter(), folder / "labels") == made
    assert len(calls.read_text().splitlines()) == 2
    save(sct, np.roll(load(sct), 1, axis=0))
    changed = with_label_maps(files, find_segmenter(), folder / "labels")
    assert changed.labels == made.labels and changed.sct_labels != made.sct_labels
    assert len(calls.read_text().splitlines()) == 3


def test_a_ct_whose_voxels_lie_apart_from_its_header_is_segmented_again_if_they_changed(folder, calls):
    truth, sct = load(folder / "ct" / "head0.nii.gz"), folder / "head0.mhd"
    files, made = CaseFiles("head0", source_of(sct), source_of(folder / "ct" / "head0.nii.gz")), set()
    for moved in (0, 1, 1):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.roll(truth, moved, axis=0)), str(sct))
        made.add(with_label_maps(files, find_segmenter(), folder / "labels").sct_labels)
    assert len(made) == 2


@pytest.mark.parametrize("given", ["labels", "predicted_labels", "compared_labels"])
def test_label_maps_with_other_numbers_are_not_mixed_with_its_own(folder, calls, given, capsys):
    words = ["--compare", str(folder / "other"), f"--{given}", str(folder / "ct")]
    assert run(folder, *words, "--segment", "totalsegmentator") == 2
    assert "--segment makes all label maps" in capsys.readouterr().err and not calls.exists()


def test_a_volume_that_cannot_be_segmented_is_named_with_what_was_said(folder, calls, capsys):
    voxels = np.zeros((24, 24, 20), np.int16)
    voxels[:2], voxels[5:9] = -2000, 900
    save(folder / "sct" / "head0.nii.gz", voxels)
    assert run(folder, "--segment", "totalsegmentator") == 3
    assert "head0" in (said := capsys.readouterr().err) and "no lung found" in said
    assert {row["case"] for row in rows(folder)} == {"head1"}
    assert not [path for path in (folder / "out" / "labels").iterdir() if path.name.startswith(".")]


def test_where_it_is_not_installed_one_line_says_how_to_install_it(folder, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(folder))
    assert run(folder, "--segment", "totalsegmentator") == 2
    said = capsys.readouterr().err
    assert "pip install TotalSegmentator" in said and said.count("\n") == 1
    assert not (folder / "out").exists()


@pytest.mark.parametrize("given", ["labels", "predicted_labels"])
def test_one_label_map_alone_is_refused_by_the_name_of_the_other(folder, given, capsys):
    (missing,) = {"labels", "predicted_labels"} - {given}
    assert run(folder, f"--{given}", str(folder / "ct")) == 2
    assert f"--{missing} is missing" in capsys.readouterr().err
