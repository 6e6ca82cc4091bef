import gzip
import os
import re
import resource
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import from_matvec
from nibabel.funcs import as_closest_canonical
from nibabel.nifti1 import Nifti1Extension
from nibabel.quaternions import angle_axis2mat

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.content import bytes_hash, content_hash
from cyclegan_gc.formats.files import case_id, pair_of
from cyclegan_gc.formats.sources import find_sources
from cyclegan_gc.formats.volumes import Volume, read_contrasts, read_labels, read_mask, read_volume, write_volume

ODD = (Path(__file__).parents[2] / "../shared/data/odd").resolve()
OBLIQUE = from_matvec(angle_axis2mat(0.3, [1, 2, 3]) @ np.diag([-1.5, 1.25, 3.0]), [12.5, -80.25, 7.0])
PATIENT = "DOE^JANE"
Edit = Callable[[nib.Nifti1Header], object]


def picture(shape: tuple[int, ...] = (20, 18, 5)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)


def nifti_bytes(
    array: np.ndarray | None = None, edit: Edit = lambda header: None, kind: type = nib.Nifti1Image
) -> bytes:
    """A NIfTI file whose header ``edit`` may spoil after nibabel's own checks."""
    image = kind(picture() if array is None else array, OBLIQUE)
    image.header.set_xyzt_units("mm")
    content = image.to_bytes()
    header = kind.header_class(content[: image.header.sizeof_hdr], check=False)
    edit(header)
    return header.binaryblock + content[image.header.sizeof_hdr :]


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


def field(name: str, value: object, index: int | None = None) -> Edit:
    def edit(header: nib.Nifti1Header) -> None:
        if index is None:
            header[name] = value
        else:
            header[name][index] = value

    return edit


def find_volumes(source: str | Path) -> list[Path]:
    return [case.path for case in find_sources(source)[0]]


def image_of(volume: Volume) -> nib.Nifti1Image:
    return nib.Nifti1Image(volume.array, volume.affine)


def damaged_gzip() -> bytes:
    content = bytearray(gzip.compress(nifti_bytes(), 0))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


BROKEN_FILES = {
    "empty": (b"", "empty"),
    "text": (b"patient,age\n" * 100, "text"),
    "cut_off": (gzip.compress(nifti_bytes())[:2000], "cut off"),
    "flipped_byte": (damaged_gzip(), "corrupt"),
    "bad_checksum": (gzip.compress(nifti_bytes())[:-8] + bytes(8), "corrupt"),
    "header_only": (gzip.compress(nifti_bytes()[:352]), "shorter than the header"),
    "short_voxels": (gzip.compress(nifti_bytes()[:-100]), "shorter than the header"),
    "half_header": (gzip.compress(nifti_bytes()[:100]), "header is cut off"),
    "analyze_or_pair": (gzip.compress(nifti_bytes(edit=field("magic", b"ni1"))), "pair"),
    "32767_cubed": (gzip.compress(nifti_bytes(edit=field("dim", [3, *[32767] * 3, *[1] * 4]))), "header is broken"),
    "small_bomb": (
        gzip.compress(nifti_bytes(edit=field("dim", [3, *[1200] * 3, *[1] * 4]))),
        "shorter than the header",
    ),
    "long_bomb": (gzip.compress(nifti_bytes() + bytes(2**26 + 1), 1), "far past"),
    "negative_dim": (gzip.compress(nifti_bytes(edit=field("dim", -20, 1))), "dimensions"),
    "zero_dim": (gzip.compress(nifti_bytes(edit=field("dim", 0, 3))), "dimensions"),
    "no_dims": (gzip.compress(nifti_bytes(edit=field("dim", 0, 0))), "dimensions"),
    "rgb": (gzip.compress(nifti_bytes(edit=field("datatype", 128))), "RGB"),
    "unknown_type": (gzip.compress(nifti_bytes(edit=field("datatype", 77))), "data type"),
    "nan_affine": (gzip.compress(nifti_bytes(edit=field("srow_x", np.nan, 0))), "affine"),
    "singular_affine": (gzip.compress(nifti_bytes(edit=field("srow_z", 0))), "affine"),
    "zero_pixdim": (gzip.compress(nifti_bytes(edit=field("pixdim", 0, 2))), "voxel size"),
    "offset_in_the_header": (gzip.compress(nifti_bytes(edit=field("vox_offset", 351))), "offset"),
    "bad_offset": (gzip.compress(nifti_bytes(edit=field("vox_offset", np.nan))), "offset"),
}

UNUSABLE_PICTURES = {
    "channel_first": (picture((1, 20, 18, 5)), "channel stands first"),
    "slices_in_time": (picture((20, 18, 1, 5)), "slices stand in the place of time"),
    "4d": (picture((20, 18, 5, 2)), "4-D.*choose one volume"),
    "5d": (picture((20, 18, 5, 1, 3)), "5-D"),
    "2d": (picture((20, 18)), "2-D"),
    "complex": (picture().astype(np.complex64), "complex"),
    "all_nan": (np.full((20, 18, 5), np.nan, np.float32), "no signal"),
    "all_zero": (np.zeros((20, 18, 5), np.int16), "no signal"),
    "too_large": (np.where(picture() > 0, 1e300, 0), r"every voxel is 0 or too large \(beyond 3.4e38\)"),
    "constant": (np.full((20, 18, 5), -1000, np.int16), "no signal"),
    "mask": ((picture() > 0).astype(np.uint8), "binary"),
    "tiny": (picture((3, 3, 3)), "too small"),
}

ODDITIES = {
    "shear": (field("srow_x", [1.5, 0.6, 0, 0]), "sheared"),
    "forms_disagree": (lambda h: h.set_qform(np.diag([1.5, 1.25, 3, 1]), 1), "disagree"),
    "no_codes": (field("sform_code", 0), "No orientation"),
    "metres": (lambda h: (h.set_sform(np.diag([0.002, 0.002, 0.003, 1]), 1), h.set_xyzt_units("meter")), "metres"),
    "1_um": (lambda h: h.set_sform(np.diag([0.001, 0.001, 0.001, 1]), 1), "Implausible"),
    "small": (lambda h: h.set_sform(np.diag([0.1, 0.1, 0.1, 1]), 1), "measures 2 x 1.8 x 0.5 mm"),
    "qfac_0": (lambda h: (h.set_qform(OBLIQUE, 1), field("sform_code", 0)(h), field("pixdim", 0, 0)(h)), "qfac"),
    "negative_size": (
        lambda h: (h.set_qform(OBLIQUE, 1), field("sform_code", 0)(h), field("pixdim", -1.5, 1)(h)),
        "Negative voxel sizes",
    ),
    "long_quaternion": (
        lambda h: (
            field("qform_code", 1)(h),
            field("sform_code", 0)(h),
            [field(f"quatern_{name}", value)(h) for name, value in (("b", 1 + 1e-5), ("c", 0), ("d", 0))],
        ),
        "quaternion",
    ),
    "0.2_m": (lambda h: h.set_sform(np.diag([200, 200, 200, 1]), 1), "Implausible"),
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_file_fails_with_its_own_cause_in_one_line(name: str, tmp_path: Path):
    content, cause = BROKEN_FILES[name]
    path = tmp_path / f"{name}.nii.gz"
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=cause) as error:
        read_volume(path)
    assert str(error.value).startswith(f"{path}: ") and "; " in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", UNUSABLE_PICTURES)
def test_an_unusable_image_fails_with_the_reason(name: str, tmp_path: Path):
    array, reason = UNUSABLE_PICTURES[name]
    with pytest.raises(VolumeError, match=reason):
        read_volume(put(tmp_path / "case.nii.gz", nifti_bytes(array)))


@pytest.mark.parametrize("name", ODDITIES)
def test_odd_geometry_is_read_with_a_warning_that_says_what_was_assumed(name: str, tmp_path: Path):
    edit, assumed = ODDITIES[name]
    volume = read_volume(put(tmp_path / "case.nii.gz", nifti_bytes(edit=edit)))
    assert any(assumed in warning for warning in volume.warnings), volume.warnings


def test_an_ordinary_file_is_read_as_nibabel_reads_it_without_a_warning(tmp_path: Path):
    volume = read_volume(put(tmp_path / "case.nii.gz", nifti_bytes()))
    assert volume.array.dtype == np.float32 and volume.warnings == ()
    np.testing.assert_array_equal(volume.array, picture())
    np.testing.assert_allclose(volume.affine, OBLIQUE, rtol=1e-6)
    np.testing.assert_allclose(volume.spacing_mm, (1.5, 1.25, 3.0), rtol=1e-6)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path):
    with pytest.raises(VolumeError, match="no such file"):
        read_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(VolumeError, match="not a file"):
        read_volume(tmp_path)


def test_max_voxels_sets_the_limit(tmp_path: Path):
    path = put(tmp_path / "case.nii", nifti_bytes())
    assert read_volume(path, max_voxels=20 * 18 * 5).array.size == 1800
    with pytest.raises(VolumeError, match="more than 1799"):
        read_volume(path, max_voxels=1799)


@pytest.mark.parametrize("name", ["plain.nii.gz", "zipped.nii"])
def test_a_wrong_gzip_suffix_is_read_by_its_first_bytes_with_one_warning(name: str, tmp_path: Path):
    content = nifti_bytes()
    (tmp_path / name).write_bytes(content if name.endswith("gz") else gzip.compress(content))
    volume = read_volume(tmp_path / name)
    np.testing.assert_array_equal(volume.array, picture())
    assert len(volume.warnings) == 1 and "gzipped" in volume.warnings[0]


def test_a_gzip_file_of_several_members_is_read_whole(tmp_path: Path):
    content, path = nifti_bytes(), tmp_path / "case.nii.gz"
    path.write_bytes(gzip.compress(content[:1000]) + gzip.compress(content[1000:]))
    np.testing.assert_array_equal(read_volume(path).array, picture())


def test_nan_and_infinite_voxels_become_the_minimum_and_are_counted(tmp_path: Path):
    array = picture().astype(np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = read_volume(put(tmp_path / "case.nii.gz", nifti_bytes(array)))
    np.testing.assert_array_equal(volume.array[0, 0, :3], np.nanmin(array[np.isfinite(array)]))
    assert "3 NaN" in volume.warnings[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_stored_type_and_byte_order_do_not_change_the_picture(dtype: type, order: str, tmp_path: Path):
    array = (picture() % 200).astype(dtype)
    image = nib.Nifti1Image(array, OBLIQUE, nib.Nifti1Header(endianness=order))
    image.set_data_dtype(dtype)
    image.to_filename(tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "case.nii.gz").array, array.astype(np.float32))


def test_slope_and_intercept_are_applied_as_nibabel_applies_them(tmp_path: Path):
    path = put(tmp_path / "case.nii", nifti_bytes(edit=lambda h: h.set_slope_inter(0.25, -1024)))
    np.testing.assert_allclose(read_volume(path).array, np.asarray(nib.Nifti1Image.load(path).dataobj), rtol=1e-6)


def test_nifti2_extensions_one_time_point_and_a_single_slice_are_accepted(tmp_path: Path):
    image = nib.Nifti2Image(picture((20, 18, 1, 1)), OBLIQUE)
    image.header.extensions.append(Nifti1Extension("comment", b"x" * 500))
    image.to_filename(tmp_path / "case.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "case.nii.gz").array, picture((20, 18, 1, 1))[..., 0])


def test_lengths_in_metres_arrive_in_millimetres(tmp_path: Path):
    volume = read_volume(put(tmp_path / "case.nii", nifti_bytes(edit=ODDITIES["metres"][0])))
    np.testing.assert_allclose(volume.spacing_mm, (2, 2, 3), rtol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_a_written_volume_keeps_values_type_and_the_source_grid_bit_for_bit(suffix: str, dtype: type, tmp_path: Path):
    content = nifti_bytes(edit=lambda h: (h.set_qform(OBLIQUE, 3), h.set_slope_inter(7, -3), h.set_xyzt_units("meter")))
    source = read_volume(put(tmp_path / "mr.nii.gz", content))
    sct = picture().astype(dtype)
    write_volume(tmp_path / f"sct{suffix}", sct, source)
    written = nib.Nifti1Image.load(tmp_path / f"sct{suffix}")
    assert written.get_data_dtype() == dtype and read_volume(tmp_path / f"sct{suffix}").header.get_slope_inter() == (
        1,
        0,
    )
    np.testing.assert_array_equal(np.asarray(written.dataobj), sct)
    geometry = ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d")
    for name in (*geometry, "qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units"):
        assert written.header[name].tobytes() == source.header[name].tobytes(), name
    assert written.header["pixdim"][:4].tobytes() == source.header["pixdim"][:4].tobytes()
    np.testing.assert_array_equal(read_volume(tmp_path / f"sct{suffix}").affine, source.affine)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_sources_give_the_same_grid_in_a_little_endian_file_of_their_kind(kind: type, tmp_path: Path):
    image = kind(picture(), OBLIQUE, kind.header_class(endianness=">"))
    image.to_filename(tmp_path / "mr.nii")
    source = read_volume(tmp_path / "mr.nii")
    write_volume(tmp_path / "sct.nii", picture(), source)
    header = kind.load(tmp_path / "sct.nii").header
    assert header.endianness == "<" and header["sizeof_hdr"] == (348 if kind is nib.Nifti1Image else 540)
    np.testing.assert_array_equal(read_volume(tmp_path / "sct.nii").affine, source.affine)


def test_nothing_the_source_says_about_the_patient_survives(tmp_path: Path):
    image = nib.Nifti1Image(picture(), OBLIQUE)
    for name, length in {"descrip": 80, "aux_file": 24, "db_name": 18, "intent_name": 16}.items():
        image.header[name] = PATIENT[:length]
    image.header.extensions.append(Nifti1Extension("comment", PATIENT.encode()))
    image.to_filename(tmp_path / f"{PATIENT}.nii")
    assert (tmp_path / f"{PATIENT}.nii").read_bytes().count(PATIENT.encode()) == 5
    write_volume(tmp_path / "sct.nii.gz", picture(), read_volume(tmp_path / f"{PATIENT}.nii"))
    content = (tmp_path / "sct.nii.gz").read_bytes()
    assert PATIENT.encode() not in content + gzip.decompress(content) and b"sct" not in content


def test_equal_volumes_give_equal_bytes(tmp_path: Path):
    source = read_volume(put(tmp_path / "mr.nii", nifti_bytes()))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, picture(), source)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.nii.gz", "b.nii.gz"))
    no_time_stamp = bytes(4)
    assert first == second and first[4:8] == no_time_stamp


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_full_disk_leaves_the_old_file_and_no_other(suffix: str, tmp_path: Path):
    source = read_volume(put(tmp_path / "mr.nii", nifti_bytes(picture((64, 64, 8)))))
    target = tmp_path / f"sct{suffix}"
    write_volume(target, source.array, source)
    before, files = target.read_bytes(), sorted(tmp_path.iterdir())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(VolumeError, match="cannot be written"):
            write_volume(target, source.array + 1, source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert target.read_bytes() == before and sorted(tmp_path.iterdir()) == files


def test_writing_refuses_another_shape_type_or_suffix(tmp_path: Path):
    source = read_volume(put(tmp_path / "mr.nii", nifti_bytes()))
    for name, array in {
        "a.nii": picture((20, 18, 4)),
        "b.nii": source.array.astype(np.float64),
        "c.img": picture(),
    }.items():
        with pytest.raises(ValueError, match=name):
            write_volume(tmp_path / name, array, source)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_is_searched_through_its_subfolders_without_hidden_files(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("b.nii", "a.nii.gz", "sub/c.NII.GZ", "._a.nii.gz", ".hidden.nii", ".cache/d.nii", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_volumes(tmp_path)] == ["a.nii.gz", "b.nii", "c.NII.GZ"]
    assert [p.name for p in find_volumes(f"{tmp_path}/*.nii*")] == ["a.nii.gz", "b.nii"]
    assert [p.name for p in find_volumes(f"{tmp_path}/**/*.nii")] == ["b.nii"]
    assert find_volumes(tmp_path / "b.nii") == [tmp_path / "b.nii"]


def test_the_halves_of_a_pair_are_found_zipped_and_in_capitals_and_count_once(tmp_path: Path):
    for name in ("a.HDR", "a.img.gz", "a.json", "b.img", "c.nii", "d.HDR.gz", "d.IMG.gz", "e.Hdr", "e.Img", "f.img"):
        (tmp_path / name).touch()
    (tmp_path / "f.hdr").symlink_to("somewhere")  # as a data set whose files have not been fetched
    for half in ("a.HDR", "a.img.gz"):
        assert [file and file.name.lower() for file in pair_of(tmp_path / half)] == ["a.hdr", "a.img.gz"]
    assert pair_of(tmp_path / "b.img") == (None, tmp_path / "b.img")
    assert pair_of(tmp_path / "c.nii") == (tmp_path / "c.nii", tmp_path / "c.nii")
    expected = ["a.HDR", "b.img", "c.nii", "d.HDR.gz", "e.Hdr", "f.hdr"]
    assert [path.name for path in find_volumes(tmp_path)] == expected


def test_loops_of_links_end_and_linked_folders_are_searched(tmp_path: Path):
    for name in ("data", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere/a.nii").touch()
    for i in range(3):
        (tmp_path / f"data/loop{i}").symlink_to(tmp_path / "data")
    (tmp_path / "data/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/self.nii").symlink_to("self.nii")
    assert [p.name for p in find_volumes(tmp_path / "data")] == ["a.nii", "self.nii"]
    with pytest.raises(UserError, match="matches no"):
        find_volumes(f"{tmp_path}/data/**/*.nii.gz")


def test_a_list_names_files_relative_to_itself_and_its_errors_name_the_line(tmp_path: Path):
    (tmp_path / "a.nii").touch()
    listing = tmp_path / "cases.txt"
    listing.write_text(f"# training cases\n\na.nii\n{tmp_path}/a.nii\n")
    assert find_volumes(listing) == [tmp_path / "a.nii"]
    listing.write_text("a.nii\nb.nii\n")
    with pytest.raises(UserError, match=r"line 2: .*b\.nii: no such file"):
        find_volumes(listing)


@pytest.mark.parametrize("name", ["~nobody_of_this_name.nii", "a" * 5000, "a\0b"])
def test_a_name_that_no_file_can_have_is_an_error_of_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cases.txt").write_text(name)
    for source in (name, tmp_path / "cases.txt"):
        with pytest.raises(UserError) as caught:
            find_volumes(source)
        assert "\n" not in str(caught.value)


def test_marks_of_other_programs_in_a_list_are_read_or_named(tmp_path: Path):
    (tmp_path / "a 1.nii").touch()
    listing = tmp_path / "cases.txt"
    listing.write_bytes("\ufeffa 1.nii\r\n".encode())
    assert find_volumes(listing) == [tmp_path / "a 1.nii"]
    for line, encoding, named in (("a 1.nii", "utf-16", "UTF-16"), ('"a 1.nii"', "utf-8", "quotes")):
        listing.write_text(line, encoding=encoding)
        with pytest.raises(UserError, match=named):
            find_volumes(listing)


def test_a_pipe_is_named_and_never_opened(tmp_path: Path):
    (tmp_path / "a.nii").touch()
    for name in ("pipe.nii.gz", "pipe", "pipe.dcm"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "zero.mha").symlink_to("/dev/zero")
    for name in ("pipe.nii.gz", "zero.mha"):
        with pytest.raises(VolumeError, match=rf"{re.escape(name)}: not a regular file"):
            read_volume(tmp_path / name)
        with pytest.raises(OSError, match="not a regular file"):
            bytes_hash([tmp_path / name])
        with pytest.raises(VolumeError, match=rf"{re.escape(name)}: not a regular file.*give a file$"):
            content_hash([tmp_path / name], tmp_path / "cache")
    cases, left_out = find_sources(tmp_path)
    assert [case.path.name for case in cases] == ["a.nii", "pipe.nii.gz", "zero.mha"]
    assert left_out == [("pipe", "pipe or device"), ("pipe.dcm", "pipe or device")]


def test_if_no_volume_is_found_the_message_says_what_was_there(tmp_path: Path):
    with pytest.raises(UserError, match="no files at all"):
        find_volumes(tmp_path)
    for name in ("1.jpg", "2.jpg", "readme"):
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=r"found 2 x \.jpg, 1 x no suffix"):
        find_volumes(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        find_volumes(tmp_path / "absent")
    with pytest.raises(UserError, match="matches no"):
        find_volumes(f"{tmp_path}/*.nii")


def test_a_case_is_named_by_its_file_without_the_suffix():
    assert [case_id(Path(p)) for p in ("x/mr.01.nii.gz", "mr.01.NII", "mr")] == ["mr.01", "mr.01", "mr"]


needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason=f"the odd volumes are not beside the checkout ({ODD})")
ODD_FAILURES = {
    **{
        "5D_small": "5-D",
        "2d": "2-D",
        "4d_two_volumes": "4-D",
        "binary_uint8": "binary",
        "constant": "no signal",
        "empty_file": "empty",
    },
    **{"gzip_corrupt": "corrupt", "gzip_truncated": "cut off", "header_only": "shorter", "short_voxel_data": "shorter"},
    **{"tiny3": "too small", "zero_pixdim": "voxel size", "nibabel_example4d": "4-D", "nibabel_example_nifti2": "4-D"},
    "not-nifti": "not a NIfTI",
}
ODD_WARNINGS = {
    **{"nan_inf": "29 NaN", "no_form_codes": "No orientation", "qform_sform_disagree": "disagree"},
    **{"sheared": "sheared", "units_meter": "metres"},
}


def _independently_read(path: Path) -> np.ndarray:
    if path.suffix == ".mha":
        header, _, voxels = path.read_bytes().partition(b"ElementDataFile = LOCAL\n")
        shape = [int(n) for n in re.findall(rb"DimSize = (\d+) (\d+) (\d+)", header)[0]]
        voxels = zlib.decompress(voxels) if b"CompressedData = True" in header else voxels
        return np.frombuffer(voxels, "<i2").reshape(shape, order="F")
    kind = nib.Nifti1Pair if path.name.startswith("pair") else nib.Nifti1Image
    return np.asarray(kind.load(path).dataobj)


@needs_odd
@pytest.mark.parametrize("path", sorted(ODD.iterdir()) if ODD.is_dir() else [], ids=lambda path: path.name)
def test_every_odd_real_volume_loads_or_fails_as_its_name_says(path: Path):
    cause = next((word for name, word in ODD_FAILURES.items() if name in path.name), None)
    if cause:
        with pytest.raises(VolumeError, match=cause):
            read_volume(path)
        return
    volume = read_volume(path)
    assumed = [word for name, word in ODD_WARNINGS.items() if name in path.name]
    assert bool(volume.warnings) == bool(assumed)
    assert all(word in " ".join(volume.warnings) for word in assumed)
    if not assumed:
        raw = _independently_read(path)
        np.testing.assert_allclose(volume.array, raw.reshape(volume.array.shape), rtol=1e-5)


@needs_odd
def test_sixteen_axis_orders_of_one_volume_are_one_picture():
    volumes = [read_volume(path) for path in sorted(ODD.glob("orient_*.nii.gz"))]
    turned = [as_closest_canonical(image_of(volume)) for volume in volumes]
    assert len(turned) == 16
    for image in turned[1:]:
        np.testing.assert_array_equal(image.get_fdata(), turned[0].get_fdata())
        np.testing.assert_allclose(image.affine, turned[0].affine, atol=1e-3)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_labels_come_as_whole_numbers_whatever_type_they_are_stored_in(tmp_path, kind):
    labels = np.arange(16 * 17 * 2).reshape(16, 17, 2) % 7
    path = put(tmp_path / "labels.nii.gz", nifti_bytes(labels.astype(kind)))
    assert read_labels(path).array.dtype == np.uint8
    np.testing.assert_array_equal(read_labels(path).array, labels)
    np.testing.assert_array_equal(read_mask(path).array, labels > 0)


def test_a_background_of_nan_is_outside_a_mask(tmp_path):
    inside = np.arange(16 * 17 * 2).reshape(16, 17, 2) % 3 == 0
    path = put(tmp_path / "mask.nii.gz", nifti_bytes(np.where(inside, 1.0, np.nan).astype(np.float32)))
    np.testing.assert_array_equal(read_mask(path).array, inside)


def test_large_labels_and_scaled_ones_are_kept(tmp_path):
    labels = np.resize(np.array([0, 14175, 2035], np.int32), (16, 17, 2))
    np.testing.assert_array_equal(read_labels(put(tmp_path / "a.nii", nifti_bytes(labels))).array, labels)
    doubled = put(tmp_path / "b.nii", nifti_bytes(labels, field("scl_slope", 2.0)))
    np.testing.assert_array_equal(read_labels(doubled).array, labels * 2)


@pytest.mark.parametrize("stored", [np.uint8, np.int16])
@pytest.mark.parametrize("values", [(0, 1), (0, 1, 2, 5), (0, 7, 50)])
def test_masks_and_labels_stored_with_a_scale_keep_their_values(tmp_path, values, stored):
    """nibabel scales floats to the whole range of an integer type, and 0 then is seldom stored as 0."""
    labels = np.resize(np.array(values), (16, 17, 2))
    image = nib.Nifti1Image(labels.astype(np.float64), np.eye(4))
    image.set_data_dtype(stored)
    image.to_filename(tmp_path / "labels.nii.gz")
    assert nib.Nifti1Image.from_filename(tmp_path / "labels.nii.gz").dataobj.slope != 1  # pyright: ignore
    np.testing.assert_array_equal(read_mask(tmp_path / "labels.nii.gz").array, labels > 0)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.nii.gz").array, labels)


@pytest.mark.parametrize(
    ("value", "cause"), [(0.5, "not whole numbers"), (-1, "from -1"), (70000, "to 70000"), (np.nan, "nan")]
)
def test_a_file_that_is_not_a_label_map_is_refused(tmp_path, value, cause):
    path = put(tmp_path / "labels.nii", nifti_bytes(np.resize([0.0, 1.0, value], (16, 17, 2))))
    with pytest.raises(VolumeError, match=f"labels.nii: .*{cause}"):
        read_labels(path)


def test_contrasts_share_a_grid_if_their_corners_do_to_a_hundredth_of_a_voxel(tmp_path):
    affines = {"first": (2.0, 0.0), "moved": (2.0, 0.015), "stretched": (2.005, 0.0)}
    for name, (spacing_mm, x_mm) in affines.items():
        affine = from_matvec(np.eye(3) * spacing_mm, (x_mm, 0, 0))
        nib.Nifti1Image(picture(), affine).to_filename(tmp_path / f"{name}.nii")
    first, moved, stretched = (tmp_path / f"{name}.nii" for name in affines)
    assert len(read_contrasts([first, moved]).contrasts) == 2
    with pytest.raises(VolumeError, match=r"stretched\.nii: not on the grid of first\.nii"):
        read_contrasts([first, stretched])
