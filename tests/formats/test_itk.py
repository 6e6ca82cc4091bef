"""MetaImage and NRRD against NIfTI of the same picture, written by SimpleITK: an orientation of its own making."""

import bz2
import gzip
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.nifti import geometry_header
from cyclegan_gc.formats.volumes import Volume, read_volume, volume_grid, write_volume

TURN = [0.0, -0.8, 0.6, 1.0, 0.0, 0.0, 0.0, 0.6, 0.8]


def picture(values: np.ndarray | None = None) -> SimpleITK.Image:
    """An oblique picture without any symmetry."""
    values = np.random.default_rng(0).integers(0, 900, (18, 20, 24)) if values is None else values
    image = SimpleITK.GetImageFromArray(values.astype(np.int16))
    image.SetSpacing((1.5, 0.9, 3.0))
    image.SetOrigin((-12.0, 34.5, 7.25))
    image.SetDirection(TURN)
    return image


@pytest.mark.parametrize("name", ["x.mha", "x.mhd", "x.nrrd", "x.nhdr"])
def test_an_image_has_the_same_grid_as_its_nifti_copy(name: str, tmp_path: Path):
    SimpleITK.WriteImage(picture(), str(tmp_path / name), useCompression=name.endswith("d"))
    SimpleITK.WriteImage(picture(), str(tmp_path / "x.nii.gz"))
    volume, nifti = read_volume(tmp_path / name), read_volume(tmp_path / "x.nii.gz")
    np.testing.assert_array_equal(volume.array, nifti.array)
    np.testing.assert_allclose(volume.affine, nifti.affine, atol=1e-5)
    shape, affine = volume_grid(tmp_path / name)
    assert shape == volume.array.shape == (24, 20, 18)
    np.testing.assert_array_equal(affine, volume.affine)


def test_each_voxel_lies_where_simpleitk_says(tmp_path: Path):
    image = picture()
    SimpleITK.WriteImage(image, str(tmp_path / "x.nrrd"))
    affine = read_volume(tmp_path / "x.nrrd").affine
    for index in ((0, 0, 0), (23, 0, 0), (3, 19, 17)):
        left, back, up = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(affine @ [*index, 1], [-left, -back, up, 1], atol=1e-4)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def headless(path: Path) -> None:
    path.write_bytes(b"NRRD0004\nnonsense\n\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "damage", "cause"),
    [
        ("x.mha", cut, "voxels cannot be read|shorter"),
        ("x.nrrd", cut, "voxels cannot be read|shorter"),
        ("x.nrrd", headless, "not a readable MetaImage or NRRD"),
        ("x.mha", headless, "not a readable MetaImage or NRRD"),
        ("x.mha", empty, r"empty \(0 bytes\)"),
    ],
)
def test_a_damaged_file_fails_in_one_line_with_its_cause(name: str, damage, cause: str, tmp_path: Path):
    SimpleITK.WriteImage(picture(), str(tmp_path / name))
    damage(tmp_path / name)
    with pytest.raises(VolumeError, match=cause) as caught:
        read_volume(tmp_path / name)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path / name))


def test_a_header_without_its_voxels_fails(tmp_path: Path):
    SimpleITK.WriteImage(picture(), str(tmp_path / "x.mhd"))
    (tmp_path / "x.raw").unlink()
    with pytest.raises(VolumeError, match=r"voxels cannot be read, 'x\.raw': no such file"):
        read_volume(tmp_path / "x.mhd")


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (SimpleITK.Image([20, 20], SimpleITK.sitkInt16), "2-D"),
        (SimpleITK.Image([20, 20, 20], SimpleITK.sitkVectorUInt8, 3), "3 values per voxel"),
        (SimpleITK.Image([20, 5, 5], SimpleITK.sitkInt16), "too small"),
        (SimpleITK.Image([20, 20, 20], SimpleITK.sitkInt16), "no signal"),
    ],
)
def test_an_unusable_image_fails_with_the_reason(image: SimpleITK.Image, cause: str, tmp_path: Path):
    SimpleITK.WriteImage(image, str(tmp_path / "x.mha"))
    with pytest.raises(VolumeError, match=cause):
        read_volume(tmp_path / "x.mha")


def test_more_voxels_than_allowed_are_refused_from_the_header(tmp_path: Path):
    SimpleITK.WriteImage(picture(), str(tmp_path / "x.nrrd"))
    with pytest.raises(VolumeError, match="more than 100"):
        read_volume(tmp_path / "x.nrrd", max_voxels=100)


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd"])
def test_a_volume_is_written_on_its_grid_or_not_at_all(name, tmp_path):
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, -1.0]]) @ np.diag([1.1, 0.7, 3.000001])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn, (-123.456789, 98.7654321, 1234.56789)
    array = np.random.default_rng(0).integers(-1000, 3000, (17, 18, 7)).astype(np.int16)
    write_volume(tmp_path / name, array, Volume(array, affine, geometry_header(affine)))
    again = read_volume(tmp_path / name)
    assert np.array_equal(again.array, array)
    np.testing.assert_allclose(again.affine, affine, atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(ValueError, match=r"ends in"):  # its voxels would be in a second file
        write_volume(tmp_path / "a.mhd", array, Volume(array, affine, geometry_header(affine)))
    with pytest.raises(VolumeError, match=rf"{name}: cannot be written"):
        write_volume(tmp_path / "gone" / name, array, Volume(array, affine, geometry_header(affine)))


def metaimage(path: Path, **fields: str) -> Path:
    """A MetaImage with 3 axes and any other fields."""
    known = {"NDims": "3", "DimSize": "20 20 20", "ElementType": "MET_SHORT", "ElementSpacing": "2 2 2"}
    known |= {"TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementDataFile": "LOCAL"} | fields
    known["ElementDataFile"] = known.pop("ElementDataFile")
    header = "".join(f"{name} = {value}\n" for name, value in known.items() if value)
    path.write_bytes(header.encode() + np.arange(8000, dtype="<i2").tobytes())
    return path


@pytest.mark.parametrize("dimensions", ["-1", "0", "99", "x", "3 3", "1e30", "0_3", "\u0663"])
def test_impossible_numbers_of_dimensions_are_refused(dimensions: str, tmp_path: Path):
    with pytest.raises(VolumeError, match="not a readable MetaImage"):
        read_volume(metaimage(tmp_path / "x.mha", NDims=dimensions))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("length", ["2", "1e308"])
def test_axes_of_another_length_than_one_are_refused_without_a_warning_of_numpy(length: str, tmp_path: Path):
    with pytest.raises(VolumeError, match="do not have length 1"):
        read_volume(metaimage(tmp_path / "x.mha", TransformMatrix=f"{length} 0 0 0 1 0 0 0 1"))


@pytest.mark.parametrize("name", ["LIST", "%s%s%n%d.raw 1 20 1", "s%d.raw 1 2000000000 0"])
def test_voxels_in_one_file_per_slice_are_refused(name: str, tmp_path: Path):
    with pytest.raises(VolumeError, match="one file per slice"):
        read_volume(metaimage(tmp_path / "x.mhd", ElementDataFile=name))


def test_voxels_of_another_folder_are_refused_also_through_a_link(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(bytes(range(200)) * 80)
    (tmp_path / "in/linked.raw").symlink_to(tmp_path / "secret.raw")
    for name in ("/etc/passwd", "../secret.raw", "linked.raw", str(tmp_path / "secret.raw")):
        with pytest.raises(VolumeError, match="neither beside nor below"):
            read_volume(metaimage(tmp_path / "in/x.mhd", ElementDataFile=name))


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd"])
def test_a_flipped_bit_in_compressed_voxels_is_noticed(name: str, tmp_path: Path):
    SimpleITK.WriteImage(picture(), str(tmp_path / name), useCompression=True)
    content = (tmp_path / name).read_bytes()
    for place in range(1000, len(content) - 8, len(content) // 20):
        flipped = bytearray(content)
        flipped[place] ^= 4
        (tmp_path / name).write_bytes(flipped)
        with pytest.raises(VolumeError, match=r"corrupt|cut off|far past"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("fields", "note"),
    [
        ({"TransformMatrix": ""}, "No orientation or position"),
        ({"Offset": ""}, "No orientation or position"),
        ({"ElementSpacing": ""}, "No voxel size"),
        ({"DistanceUnits": "cm"}, "Lengths are in cm"),
    ],
)
def test_what_a_header_does_not_say_is_assumed_with_a_warning(fields: dict[str, str], note: str, tmp_path: Path):
    assert not read_volume(metaimage(tmp_path / "x.mha")).warnings
    assert any(note in warning for warning in read_volume(metaimage(tmp_path / "x.mha", **fields)).warnings)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["x.mha", "x.nrrd"])
def test_more_voxels_than_the_file_can_hold_are_refused_before_memory_is_asked_for(name, packed, tmp_path):
    image = SimpleITK.Image([20, 20, 20], SimpleITK.sitkInt16)
    SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=packed)
    content = (tmp_path / name).read_bytes().replace(b"20 20 20", b"900 900 2000")
    (tmp_path / name).write_bytes(re.sub(rb"(CompressedDataSize = )\d+", rb"\g<1>3240000000", content))
    tracemalloc.start()
    with pytest.raises(VolumeError, match="shorter than the header says"):
        read_volume(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("bzip2", bz2.compress)])
def test_very_many_joined_streams_are_read_as_one(encoding, pack, tmp_path):
    """As many as there are bytes of voxels, and empty ones between, in a time that grows with their number alone."""
    header = f"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 40 40 40\nencoding: {encoding}\n\n".encode()
    values = np.random.default_rng(0).integers(0, 256, 64000).astype(np.uint8)
    packed = [pack(bytes([value])) for value in range(256)]
    empty = pack(b"")
    streams = b"".join(packed[value] + empty for value in values)
    (tmp_path / "x.nrrd").write_bytes(header + streams)
    array = read_volume(tmp_path / "x.nrrd").array
    np.testing.assert_array_equal(array.ravel(order="F"), values)
