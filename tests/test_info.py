import json
import shutil
from dataclasses import replace

import numpy as np

from cyclegan_gc.cli import main
from cyclegan_gc.train.loop import train


def test_a_volume_is_described_in_its_own_terms(phantoms, capsys):
    path = next((phantoms / "test" / "mr").iterdir())
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "voxel size: " in text and "axes run to: " in text and "shape: " in text


def test_a_run_folder_gives_its_newest_and_its_best_checkpoint(small_config, tmp_path, capsys):
    train(replace(small_config, output=tmp_path / "run", steps=4, validate_every=2, stop_at=3))
    assert {path.name for path in (tmp_path / "run").glob("*.pt")} >= {"last.pt", "best.pt"}
    capsys.readouterr()
    assert main(["info", str(tmp_path / "run")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" at ")[0] for line in lines if not line.startswith(" ")] == [
        "last.pt: checkpoint", "best.pt: checkpoint",
    ]  # fmt: skip
    assert "last.pt: checkpoint at step 3 of 4, unpaired objective" in lines


def test_a_series_and_a_file_that_cannot_be_read(slices_of, write_series, tmp_path, capsys):
    write_series(tmp_path / "T1", slices_of(np.arange(20 * 24 * 6, dtype=np.int16).reshape(20, 24, 6)))
    assert main(["info", str(tmp_path)]) == 0
    assert "T1: DICOM series of 6 files" in capsys.readouterr().out
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    assert main(["info", str(tmp_path / "last.pt")]) == 2


def test_patients_are_numbers_in_json(slices_of, write_series, tmp_path, capsys):
    for name, patient in (("a", ""), ("b", "MRN1"), ("c", "MRN2"), ("d", "MRN1")):
        datasets = list(slices_of(np.arange(20 * 24 * 6, dtype=np.int16).reshape(20, 24, 6)))
        for dataset in datasets:
            dataset.SeriesInstanceUID += f".{ord(name)}"
            dataset.PatientID = patient
        write_series(tmp_path / name, datasets)
    assert main(["info", str(tmp_path), "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["patient"] for case in cases] == [None, 1, 2, 1]


def test_a_case_that_cannot_be_read_does_not_hide_the_others(slices_of, write_series, tmp_path, capsys):
    pixels = np.arange(20 * 24 * 6, dtype=np.int16).reshape(20, 24, 6)
    for name in ("T1", "broken"):
        datasets = list(slices_of(pixels))
        for dataset in datasets:
            dataset.SeriesInstanceUID += f".{len(name)}"
            if name == "broken":
                del dataset.PixelSpacing
        write_series(tmp_path / name, datasets)
    assert main(["info", str(tmp_path)]) == 3
    printed = capsys.readouterr()
    assert [line.split()[:2] for line in printed.out.splitlines()] == [["case", "modality"], ["T1", "MR"]]
    assert printed.err.startswith(f"failed: {tmp_path / 'broken'}") and len(printed.err.splitlines()) == 1


def test_a_folder_is_described_to_its_end_though_a_file_is_bad(phantoms, tmp_path, capsys):
    shutil.copy(next((phantoms / "test" / "mr").iterdir()), tmp_path / "b.nii.gz")
    (tmp_path / "a\x1b.nii.gz").write_bytes(b"no volume")
    assert main(["info", str(tmp_path)]) == 3
    said = capsys.readouterr()
    assert said.out.splitlines()[1].startswith("b.nii.gz  ") and "a\\x1b.nii.gz" in said.err and "\x1b" not in said.err
