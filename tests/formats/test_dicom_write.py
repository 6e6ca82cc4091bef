import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pydicom.datadict
import pydicom.uid
import pytest

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.ct_image import PATIENT_AND_STUDY, SeriesLabel, is_synthetic_ct
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.dicom.write import write_ct_series

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 24, 6)).astype(np.int16)
LABEL = SeriesLabel("0123abcd", "Model 12345, step 7.", "cyclegan-gc 0.1")
MANY = 10**9


def synthetic(array: np.ndarray) -> np.ndarray:
    """Some HU on the source's grid, with a marker in one corner."""
    hu = (array - 500).astype(np.int16)
    hu[2, 3, 1] = 2999
    return hu


@pytest.fixture(params=["axial", "coronal", "sagittal", "oblique"])
def source(request, slices_of, write_series, tmp_path) -> list[Path]:
    return write_series(tmp_path / "mr", slices_of(PIXELS, request.param))


def written(source: list[Path], folder: Path, label: SeriesLabel = LABEL, change: int = 0) -> list[Path]:
    volume = read_series(source, MANY)
    write_ct_series(folder, synthetic(volume.array) + np.int16(change), volume.affine, source, label)
    return sorted(folder.iterdir())


def test_the_series_lies_where_the_source_lies_and_holds_the_hu(source, tmp_path):
    before = read_series(source, MANY)
    files = written(source, tmp_path / "ct")
    after = read_series(files, MANY)
    assert np.allclose(after.affine, before.affine, atol=1e-6)
    assert np.array_equal(after.array, synthetic(before.array))
    assert [path.name for path in files] == [f"{n:04d}.dcm" for n in range(1, 7)]


@pytest.mark.parametrize("shades", [1, 2])
def test_a_synthetic_ct_of_one_or_two_values_is_written_too(shades, slices_of, write_series, tmp_path):
    source = write_series(tmp_path / "mr", slices_of(PIXELS))
    hu = np.where(np.arange(PIXELS.size).reshape(24, 20, 6) % shades, 193, 194).astype(np.int16)
    write_ct_series(tmp_path / "ct", hu, read_series(source, MANY).affine, source, LABEL)
    stored = [pydicom.dcmread(path) for path in sorted((tmp_path / "ct").iterdir())]
    assert {float(v) + float(d.RescaleIntercept) for d in stored for v in np.unique(d.pixel_array)} == set(
        np.unique(hu).astype(float)
    )


def test_a_marker_is_on_the_patients_same_side(source, tmp_path):
    """By hand from the tags of the one object that holds it."""
    volume = read_series(source, MANY)
    expected = volume.affine @ [2, 3, 1, 1]
    [found] = [d for d in map(pydicom.dcmread, written(source, tmp_path / "ct")) if d.pixel_array.max() == 2999]
    row, column = np.argwhere(found.pixel_array == 2999)[0]
    across, down = np.array(found.ImageOrientationPatient[:3]), np.array(found.ImageOrientationPatient[3:])
    lps = np.array(found.ImagePositionPatient) + across * column * found.PixelSpacing[1]
    lps = lps + down * row * found.PixelSpacing[0]
    np.testing.assert_allclose(lps * (-1, -1, 1), expected[:3], atol=1e-4)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian's dicom3tools) is not installed")
def test_dciodvfy_and_dcentvfy_find_no_error(source, tmp_path):
    files = written(source, tmp_path / "ct")
    for path in files:
        report = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        assert "Error" not in report.stdout + report.stderr and "CTImage" in report.stderr
    report = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, check=True)
    assert "Error" not in report.stdout + report.stderr


def test_the_series_is_labelled_with_what_it_is_and_its_source(source, tmp_path):
    origin = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, source)}
    for dataset in map(pydicom.dcmread, written(source, tmp_path / "ct")):
        assert (dataset.Modality, dataset.SOPClassUID) == ("CT", pydicom.uid.CTImageStorage)
        assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"] and dataset.RescaleType == "HU"
        assert "research only" in dataset.SeriesDescription and "not a medical device" in dataset.DerivationDescription
        [item] = dataset.SourceImageSequence
        slice_of_source = origin[item.ReferencedSOPInstanceUID]
        assert dataset.ImagePositionPatient == slice_of_source.ImagePositionPatient
        for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
            assert dataset[name].value == slice_of_source[name].value
        assert dataset.PositionReferenceIndicator in (None, "") and dataset.Laterality in (None, "")


def test_only_the_listed_tags_are_copied_from_the_source(source, tmp_path):
    known = {pydicom.datadict.tag_for_keyword(name) for name in PATIENT_AND_STUDY}
    datasets = [pydicom.dcmread(path) for path in written(source, tmp_path / "ct")]
    text = "\n".join(str(dataset) for dataset in datasets)
    assert "a remark" not in text and "A MAKER" not in text and "Echo Time" not in text
    before = pydicom.dcmread(source[0])
    same = {e.tag for e in datasets[0] if e.tag in before and e.tag not in known and e.value == before[e.tag].value}
    assert {pydicom.datadict.keyword_for_tag(tag) for tag in same} <= {
        *("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns"),
        *("SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit"),
        *("PixelRepresentation", "InstanceNumber"),
    }


def test_equal_input_gives_equal_bytes_and_other_pixels_or_settings_other_identifiers(source, tmp_path):
    first, again = written(source, tmp_path / "a"), written(source, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    others = [
        written(source, tmp_path / "c", change=1),
        written(source, tmp_path / "d", SeriesLabel("ffff", "Model 2.", "cyclegan-gc 0.1")),
    ]
    for each in others:
        for name in ("SeriesInstanceUID", "SOPInstanceUID"):
            assert pydicom.dcmread(each[0])[name].value != pydicom.dcmread(first[0])[name].value
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in first}
    assert len(uids) == len(first) and all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_a_volume_turned_by_its_converter_finds_its_series_again(source, tmp_path):
    volume = read_series(source, MANY)
    turned, affine = volume.array.transpose(2, 0, 1)[:, ::-1], volume.affine[:, [2, 0, 1, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (turned.shape[1] - 1)
    affine[:3, 1] *= -1
    hu = synthetic(volume.array).transpose(2, 0, 1)[:, ::-1]
    write_ct_series(tmp_path / "ct", hu, affine, source, LABEL)
    assert np.array_equal(read_series(sorted((tmp_path / "ct").iterdir()), MANY).array, synthetic(volume.array))


def test_another_grid_is_refused_and_nothing_is_left(source, tmp_path):
    volume = read_series(source, MANY)
    shifted = volume.affine.copy()
    shifted[0, 3] += 1.0
    for array, affine in ((volume.array, shifted), (volume.array[:-1], volume.affine), (volume.array, np.eye(4))):
        with pytest.raises(VolumeError, match="not on the grid"):
            write_ct_series(tmp_path / "ct", synthetic(array), affine, source, LABEL)
    assert [path.name for path in tmp_path.iterdir()] == ["mr"]


def test_a_full_disk_leaves_the_older_series(source, tmp_path):
    files = written(source, tmp_path / "ct")
    before = [path.read_bytes() for path in files]
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900));"
        "from pathlib import Path; import numpy as np;"
        "from cyclegan_gc.formats.dicom.read import read_series; from cyclegan_gc.formats.dicom.write import *;"
        "files = sorted(Path(sys.argv[1]).iterdir()); volume = read_series(files, 10**9);"
        "write_ct_series(Path(sys.argv[2]), volume.array.astype(np.int16), volume.affine, files,"
        "SeriesLabel('1', '', ''))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "mr"), str(tmp_path / "ct")]
    report = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "VolumeError: cannot be written (File too large)" in report.stderr
    assert [path.read_bytes() for path in files] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct", "mr"]


def test_the_distance_of_slices_comes_from_their_positions_and_not_from_a_tag(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    for each in slices:
        each.SliceThickness, each.SpacingBetweenSlices = 9.9, 9.9
    files = written(write_series(tmp_path / "mr", slices), tmp_path / "ct")
    assert {float(pydicom.dcmread(path).SliceThickness) for path in files} == {3.0}


def test_a_series_that_planning_may_refuse_or_not_find_is_told(source, slices_of, write_series, tmp_path):
    volume = read_series(source, MANY)
    hu = synthetic(volume.array)
    warnings = write_ct_series(tmp_path / "ct", hu, volume.affine, source, LABEL)
    turned = pydicom.dcmread(source[0]).ImageOrientationPatient != [1, 0, 0, 0, 1, 0]
    assert ["planning systems refuse" in each for each in warnings] == [True] * turned
    datasets = [pydicom.dcmread(path) for path in source]
    for each in datasets:
        del each.StudyInstanceUID, each.FrameOfReferenceUID, each.PatientID
    alone = write_series(tmp_path / "alone", datasets)
    warnings = write_ct_series(tmp_path / "ct", hu, volume.affine, alone, LABEL)
    assert sum("a new one was made" in each for each in warnings) == 2
    assert any("no PatientID" in each for each in warnings)


def test_an_implausible_result_says_so_in_its_tags(source, tmp_path):
    label = replace(LABEL, mark="implausible", comment="Check of this synthetic CT: implausible; no bone")
    for path in written(source, tmp_path / "ct", label):
        dataset = pydicom.dcmread(path)
        assert dataset.SeriesDescription == "Synthetic CT, research only, implausible"
        assert dataset.ImageComments.endswith("no bone") and is_synthetic_ct(path)


def test_a_resampled_series_is_axial_even_and_shows_each_place_of_the_patient_where_it_was(source, tmp_path):
    volume = read_series(source, MANY)
    x, y, z = np.indices(volume.array.shape).reshape(3, -1)
    ras = volume.affine @ [x, y, z, np.ones_like(x)]
    hu = (ras[:3].T @ (20, 7, 3)).round().astype(np.int16).reshape(volume.array.shape)
    [*_, remark] = write_ct_series(tmp_path / "ct", hu, volume.affine, source, LABEL, axial_outside_hu=-1000)
    seen = 0
    for found in map(pydicom.dcmread, sorted((tmp_path / "ct").iterdir())):
        assert list(found.ImageOrientationPatient) == [1, 0, 0, 0, 1, 0] and remark in found.DerivationDescription
        assert (found.PatientID, found.FrameOfReferenceUID) == ("P1", "1.2.826.0.1.3")
        row, column = np.indices(found.pixel_array.shape).reshape(2, -1)
        first, spacing = np.array(found.ImagePositionPatient), found.PixelSpacing
        places = [first[0] + column * spacing[1], first[1] + row * spacing[0], np.full(row.size, first[2])]
        places = np.array([-places[0], -places[1], places[2], np.ones(row.size)])
        index = np.linalg.inv(volume.affine)[:3] @ places
        inside = ((index >= 0) & (index <= np.array(volume.array.shape)[:, None] - 1)).all(axis=0)
        errors = found.pixel_array.ravel()[inside] - (20, 7, 3) @ places[:3, inside]
        assert (np.abs(errors) < 1.1).all()
        seen += int(inside.sum())
    assert seen > 1000


def test_a_resampled_series_names_no_slice_as_its_source_and_is_warned_of_no_more(source, tmp_path):
    volume = read_series(source, MANY)
    hu = synthetic(volume.array)
    warnings = write_ct_series(tmp_path / "ct", hu, volume.affine, source, LABEL, axial_outside_hu=-1000)
    assert len(warnings) == 1 and warnings[0].startswith("Resampled linearly to axial slices")
    assert all("SourceImageSequence" not in pydicom.dcmread(path) for path in (tmp_path / "ct").iterdir())


TYPE_1 = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "Modality"),
    *("ImageType", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SamplesPerPixel"),
    *("PhotometricInterpretation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelData", "RescaleIntercept", "RescaleSlope", "RescaleType"),
)
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("ReferringPhysicianName", "AccessionNumber", "SeriesNumber", "Laterality", "PatientPosition"),
    *("PositionReferenceIndicator", "Manufacturer", "InstanceNumber", "SliceThickness", "KVP", "AcquisitionNumber"),
)
"""Attributes of the CT Image IOD's mandatory modules (DICOM PS3.3 A.3.3), conditional ones included."""


@pytest.mark.parametrize("resampled", [None, -1000])
def test_each_attribute_that_the_ct_image_asks_for_is_there(resampled, slices_of, write_series, tmp_path):
    whole, poor = list(slices_of(PIXELS)), list(slices_of(PIXELS))
    for each in poor:
        for name in (*TYPE_1, *TYPE_2):
            if name in (*PATIENT_AND_STUDY, "SOPClassUID", "Modality", "SeriesNumber", "ImageType", "SliceThickness"):
                each.pop(name, None)
    for number, slices in enumerate((whole, poor)):
        source = write_series(tmp_path / f"mr{number}", slices)
        volume = read_series(source, MANY)
        folder = tmp_path / f"ct{number}"
        write_ct_series(folder, synthetic(volume.array), volume.affine, source, LABEL, axial_outside_hu=resampled)
        for dataset in map(pydicom.dcmread, folder.iterdir()):
            assert [name for name in TYPE_1 if dataset.get(name) in (None, "", [])] == []
            assert [name for name in TYPE_2 if name not in dataset] == []
            for item in dataset.get("SourceImageSequence", []):
                assert item.ReferencedSOPClassUID and item.ReferencedSOPInstanceUID


@pytest.mark.parametrize("rows_and_columns", [(1, 1), (-1, -1), (-1, 1), (1, -1)])
def test_an_axial_series_with_square_pixels_keeps_its_slices_when_axial_ones_are_asked_for(
    rows_and_columns, slices_of, write_series, tmp_path
):
    """Also the series of a prone patient or one who lies feet first."""
    slices = list(slices_of(PIXELS, "axial", (1.2, 1.2, 3.0)))
    across, down = rows_and_columns
    for each in slices:
        each.ImageOrientationPatient = [across, 0, 0, 0, down, 0]
    source = write_series(tmp_path / "mr", slices)
    volume = read_series(source, MANY)
    hu = synthetic(volume.array)
    for name, outside in (("kept", None), ("resampled", -1000)):
        assert not write_ct_series(tmp_path / name, hu, volume.affine, source, LABEL, axial_outside_hu=outside)
    kept, resampled = (sorted((tmp_path / name).iterdir()) for name in ("kept", "resampled"))
    assert [path.read_bytes() for path in kept] == [path.read_bytes() for path in resampled]
