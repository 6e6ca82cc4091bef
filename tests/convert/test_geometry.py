"""Every way to store one head gives one result, each on its own grid."""

import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.loadsave import load

from cyclegan_gc.convert.single import convert_volume
from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.formats.volumes import read_volume

ORDERS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product((False, True), repeat=3)
]
TURN = np.array(
    [[0.9698463, -0.1710101, 0.1736482], [0.1925098, 0.9747513, -0.1152330], [-0.1495575, 0.1451878, 0.9780369]]
)
SHEAR = np.array([[1, 0.05, 0], [0, 1, 0.03], [0, 0, 1.0]])
WORLDS = {
    "plain": np.diag([2.7, 2.7, 2.7]),
    "anisotropic": np.diag([2.2, 2.8, 5.5]),
    "oblique": TURN @ np.diag([2.7, 2.5, 3.1]),
    "sheared": TURN @ SHEAR @ np.diag([2.7, 2.7, 2.7]),
}


def stored(array: np.ndarray, directions: np.ndarray, axes, flips) -> tuple[np.ndarray, np.ndarray]:
    """The same volume in another axis order: array and affine."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions, (-61.5, 12.25, 40.0)
    turn = np.zeros((4, 4))
    turn[3, 3] = 1
    for new, old in enumerate(axes):
        turn[old, new] = -1 if flips[new] else 1
        turn[old, 3] = array.shape[old] - 1 if flips[new] else 0
    turned = np.flip(np.transpose(array, axes), tuple(axis for axis in range(3) if flips[axis]))
    return turned, affine @ turn


def write(path: Path, array: np.ndarray, affine: np.ndarray, way: int) -> None:
    """One of eight ways in which files store the same numbers."""
    kind = nib.Nifti2Header if way & 1 else nib.Nifti1Header
    header = kind(endianness=">" if way & 2 else "<")
    header.set_data_dtype(np.int16)
    # The values are multiples of 0.5 above 100: slope and intercept store them exactly.
    numbers = ((array - 100) / 0.5).astype(np.int16)
    image = (nib.Nifti2Image if way & 1 else nib.Nifti1Image)(
        numbers[..., None] if way & 4 else numbers, affine, header
    )
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1 + way % 4)
    image.header.set_slope_inter(0.5, 100)
    image.to_filename(path)


@pytest.fixture(scope="module")
def head(source) -> np.ndarray:
    volume = read_volume(source)
    array, _ = to_ras(volume.array, volume.affine)
    return np.round(array / array.max() * 1000)[::2, ::2, ::2] * 0.5 + 100


@pytest.fixture(scope="module")
def references(head, checkpoint, tmp_path_factory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("references")
    found = {}
    for name, directions in WORLDS.items():
        write(folder / "mr.nii.gz", *stored(head, directions, (0, 1, 2), (False,) * 3), way=0)
        found[name] = converted(checkpoint, folder / "mr.nii.gz")
    return found


def converted(checkpoint: Path, path: Path) -> np.ndarray:
    convert_volume(checkpoint, path, path.with_name("sct.nii.gz"), device="cpu")
    return np.asarray(opened(path.with_name("sct.nii.gz")).dataobj)


def opened(path: Path) -> Any:
    return load(path)


@pytest.mark.parametrize("index", range(len(ORDERS)))
def test_each_axis_order_and_way_of_storing_gives_the_same_result_on_its_own_grid(
    index, head, references, checkpoint, tmp_path
):
    axes, flips = ORDERS[index]
    # 48 orders meet each of 4 worlds 12 times and each of 8 ways 6 times, in other pairs than 4 by 8 would.
    world, way = list(WORLDS)[index % 4], (index // 4 + index) % 8
    array, affine = stored(head, WORLDS[world], axes, flips)
    write(tmp_path / "mr.nii.gz", array, affine, way)
    result = converted(checkpoint, tmp_path / "mr.nii.gz")
    source, written = (opened(tmp_path / name) for name in ("mr.nii.gz", "sct.nii.gz"))
    assert result.shape == array.shape and result.dtype == np.int16
    np.testing.assert_array_equal(written.affine, source.affine)
    for field in ("sform_code", "qform_code", "xyzt_units"):
        assert written.header[field] == source.header[field], field
    assert written.header.get_slope_inter() in ((None, None), (1, 0))
    expected, _ = stored(references[world], WORLDS[world], axes, flips)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.filterwarnings("ignore:.*went through the network", "ignore:.*metres")
def test_lengths_in_metres_give_the_same_result_and_stay_in_metres(head, references, checkpoint, tmp_path):
    array, affine = stored(head, WORLDS["plain"] / 1000, (0, 1, 2), (False,) * 3)
    image = nib.Nifti1Image(array.astype(np.float32), affine)
    image.header.set_xyzt_units("meter")
    image.to_filename(tmp_path / "mr.nii.gz")
    np.testing.assert_array_equal(converted(checkpoint, tmp_path / "mr.nii.gz"), references["plain"])
    assert opened(tmp_path / "sct.nii.gz").header.get_xyzt_units()[0] == "meter"


@pytest.mark.filterwarnings("ignore:.*went through the network")
@pytest.mark.parametrize("axis", range(3))
def test_a_single_slice_of_any_plane_keeps_its_grid(axis, head, checkpoint, tmp_path):
    middle = head.take([head.shape[axis] // 2], axis=axis)
    array, affine = stored(middle, WORLDS["oblique"], (1, 2, 0), (True, False, True))
    write(tmp_path / "mr.nii.gz", array, affine, way=0)
    assert converted(checkpoint, tmp_path / "mr.nii.gz").shape == array.shape
    source, written = (opened(tmp_path / name) for name in ("mr.nii.gz", "sct.nii.gz"))
    np.testing.assert_array_equal(written.affine, source.affine)
