"""Planes through a volume: exact where nothing is turned, and true to the volume's own geometry where something is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from cyclegan_gc.config import DataConfig, PreprocessConfig, SliceAxis
from cyclegan_gc.data import reading
from cyclegan_gc.data.cache import DEPTH_SCALE, OUTSIDE, SCALE, PreparedVolume, cached_volume
from cyclegan_gc.data.planes import Change, Stack, _plane, random_plane, upright
from cyclegan_gc.data.reading import Resident, are_kept_on, read
from cyclegan_gc.device import free_bytes
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.prepare.grid import DIRECTIONS, mask_to_network, network_grid, to_network, to_plane
from cyclegan_gc.prepare.preprocess import load_prepared

AXES: tuple[SliceAxis, ...] = ("axial", "coronal", "sagittal")


def made(folder: Path, values: np.ndarray, voxel_mm=(1.0, 1.0, 1.0), pixel_mm=(1.0, 1.0, 1.0)) -> PreparedVolume:
    """A volume of the cache with these values (D, H, W) in [-1, 1]; NaN lies outside the body."""
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    stored = np.where(np.isnan(values), OUTSIDE, np.nan_to_num(values) * SCALE).astype(np.int16)
    depth = np.where(np.isnan(values), 0, DEPTH_SCALE).astype(np.uint8)
    spans = {axis: (0, int(np.abs(DIRECTIONS[axis][:, 0]) @ values.shape) - 1) for axis in AXES}
    volume = PreparedVolume(path, values.shape, voxel_mm, pixel_mm, spans, {}, (), "")  # pyright: ignore
    for file, array, air in ((path, stored, OUTSIDE), (volume.depth_path, depth, 0)):
        np.save(file, np.pad(array, 1, constant_values=air)[..., None])
    return volume


@pytest.fixture
def smooth(tmp_path) -> PreparedVolume:
    """A smooth function of the place, without air."""
    d, h, w = np.meshgrid(*(np.linspace(-1, 1, n) for n in (40, 50, 44)), indexing="ij")
    return made(tmp_path, 0.4 * np.sin(2 * d) + 0.3 * np.cos(3 * h) + 0.3 * w * h)


@pytest.mark.parametrize("axis", AXES)
def test_the_directions_are_those_in_which_conversion_turns_a_volume(axis):
    values = torch.arange(3 * 4 * 5).view(1, 3, 4, 5)  # (C, H, W, D)
    turned, volume = to_plane(values, axis)[0], values[0].permute(2, 0, 1)
    origin = np.array([0 if side > 0 else n - 1 for side, n in zip(DIRECTIONS[axis].sum(1), volume.shape, strict=True)])
    for row, column, number in np.ndindex(*turned.shape):
        place = origin + DIRECTIONS[axis] @ [number, row, column]
        assert turned[row, column, number] == volume[tuple(place)]


@pytest.mark.parametrize("axis", AXES)
def test_an_upright_slice_is_the_one_that_conversion_translates(phantoms, tmp_path, axis):
    settings, path = PreprocessConfig(), next((phantoms / "test" / "mr").iterdir())
    stack = Stack(cached_volume([source_of(path)], "mr", settings, tmp_path), axis)
    _, case = load_prepared([path], "mr", settings)
    grid = network_grid(case, axis, None)
    images, masks = to_network(case.image.as_tensor(), grid), mask_to_network(case.mask, grid)
    own = slice(stack.volume.spans[axis][0], stack.volume.spans[axis][1] + 1)
    found = read([upright(stack, number) for number in range(stack.count)])
    torch.testing.assert_close(found.image, images[own], rtol=0, atol=1 / SCALE)
    assert torch.equal(found.mask, masks[own])


@pytest.mark.parametrize("axis", AXES)
def test_a_turned_plane_shows_what_scipy_finds_at_its_places(smooth, axis):
    config = DataConfig("", "", crop=(24, 20), tilt_degrees=12, rotate_degrees=20, scale=0.1)
    stack, random = Stack(smooth, axis), np.random.default_rng(0)
    values = np.load(smooth.path)[..., 0] / SCALE
    for _ in range(5):
        plane = random_plane(stack, stack.count // 2, config, random)
        pixels = np.stack([np.zeros((24, 20)), *np.mgrid[:24, :20], np.ones((24, 20))])
        places = np.tensordot(plane.affine, pixels, 1) + 1
        inside = (places > 2).all(axis=0) & (places < np.array(smooth.shape)[:, None, None] - 1).all(axis=0)
        expected = map_coordinates(values, places, order=1)
        found = read([plane]).image[0, 0].numpy()
        assert inside.any()
        np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4)


def test_turns_go_about_the_middle_of_the_slice_and_keep_lengths_in_mm(tmp_path):
    """Voxels of unequal sides: a pixel stays 2 mm whichever way the plane is turned."""
    volume = made(tmp_path, np.zeros((30, 60, 50)), (2.0, 1.0, 1.5), (2.0, 2.0, 2.0))
    stack, size = Stack(volume, "axial"), (30, 38)
    upright_plane, turned = (
        _plane(stack, 10, [0, 0], size, 0, change) for change in (Change(), Change((0.3, -0.2), 0.4))
    )
    middle = [0, 14.5, 18.5, 1]
    assert turned.affine @ middle == pytest.approx(upright_plane.affine @ middle)
    assert upright_plane.affine @ middle == pytest.approx([10, 29.5, 24.5], abs=0.6)
    steps_mm = turned.affine[:, :3] * np.array(volume.voxel_mm)[:, None]
    np.testing.assert_allclose(steps_mm.T @ steps_mm, 4 * np.eye(3), atol=1e-9)


def test_the_middle_of_a_tilted_crop_stays_in_its_slice(tmp_path):
    stack = Stack(made(tmp_path, np.zeros((40, 200, 160))), "axial")
    config = DataConfig("", "", crop=(32, 32), tilt_degrees=20)
    random = np.random.default_rng(0)
    for number in (0, 17, 39):
        plane = random_plane(stack, number, config, random)
        assert plane.affine @ [0, 15.5, 15.5, 1] == pytest.approx([number, *(plane.affine @ [0, 15.5, 15.5, 1])[1:]])


@pytest.mark.parametrize("spacing_mm", [1.0, 3.0])
@pytest.mark.parametrize("axis", AXES)
def test_a_body_that_is_cut_off_keeps_its_values_to_the_last_row(tmp_path, axis, spacing_mm):
    """Thick voxels, a body that fills the picture: no air is mixed into the rows at its ends."""
    voxel_mm = (5.0, 2.0, 2.0)
    volume = made(tmp_path, np.full((8, 20, 16), 0.5), voxel_mm, tuple(min(mm, spacing_mm) for mm in voxel_mm))  # pyright: ignore
    stack = Stack(volume, axis)
    found = read([upright(stack, stack.count // 2)])
    assert (found.image[found.mask] - 0.5).abs().max() < 1e-4


def test_a_mirrored_plane_swaps_left_and_right_and_a_sagittal_one_is_never_mirrored(smooth):
    config = DataConfig("", "", crop=(48, 44), rotate_degrees=0, scale=0)
    for axis in AXES:
        stack = Stack(smooth, axis)
        plain = read([upright(stack, 20, (48, 44))]).image[0]
        random = np.random.default_rng(0)
        drawn = [read([random_plane(stack, 20, config, random)]).image[0] for _ in range(12)]
        mirrored = [torch.equal(image, plain.flip(-1)) for image in drawn]
        if axis == "sagittal":
            assert not any(mirrored)
        else:
            assert any(mirrored) and not all(mirrored)


def test_thick_slices_are_not_tilted(tmp_path):
    config = DataConfig("", "", crop=(16, 16), tilt_degrees=10, rotate_degrees=0, scale=0, flip=False)

    def largest_tilt(thickness: float) -> float:
        volume = made(tmp_path, np.zeros((20, 20, 20)), (thickness, 1.0, 1.0), (1.0, 1.0, 1.0))
        random = np.random.default_rng(0)
        planes = [random_plane(Stack(volume, "axial"), 10, config, random) for _ in range(50)]
        return max(float(np.abs(plane.affine[0, 1:3]).max()) * thickness for plane in planes)

    full = largest_tilt(1.0)
    assert full == pytest.approx(np.sin(np.deg2rad(10)), rel=0.1)
    assert 0 < largest_tilt(1.5) < 0.7 * full and largest_tilt(2.0) == largest_tilt(6.0) == 0


def test_neighbours_are_the_parallel_slices_beside_a_plane_and_the_ends_repeat(smooth):
    stack = Stack(smooth, "coronal")
    alone = read([upright(stack, number) for number in range(stack.count)]).image
    for number, expected in ((0, [0, 0, 0, 1, 2]), (20, [18, 19, 20, 21, 22]), (49, [47, 48, 49, 49, 49])):
        slab = read([upright(stack, number, context=2)]).image
        assert torch.equal(slab[0], alone[expected, 0])
    tilted = random_plane(
        stack, 20, DataConfig("", "", crop=(16, 16), tilt_degrees=10, context_slices=1), np.random.default_rng(1)
    )
    distance = tilted.affine[:, 0]
    assert tilted.slices == (-1, 0, 1) and np.linalg.norm(distance) == pytest.approx(1)
    assert distance @ tilted.affine[:, 1] == pytest.approx(0, abs=1e-12)


def test_beyond_the_volume_lies_air(tmp_path):
    volume = made(tmp_path, np.full((6, 6, 6), 0.5))
    found = read([upright(Stack(volume, "axial"), 0, (12, 16))], depths=True)
    body = torch.zeros(12, 16, dtype=torch.bool)
    body[3:9, 5:11] = True
    assert torch.equal(found.mask[0, 0], body) and found.depth is not None
    assert (found.image[0, 0][body] - 0.5).abs().max() < 1e-4 and (found.image[0, 0][~body] == -1).all()
    assert torch.equal(found.depth[0, 0], body.float())


def test_a_crop_lies_anywhere_in_a_larger_slice(tmp_path):
    rows = np.broadcast_to(np.linspace(-0.9, 0.9, 40)[None, :, None], (4, 40, 30)).copy()
    stack = Stack(made(tmp_path, rows), "axial")
    config = DataConfig("", "", crop=(20, 16), rotate_degrees=0, scale=0, flip=False)
    random = np.random.default_rng(0)
    first = {round(float(random_plane(stack, 1, config, random).affine[1, 3]), 6) for _ in range(200)}
    assert first == {float(n) for n in range(21)}


def test_volumes_on_the_device_are_read_at_once_as_from_the_memory_maps(smooth, tmp_path):
    """The way of a GPU, on the CPU: volumes of different sizes in one tensor."""
    other = made(tmp_path, np.random.default_rng(0).uniform(-1, 1, (20, 30, 36)))
    config = DataConfig("", "", crop=(24, 20), tilt_degrees=12, context_slices=1)
    random = np.random.default_rng(0)
    planes = [random_plane(Stack(volume, "axial"), 9, config, random) for volume in (smooth, other, smooth)]
    kept = Resident.of([smooth, other], torch.device("cpu"), depths=True)
    starts = [kept.starts[plane.volume.path] for plane in planes]
    at_once = reading._read(planes, kept.values, kept.depths, starts)
    one_by_one = read(planes, depths=True)
    for name, tensor in vars(one_by_one).items():
        torch.testing.assert_close(vars(at_once)[name], tensor, rtol=0, atol=1e-6)


def test_volumes_are_kept_where_they_are_wanted_and_never_on_the_cpu(smooth):
    cpu, other = torch.device("cpu"), torch.device("meta")
    assert not any(are_kept_on(cpu, [smooth], resident) for resident in ("auto", True, False))
    assert are_kept_on(other, [smooth], True) and not are_kept_on(other, [smooth], False)
    free, size = free_bytes(other) or 0, sum(path.stat().st_size for path in (smooth.path, smooth.depth_path))
    assert are_kept_on(other, [smooth], "auto")
    assert not are_kept_on(other, [smooth] * (free // (3 * size)), "auto")


def test_fine_voxels_become_the_networks_pixels_and_thick_slices_stay(phantoms, tmp_path):
    path = next((phantoms / "test" / "mr").iterdir())
    fine = cached_volume([source_of(path)], "mr", PreprocessConfig(spacing_mm=5.0), tmp_path)
    assert fine.voxel_mm == pytest.approx((5, 5, 5), rel=0.03) and fine.pixel_mm == fine.voxel_mm
    coarse = cached_volume([source_of(path)], "mr", PreprocessConfig(spacing_mm=1.5), tmp_path)
    own_mm = coarse.statistics["case"]["spacing_mm"]
    assert coarse.voxel_mm == pytest.approx((own_mm[2], *own_mm[:2])) and coarse.pixel_mm == (1.5, 1.5, 1.5)
    assert upright(Stack(coarse, "axial"), 10).size[0] == pytest.approx(coarse.shape[1] * own_mm[0] / 1.5, abs=4)
