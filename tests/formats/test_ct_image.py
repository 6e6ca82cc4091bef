"""Positions and descriptions in the slices of a synthetic CT."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from cyclegan_gc.formats.dicom.ct_image import SeriesLabel, is_synthetic_ct
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.dicom.write import write_ct_series

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 24, 6)).astype(np.int16)
MANY = 10**9


def test_rounded_positions_are_written_as_those_of_the_even_grid_that_was_fitted(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS, "oblique", (1.5, 1.2, 1.25)))
    for dataset in slices:
        dataset.ImagePositionPatient = [round(float(x), 1) for x in dataset.ImagePositionPatient]
    source = write_series(tmp_path / "mr", slices)
    volume = read_series(source, MANY)
    assert "fitted to an even grid" in " ".join(volume.warnings)
    write_ct_series(tmp_path / "ct", PIXELS.transpose(1, 0, 2), volume.affine, source, SeriesLabel("1", "", ""))
    files = sorted((tmp_path / "ct").iterdir())
    found = [pydicom.dcmread(path) for path in files]
    positions = np.array([dataset.ImagePositionPatient for dataset in found])
    steps = np.diff(positions, axis=0)
    assert np.allclose(steps, steps[0], atol=1e-6) and np.isclose(np.linalg.norm(steps[0]), found[0].SliceThickness)
    after = read_series(files, MANY)
    assert np.allclose(after.affine, volume.affine, atol=1e-6) and not after.warnings
    origin = {d.SOPInstanceUID: d for d in slices}
    for dataset in found:
        before = origin[dataset.SourceImageSequence[0].ReferencedSOPInstanceUID].ImagePositionPatient
        assert 0 < np.abs(np.array(dataset.ImagePositionPatient) - before).max() < 0.1


@pytest.mark.parametrize(
    ("picture", "mark", "description"),
    [
        ("", "", "Synthetic CT, research only"),
        ("W", "implausible", "Synthetic CT, research only, W, implausible"),
        ("OPPOSED_PHASE_WITH_TE15", "implausible", "Synthetic CT, research only, OPPOSED_PHASE_WITH_TE1, implausible"),
    ],
)
def test_the_description_names_the_picture_in_at_most_64_letters(
    picture, mark, description, slices_of, write_series, tmp_path
):
    source = write_series(tmp_path / "mr", slices_of(PIXELS))
    label = SeriesLabel("1", "", "", picture=picture, mark=mark)
    write_ct_series(tmp_path / "ct", PIXELS.transpose(1, 0, 2), read_series(source, MANY).affine, source, label)
    for path in (tmp_path / "ct").iterdir():
        assert pydicom.dcmread(path).SeriesDescription == description and len(description) <= 64
        assert is_synthetic_ct(path)


def test_an_interruption_while_a_series_is_replaced_keeps_the_older_one(slices_of, write_series, tmp_path, monkeypatch):
    source, folder = write_series(tmp_path / "mr", slices_of(PIXELS)), tmp_path / "ct"
    affine, rename = read_series(source, MANY).affine, Path.rename
    write_ct_series(folder, PIXELS.transpose(1, 0, 2), affine, source, SeriesLabel("1", "", ""))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(path, target):
        if path.name == "series":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_ct_series(folder, PIXELS.transpose(1, 0, 2) + 1, affine, source, SeriesLabel("1", "", ""))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"mr", "ct"}
