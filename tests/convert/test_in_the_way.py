"""What lies in the way of a result, its sidecar or its manifest, and names that are too long."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.errors import UserError


def run(checkpoint: Path, source: Path, output: Path, **settings) -> list[str]:
    return [case.outcome for case in convert(ConvertConfig(checkpoint, str(source), output, device="cpu", **settings))]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"manifest.json", "index.html"}


def test_what_lies_where_a_sidecar_belongs_ends_no_batch_and_is_never_opened(checkpoint, folder, tmp_path):
    """A pipe, a self-referring link and JSON that is nested too deeply."""
    out = tmp_path / "out"
    os.mkfifo(folder / "a.json")
    (folder / "l.nii.gz").symlink_to("l.nii.gz")
    out.mkdir()
    (out / "a_sct.json").write_text("[" * 100_000)
    assert run(checkpoint, folder, out) == ["converted", "failed"]
    known = json.loads((out / "a_sct.json").read_text())
    for edit in ({"warnings": [1]}, {"warnings": None}, {"quality": {**known["quality"], "reasons": None}}):
        (out / "a_sct.json").write_text(json.dumps({**known, **edit}))
        assert run(checkpoint, folder, out) == ["converted", "failed"]


def test_a_folder_in_the_way_or_a_name_too_long_fails_that_case_before_it_is_converted(checkpoint, folder, tmp_path):
    """The map of "n" * 233 would have 256 bytes, its other files at most 244."""
    out = tmp_path / "out"
    for name in ("b", "c", "d", "n" * 233):
        shutil.copy(folder / "a.nii.gz", folder / f"{name}.nii.gz")
    for name in ("a_sct.json", "b_sct.png", "c_sct.nii.gz", "d_sct_uncertainty.nii.gz"):
        (out / name).mkdir(parents=True)
    cases = convert(ConvertConfig(checkpoint, str(folder), out, device="cpu"))
    told = [case.failure or "" for case in cases]
    assert ["a folder lies where a file of the result belongs; rename it" in each for each in told[:4]] == [True] * 4
    assert "cannot be written (File name too long); shorten the name of its source" in told[4]
    assert names(out) == {"a_sct.json", "b_sct.png", "c_sct.nii.gz", "d_sct_uncertainty.nii.gz"}
    (out / "manifest_1of2.json").mkdir()
    with pytest.raises(UserError, match=r"manifest_1of2\.json: a folder lies where a file belongs; rename it"):
        run(checkpoint, folder, out, shard="1/2")


def test_a_folder_of_others_with_the_name_of_a_result_is_kept(checkpoint, series, tmp_path):
    mine = tmp_path / "out" / "T1_sct" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run(checkpoint, series, tmp_path / "out", format="dicom") == ["failed"]
    assert mine.read_text() == "mine" and run(checkpoint, series, tmp_path / "new", format="dicom") == ["converted"]
