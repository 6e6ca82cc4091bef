import numpy as np

from cyclegan_gc.cli import main


def test_a_volume_is_described_in_its_own_terms(phantoms, capsys):
    path = next((phantoms / "test" / "mr").iterdir())
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "voxel size: " in text and "axes run to: " in text and "shape: " in text


def test_a_series_and_a_file_that_cannot_be_read(slices_of, write_series, tmp_path, capsys):
    write_series(tmp_path / "T1", slices_of(np.arange(20 * 24 * 6, dtype=np.int16).reshape(20, 24, 6)))
    assert main(["info", str(tmp_path)]) == 0
    assert "T1: DICOM series of 6 files" in capsys.readouterr().out
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    assert main(["info", str(tmp_path / "last.pt")]) == 2
