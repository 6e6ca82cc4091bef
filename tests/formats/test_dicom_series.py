import shutil

import numpy as np
import pydicom
import pytest

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.series import group_series
from cyclegan_gc.formats.selection import find_kind
from cyclegan_gc.formats.sources import find_sources, read_files
from cyclegan_gc.formats.volumes import MAX_VOXELS

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 24, 6)).astype(np.int16)


def volumes_in(folder) -> dict[str, np.ndarray]:
    return {case.name: read_files(case.files, MAX_VOXELS, case.frames).array for case in find_sources(folder)[0]}


def contrast(slices_of, types, echo_ms, first, factor):
    """The slices of one contrast of a series; instance numbers begin at ``first``."""
    for number, dataset in enumerate(slices_of(PIXELS * np.int16(factor)), start=first):
        dataset.ImageType, dataset.EchoTime, dataset.InstanceNumber = types, echo_ms, number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.55.{number}"
        yield dataset


DIXON = (["DERIVED", "PRIMARY", "W"], 1.1), (["DERIVED", "PRIMARY", "IN_PHASE"], 2.3)
ECHOES = (["ORIGINAL", "PRIMARY"], 15), (["ORIGINAL", "PRIMARY"], 90)


@pytest.mark.parametrize(("kinds", "names"), [(DIXON, {"T1_W", "T1_IN_PHASE"}), (ECHOES, {"T1_TE15", "T1_TE90"})])
def test_the_contrasts_of_a_series_are_cases_of_their_own(kinds, names, slices_of, write_series, tmp_path):
    alone = volumes_in(write_series(tmp_path / "alone", slices_of(PIXELS))[0].parent)["alone"]
    for number, (types, echo) in enumerate(kinds):
        write_series(tmp_path / "T1", contrast(slices_of, types, echo, 1 + 100 * number, 1 + number))
    found = volumes_in(tmp_path / "T1")
    assert set(found) == names
    assert sorted(array.max() for array in found.values()) == [alone.max(), 2 * alone.max()]


def test_tags_that_differ_within_one_regular_stack_do_not_split_it(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    for number, dataset in enumerate(slices):
        dataset.EchoTime = 4.6 + number / 100
    assert [len(case.files) for case in find_sources(write_series(tmp_path / "T1", slices)[0].parent)[0]] == [6]


def test_a_missing_slice_is_refused_although_tags_alternate(slices_of, write_series, tmp_path):
    """Every second slice alone would be a regular stack of twice the distance."""
    slices = list(slices_of(np.zeros((8, 8, 13), np.int16) + np.arange(13, dtype=np.int16)))
    for number, dataset in enumerate(slices):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AB"[number % 2]]
    del slices[5]
    [case] = find_sources(write_series(tmp_path / "T1", slices)[0].parent)[0]
    with pytest.raises(VolumeError, match="missing"):
        read_files(case.readable_files(), 10**6)


def test_a_scout_inside_a_series_is_a_case_of_its_own_kind(slices_of, write_series, tmp_path):
    scout, slices = list(slices_of(PIXELS))[:1], list(slices_of(PIXELS))
    for dataset in scout:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"{dataset.SOPInstanceUID}.9", 100
    write_series(tmp_path / "T1", scout)
    write_series(tmp_path / "T1", slices)
    assert sorted((case.kind, len(case.files)) for case in find_sources(tmp_path / "T1")[0]) == [
        ("MR", 6), ("localizer", 1),
    ]  # fmt: skip


def test_the_contrasts_and_stacks_of_an_enhanced_object_are_cases(slices_of, write_series, enhanced, tmp_path):
    water, fat = list(slices_of(PIXELS)), list(slices_of(PIXELS // 2))
    dataset = enhanced([*water, *fat])
    for group, word in zip(dataset.PerFrameFunctionalGroupsSequence, ["WATER"] * 6 + ["FAT"] * 6, strict=True):
        kind = pydicom.Dataset()
        kind.FrameType = ["DERIVED", "PRIMARY", "DIXON", word]
        group.MRImageFrameTypeSequence = [kind]
    write_series(tmp_path, [dataset])
    alone = volumes_in(write_series(tmp_path / "alone", slices_of(PIXELS))[0].parent)["alone"]
    shutil.rmtree(tmp_path / "alone")
    found = volumes_in(tmp_path)
    assert set(found) == {"IM0001_WATER", "IM0001_FAT"} and np.array_equal(found["IM0001_WATER"], alone)
    assert np.array_equal(found["IM0001_FAT"], alone // 2)


def test_a_series_spread_over_folders_is_one_case(slices_of, write_series, tmp_path):
    files = write_series(tmp_path / "whole", slices_of(PIXELS))
    for number, path in enumerate(files):
        folder = tmp_path / "export" / f"DIR{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    whole, spread = volumes_in(tmp_path / "whole")["whole"], volumes_in(tmp_path / "export")
    assert list(spread) == ["export"] and np.array_equal(spread["export"], whole)
    heights = {
        float(pydicom.dcmread(path).ImagePositionPatient[2]): path for path in (tmp_path / "export").rglob("*.dcm")
    }
    heights[sorted(heights)[2]].unlink()
    with pytest.raises(VolumeError, match="a slice is missing"):
        volumes_in(tmp_path / "export")


def test_an_identifier_that_two_patients_share_does_not_join_them(slices_of, write_series, tmp_path):
    for patient in ("P1", "P2"):
        slices = list(slices_of(PIXELS))
        for dataset in slices:
            dataset.PatientID = patient
        write_series(tmp_path / patient, slices)
    assert set(volumes_in(tmp_path)) == {"P1", "P2"}
    shutil.move(tmp_path / "P2" / "IM0001.dcm", tmp_path / "P1" / "IM0009.dcm")
    with pytest.raises(VolumeError, match="several patients or studies"):
        read_files(sorted((tmp_path / "P1").iterdir()), MAX_VOXELS)


def test_exact_copies_are_left_out_with_a_warning_and_other_pixels_are_not_copies(slices_of, write_series, tmp_path):
    files = write_series(tmp_path / "T1", slices_of(PIXELS))
    once = volumes_in(tmp_path / "T1")["T1"]
    copies = [shutil.copy(path, path.with_name(f"{path.stem} (1).dcm")) for path in files]
    volume = read_files(sorted((tmp_path / "T1").iterdir()), MAX_VOXELS)
    assert np.array_equal(volume.array, once) and volume.warnings[0].startswith("6 exact copies")
    dataset = pydicom.dcmread(copies[0])
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(copies[0])
    with pytest.raises(VolumeError, match="other pixels"):
        read_files(sorted((tmp_path / "T1").iterdir()), MAX_VOXELS)


@pytest.mark.parametrize("number", ["5A", "1.5", "5,10", "1\\2", "", "456115117112105110101"])
def test_a_series_number_only_names_the_case(number, slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    other = list(slices_of(PIXELS))
    for dataset in other:
        dataset.SeriesInstanceUID, dataset.InstanceNumber = "1.2.826.0.1.4321", 50 + int(dataset.InstanceNumber)
    for dataset in slices:
        dataset[0x00200011] = pydicom.DataElement(0x00200011, "LO", number)
    write_series(tmp_path / "T1", [*slices, *other])
    for path in (tmp_path / "T1").iterdir():
        path.write_bytes(path.read_bytes().replace(b"\x20\x00\x11\x00LO", b"\x20\x00\x11\x00IS"))
    found = volumes_in(tmp_path / "T1")
    assert len(found) == 2 and "T1_series4" in found and (f"T1_series{number}" in found) == number.isdecimal()


@pytest.mark.parametrize("until", [b"\x28\x00\x10\x00US", b"\x20\x00\x0e\x00UI", b"\x02\x00\x10\x00UI"])
def test_a_cut_file_is_the_fault_of_its_series(until, slices_of, write_series, tmp_path):
    files = write_series(tmp_path / "T1", slices_of(PIXELS))
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: whole.index(until) + 3])
    [series], notes = group_series(files)
    assert series.fault and "IM0001.dcm is not a readable DICOM file" in series.fault and not notes


@pytest.mark.parametrize("follows", [False, True])
def test_an_object_of_unknown_class_is_a_cut_slice_if_it_ends_before_the_image(
    follows, slices_of, write_series, tmp_path
):
    """In the series of images; what ends with other tags is whole and holds no image."""
    slices = list(slices_of(PIXELS))
    for name in [element.keyword for element in slices[0] if element.tag.group >= 0x28]:
        delattr(slices[0], name)
    slices[0].SOPClassUID = "1.3.46.670589.11.0.0.12.1"
    if follows:
        slices[0].add_new((0x2005, 0x0010), "LO", "A MAKER")
    write_series(tmp_path / "T1", slices)
    [series], others = group_series(list((tmp_path / "T1").iterdir()))
    assert (series.fault is None) == follows and len(others) == follows


@pytest.mark.parametrize(
    "types",
    [["DERIVED", "SECONDARY", "PROJECTION IMAGE", "COLLAPSE"], ["ORIGINAL", "PRIMARY", "MIP"]],
)
def test_a_projection_that_continues_the_stack_is_not_one_of_its_slices(types, slices_of, write_series, tmp_path):
    alone = volumes_in(write_series(tmp_path / "alone", slices_of(PIXELS))[0].parent)["alone"]
    slices = list(slices_of(np.dstack([PIXELS, PIXELS.max(axis=2)])))
    next(each for each in slices if each.pixel_array.min() == PIXELS.max(axis=2).min()).ImageType = types
    write_series(tmp_path / "T1", slices)
    assert np.array_equal(volumes_in(tmp_path / "T1")["T1"], alone)
    [chosen], [left_out] = find_kind(str(tmp_path / "T1"), "mr")
    assert chosen.name == "T1" and left_out.label.endswith("_projection") and left_out.reason == "projection"
