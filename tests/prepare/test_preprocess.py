import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms.spatial.dictionary import Orientationd

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume, read_volume
from cyclegan_gc.prepare.grid import from_plane, mask_to_network, network_grid, to_network, to_plane, to_source
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.prepare.preprocess import prepare, turn_back

SETTINGS = PreprocessConfig()
AXIS_ORDERS = [
    (axes, flips) for axes in itertools.permutations(range(3)) for flips in itertools.product((1, -1), repeat=3)
]


@pytest.fixture(scope="module")
def mr(phantoms) -> Volume:
    return read_volume(next((phantoms / "test" / "mr").iterdir()))


@pytest.fixture(scope="module")
def ct(phantoms) -> Volume:
    return read_volume(next((phantoms / "test" / "ct").iterdir()))


def reordered(volume: Volume, axes: tuple[int, int, int], flips: tuple[int, int, int]) -> Volume:
    """The same volume stored in another axis order."""
    array, affine = volume.array.transpose(axes), volume.affine.copy()
    affine[:, :3] = affine[:, list(axes)]
    for axis, flip in enumerate(flips):
        if flip < 0:
            array = np.flip(array, axis)
            affine[:3, 3] += affine[:3, axis] * (array.shape[axis] - 1)
            affine[:3, axis] *= -1
    return Volume(np.ascontiguousarray(array), affine, volume.header)


@pytest.mark.parametrize(("axes", "flips"), AXIS_ORDERS)
def test_all_48_axis_orders_give_the_same_slices_and_turn_back_exactly(mr, axes, flips):
    turned = reordered(mr, axes, flips)
    case, expected = prepare(turned, "mr", SETTINGS), prepare(mr, "mr", SETTINGS)
    assert torch.equal(case.image.as_tensor(), expected.image.as_tensor())
    back = turn_back(case.image.as_tensor(), case)
    straight = replace(mr, array=turn_back(expected.image.as_tensor(), expected))
    assert np.array_equal(back, reordered(straight, axes, flips).array)


def test_the_percentiles_of_the_body_become_the_ends_of_the_unit_range(mr):
    case = prepare(mr, "mr", SETTINGS)
    image, body = turn_back(case.image.as_tensor(), case), turn_back(case.mask, case).astype(bool)
    low, high = np.percentile(mr.array[body], SETTINGS.mr_percentiles)
    expected = np.clip(2 * (mr.array - low) / (high - low) - 1, -1, 1)
    np.testing.assert_allclose(image[body], expected[body], atol=0.01)
    assert (image[~body] == -1).all()


def test_hu_inside_the_window_come_back_from_the_unit_range(ct):
    case = prepare(ct, "ct", SETTINGS)
    hu = turn_back(to_hu(case.image.as_tensor(), SETTINGS), case)
    body = turn_back(case.mask, case).astype(bool)
    np.testing.assert_allclose(hu[body], np.clip(ct.array, -1000, 1500)[body], atol=0.01)
    assert (hu[~body] == -1000).all()


def test_the_mr_scale_ignores_its_unit_and_the_air_around(mr):
    louder = Volume(mr.array * 50, mr.affine, mr.header)
    wider = Volume(np.pad(mr.array, 20), mr.affine, mr.header)
    image = prepare(mr, "mr", SETTINGS).image.as_tensor()
    torch.testing.assert_close(prepare(louder, "mr", SETTINGS).image.as_tensor(), image, atol=1e-4, rtol=0)
    inner = prepare(wider, "mr", SETTINGS).image.as_tensor()[:, 20:-20, 20:-20, 20:-20]
    assert (inner - image).abs().mean() < 0.01


@pytest.mark.parametrize(("axis", "frame"), [("axial", "PLS"), ("coronal", "ILA"), ("sagittal", "IPL")])
def test_a_plane_is_the_turn_that_monai_makes_and_turns_back_exactly(mr, axis, frame):
    case = prepare(mr, "mr", SETTINGS)
    turned: Any = Orientationd("image", axcodes=frame, labels=None)({"image": case.image})["image"]
    assert torch.equal(to_plane(case.image.as_tensor(), axis), turned.as_tensor())
    assert torch.equal(from_plane(turned.as_tensor(), axis), case.image.as_tensor())
    spacing_mm = np.linalg.norm(turned.affine[:3, :3].numpy(), axis=0)
    assert network_grid(case, axis, None).pixel_mm == pytest.approx(spacing_mm[:2])


@pytest.mark.parametrize("axis", ["coronal", "sagittal"])
def test_to_the_network_and_back_is_exact_in_every_plane(mr, axis):
    case = prepare(mr, "mr", SETTINGS)
    grid = network_grid(case, axis, None)
    slices, masks = to_network(case.image.as_tensor(), grid), mask_to_network(case.mask, grid)
    assert torch.equal(to_source(slices, masks, grid), case.image.as_tensor())


def test_a_volume_without_a_body_is_refused(ct):
    empty = Volume(np.full_like(ct.array, -1000), ct.affine, ct.header)
    case = prepare(ct, "ct", SETTINGS)
    size = " x ".join(f"{mm * n:.3g}" for mm, n in zip(case.spacing_mm, case.mask.shape[1:], strict=True))
    with pytest.raises(VolumeError, match=f"no body found in a volume of {size} mm"):
        prepare(empty, "ct", SETTINGS)


def test_to_the_network_and_back_is_exact_without_resampling(mr):
    case = prepare(mr, "mr", SETTINGS)
    grid = network_grid(case, "axial", None, minimum=(128, 128))
    slices = to_network(case.image.as_tensor(), grid)
    assert slices.shape[-2:] == grid.padded == (128, 128)
    assert not grid.resampled
    masks = mask_to_network(case.mask, grid)
    assert torch.equal(to_source(slices, masks, grid), case.image.as_tensor())
    assert torch.equal(to_source(masks * 2.0 - 1, masks, grid) > 0, case.mask)


@pytest.mark.parametrize("spacing_mm", [1.5, 4.0, 6.0])
def test_a_constant_in_the_body_stays_constant_after_resampling_except_at_the_rim(mr, spacing_mm):
    case = prepare(mr, "mr", SETTINGS)
    grid = network_grid(case, "axial", spacing_mm)
    masks = mask_to_network(case.mask, grid)
    back = to_source(torch.where(masks, 0.25, -1.0), masks, grid)[case.mask]
    assert ((back - 0.25).abs() < 1e-5).float().mean() > 0.999


def test_slices_are_resampled_in_their_plane_to_the_wanted_pixel_size(mr):
    case = prepare(mr, "mr", SETTINGS)
    grid = network_grid(case, "axial", 4.0)
    rows, columns, slices = grid.box
    height, width, _ = case.spacing_mm
    assert grid.resampled
    extents_mm = (rows.stop - rows.start) * height, (columns.stop - columns.start) * width
    assert grid.size == tuple(round(extent / 4) for extent in extents_mm)
    assert to_network(case.image.as_tensor(), grid).shape[0] == slices.stop - slices.start


@pytest.mark.parametrize("factor", [100.0, 1000.0])
def test_pixels_so_large_that_resampling_would_exhaust_the_memory_are_refused(mr, factor):
    case = prepare(replace(mr, affine=mr.affine @ np.diag([factor, factor, factor, 1])), "mr", SETTINGS)
    with pytest.raises(VolumeError, match="correct the voxel size"):
        network_grid(case, "axial", 1.0)


def test_a_pixel_size_within_a_tenth_of_the_wanted_one_is_not_resampled(mr):
    case = prepare(mr, "mr", SETTINGS)
    assert case.spacing_mm[0] == pytest.approx(case.spacing_mm[1], rel=0.04)
    assert not network_grid(case, "axial", case.spacing_mm[0] * 1.05).resampled
    assert network_grid(case, "axial", case.spacing_mm[0] * 1.2).resampled
