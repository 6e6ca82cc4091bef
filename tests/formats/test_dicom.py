import numpy as np
import pydicom
import pytest

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.geometry import aligned
from cyclegan_gc.formats.dicom.header import is_dicom
from cyclegan_gc.formats.dicom.read import read_series, series_grid
from cyclegan_gc.formats.dicom.series import group_series
from cyclegan_gc.formats.geometry import LPS_TO_RAS

PIXELS = np.random.default_rng(1).integers(0, 900, (20, 24, 6)).astype(np.int16)
MANY = 10**9


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "oblique"])
def test_every_pixel_lies_where_its_own_slice_says(plane, slices_of, write_series, tmp_path):
    files = write_series(tmp_path, slices_of(PIXELS, plane))
    volume = read_series(files, MANY)
    assert volume.array.shape == (24, 20, 6) == series_grid(files)[0] and not volume.warnings
    for path in files:
        dataset = pydicom.dcmread(path)
        row, column = 3, 17
        across, down = (np.array(dataset.ImageOrientationPatient[part], float) for part in (slice(3), slice(3, 6)))
        lps = np.array(dataset.ImagePositionPatient, float)
        lps = lps + across * column * dataset.PixelSpacing[1] + down * row * dataset.PixelSpacing[0]
        index = np.rint(np.linalg.solve(volume.affine, [-lps[0], -lps[1], lps[2], 1])[:3]).astype(int)
        assert volume.array[tuple(index)] == dataset.pixel_array[row, column]


def test_highdicom_finds_the_same_volume(slices_of, write_series, tmp_path):
    highdicom = pytest.importorskip("highdicom")
    files = write_series(tmp_path, slices_of(PIXELS, "oblique"))
    volume = read_series(files, MANY)
    other = highdicom.get_volume_from_series([pydicom.dcmread(path) for path in files])
    turned = aligned(other.array, LPS_TO_RAS @ other.affine, volume.array.shape, volume.affine)
    assert np.array_equal(turned, volume.array)


def test_slope_and_intercept_are_applied(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    for dataset in slices:
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 10
    volume = read_series(write_series(tmp_path, slices), MANY)
    np.testing.assert_allclose(np.sort(volume.array.ravel()), np.sort(PIXELS.ravel() * 0.5 + 10))


def moved(dataset, shift):
    dataset.ImagePositionPatient = [float(x) + s for x, s in zip(dataset.ImagePositionPatient, shift, strict=True)]


def without_middle(slices):
    slices.remove(sorted(slices, key=lambda d: d.ImagePositionPatient[2])[3])


def uneven(slices):
    moved(sorted(slices, key=lambda d: d.ImagePositionPatient[2])[2], (0, 0, 0.3))


def duplicate(slices):
    slices[1].ImagePositionPatient = slices[0].ImagePositionPatient


def tilted(slices):
    for dataset in slices:
        moved(dataset, (0, 0.2 * float(dataset.ImagePositionPatient[2]), 0))


def turned(slices):
    slices[2].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def unoriented(slices):
    del slices[2].ImageOrientationPatient


def unplaced(slices):
    del slices[2].ImagePositionPatient


def coloured(slices):
    for dataset in slices:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"


def cut_off(slices):
    slices[3].PixelData = slices[3].PixelData[:100]


def empty(slices):
    del slices[3].PixelData


def of_two_sizes(slices):
    slices[1].Rows, slices[1].Columns = 24, 20


def of_two_series(slices):
    slices[0].SeriesInstanceUID = "1.2.826.0.1.77"


def of_two_spacings(slices):
    slices[0].PixelSpacing = [1.5, 1.3]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        *[
            (without_middle, "missing after slice 3"),
            (uneven, "uneven gaps"),
            (duplicate, "have the position of another"),
        ],
        *[(tilted, "tilted gantry"), (turned, "mixed orientations"), (unoriented, "no slice position or orientation")],
        *[(unplaced, "no slice position or orientation"), (coloured, "in colour"), (cut_off, "cut off or damaged")],
        *[(empty, "has no pixels"), (of_two_sizes, "different size"), (of_two_series, "2 series in one input")],
        (of_two_spacings, "mixed pixel spacings"),
    ],
)
def test_a_series_that_cannot_be_trusted_is_refused_with_its_own_cause(
    spoil, message, slices_of, write_series, tmp_path
):
    slices = list(slices_of(PIXELS))
    spoil(slices)
    with pytest.raises(VolumeError, match=message):
        read_series(write_series(tmp_path, slices), MANY)


def test_a_series_too_large_is_refused_before_its_pixels_are_read(slices_of, write_series, tmp_path):
    with pytest.raises(VolumeError, match="24 x 20 x 6 voxels, more than 100"):
        read_series(write_series(tmp_path, slices_of(PIXELS)), 100)


def test_without_a_frame_of_reference_a_regular_series_is_read_with_a_warning(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    for dataset in slices:
        del dataset.FrameOfReferenceUID
    assert "FrameOfReferenceUID" in read_series(write_series(tmp_path, slices), MANY).warnings[0]


def test_a_single_slice_is_read_with_a_warning(slices_of, write_series, tmp_path):
    volume = read_series(write_series(tmp_path, slices_of(PIXELS[..., :1])), MANY)
    assert volume.spacing_mm == pytest.approx((1.2, 1.5, 3.0)) and "single slice" in volume.warnings[0]


def test_series_are_separated_and_objects_without_an_image_are_reported(slices_of, write_series, tmp_path):
    first, second = list(slices_of(PIXELS)), list(slices_of(PIXELS[..., :3]))
    for number, dataset in enumerate(second, start=50):
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = "1.2.826.0.1.9", 7, number
    plan = pydicom.Dataset()
    plan.SeriesInstanceUID, plan.SOPClassUID, plan.Modality = (
        "1.2.826.0.1.8",
        "1.2.840.10008.5.1.4.1.1.481.3",
        "RTSTRUCT",
    )
    plan.save_as(tmp_path / "plan.dcm", implicit_vr=True, little_endian=True)
    (tmp_path / "broken.dcm").write_bytes(b"nothing of the kind")
    write_series(tmp_path, [*first, *second])
    assert all(is_dicom(path) for path in tmp_path.iterdir())
    found, notes = group_series(list(tmp_path.iterdir()))
    assert {series.number: len(series.files) for series in found if not series.fault} == {4: 6, 7: 3}
    assert [series.files[0].name for series in found if series.fault] == ["broken.dcm"]
    assert "RTSTRUCT" in notes[0]


def test_a_multi_frame_object_is_read_where_each_frame_has_its_geometry(slices_of, write_series, enhanced, tmp_path):
    single = read_series(write_series(tmp_path / "single", slices_of(PIXELS, "oblique")), MANY)
    [path] = write_series(tmp_path / "multi", [enhanced(slices_of(PIXELS, "oblique"))])
    multi = read_series([path], MANY)
    assert np.array_equal(multi.array, single.array) and np.allclose(multi.affine, single.affine)
    assert series_grid([path])[0] == multi.array.shape
    dataset = pydicom.dcmread(path)
    del dataset.PerFrameFunctionalGroupsSequence
    dataset.save_as(path)
    with pytest.raises(VolumeError, match="without the geometry of each frame"):
        read_series([path], MANY)


def test_objects_of_one_frame_each_are_read_as_one_stack(slices_of, write_series, enhanced, tmp_path):
    single = read_series(write_series(tmp_path / "single", slices_of(PIXELS)), MANY)
    objects = [enhanced([dataset]) for dataset in slices_of(PIXELS)]
    volume = read_series(write_series(tmp_path / "objects", objects), MANY)
    assert np.array_equal(volume.array, single.array) and np.allclose(volume.affine, single.affine)


@pytest.mark.parametrize("step_mm", [0.1, 0.01])
def test_rounded_positions_are_fitted_to_an_even_grid_with_a_warning(step_mm, slices_of, write_series, tmp_path):
    pixels = np.random.default_rng(2).integers(0, 900, (20, 24, 40)).astype(np.int16)
    gap = 12.37 * step_mm
    slices = list(slices_of(pixels, "oblique", (1.5, 1.2, gap)))
    exact = read_series(write_series(tmp_path / "exact", slices), MANY)
    for dataset in slices:
        dataset.ImagePositionPatient = [round(float(x) / step_mm) * step_mm for x in dataset.ImagePositionPatient]
    files = write_series(tmp_path / "rounded", slices)
    volume = read_series(files, MANY)
    assert [f"rounded to {step_mm:g} mm" in note for note in volume.warnings] == [True]
    assert np.array_equal(volume.array, exact.array)
    corners = np.array([[0, 0, 0, 1], [23, 19, 39, 1]]).T
    assert np.abs((volume.affine - exact.affine) @ corners).max() < step_mm
    moved(slices[3], (0, 0, 4 * step_mm))
    with pytest.raises(VolumeError, match=r"uneven gaps|missing|shifted"):
        read_series(write_series(tmp_path / "uneven", slices), MANY)


@pytest.mark.parametrize(
    ("signed", "tags"),
    [
        (True, {"PixelPaddingValue": -32768}),
        (False, {"PixelPaddingValue": 65535}),
        (True, {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1900}),
    ],
)
def test_padding_becomes_background(signed, tags, slices_of, write_series, tmp_path):
    slices, padded = list(slices_of(PIXELS)), np.s_[:3, :4]
    clean = read_series(write_series(tmp_path / "clean", slices), MANY)
    for dataset in slices:
        dataset.PixelRepresentation = int(signed)
        pixels = dataset.pixel_array.copy()
        pixels[padded] = np.resize(list(tags.values()), pixels[padded].shape)
        dataset.PixelData = pixels.tobytes()
        for name, value in tags.items():
            dataset.add_new(name, "SS" if signed else "US", value)
    volume = read_series(write_series(tmp_path / "padded", slices), MANY)
    expected = clean.array.copy()
    expected[:4, :3] = 0
    assert np.array_equal(volume.array, expected) and "Padding (2.5 % of the voxels)" in volume.warnings[0]


def test_monochrome1_is_turned_round_by_one_number_for_the_series(slices_of, write_series, tmp_path):
    slices = list(slices_of(PIXELS))
    for dataset in slices:
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.PixelPaddingValue = 0
    volume = read_series(write_series(tmp_path, slices), MANY)
    pixels = PIXELS.transpose(1, 0, 2)[..., :]
    expected = np.where(pixels == 0, 0, pixels.max() - pixels)
    assert np.array_equal(np.sort(volume.array, axis=None), np.sort(expected, axis=None))
    slices[0].PhotometricInterpretation = "MONOCHROME2"
    with pytest.raises(VolumeError, match="are mixed"):
        read_series(write_series(tmp_path, slices), MANY)


def test_a_mosaic_is_refused_by_its_name(slices_of, write_series, tmp_path):
    [dataset] = slices_of(PIXELS[..., :1])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    with pytest.raises(VolumeError, match="is a mosaic"):
        read_series(write_series(tmp_path, [dataset]), MANY)


REAL_REFUSED = {
    "ct_philips_headphantom_tilt16.5": "tilted gantry .16.5 degrees",
    "d2n_ct_gantry_tilt_4sl": "tilted gantry",
    "mr_papaya_missing_one_slice_DERIVED": "a slice is missing",
}
REAL_READ = (
    *("mr_papaya_pd_axial_oblique", "d2n_mr_hitachi_oblique_4sl", "d2n_mr_nonisotropic_slope_4sl", "d2n_mr_j2k_4sl"),
)


@pytest.mark.parametrize(("name", "message"), REAL_REFUSED.items())
def test_real_series_that_cannot_be_trusted_are_refused(name, message, real_data):
    with pytest.raises(VolumeError, match=message):
        read_series(sorted((real_data / "dicom" / name).iterdir()), MANY)


@pytest.mark.parametrize("name", REAL_READ)
def test_real_series_are_read_as_highdicom_reads_them(name, real_data):
    highdicom = pytest.importorskip("highdicom")
    files = sorted((real_data / "dicom" / name).iterdir())
    volume = read_series(files, MANY)
    datasets = [pydicom.dcmread(path) for path in files]
    for dataset in datasets:
        dataset.FrameOfReferenceUID = dataset.get("FrameOfReferenceUID") or "1.2.3"
    other = highdicom.get_volume_from_series(datasets, rtol=0.05)
    turned = aligned(other.array.astype(np.float32), LPS_TO_RAS @ other.affine, volume.array.shape, volume.affine)
    assert np.array_equal(turned, volume.array)
