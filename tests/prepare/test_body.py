import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.prepare.body import ct_body_mask, depth_below_skin, mr_body_mask, with_dark_background

SPACING = (2.0, 2.0, 2.0)


def ball(radius: float, centre: tuple[float, float, float] = (24, 24, 24)) -> np.ndarray:
    grid = np.ogrid[:48, :48, :48]
    return np.asarray(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))) <= radius**2


@pytest.fixture
def head_hu() -> np.ndarray:
    hu = np.where(ball(18), 40.0, -1000.0)
    hu[ball(16) & ~ball(14)] = 1000
    hu[ball(5, (24, 30, 24))] = -1000
    return hu.astype(np.float32)


def test_the_body_of_a_ct_holds_its_cavities(head_hu):
    assert np.array_equal(ct_body_mask(head_hu, SPACING), ball(18))


def test_couch_and_head_holder_are_not_body(head_hu):
    with_couch = head_hu.copy()
    with_couch[:, 46, :] = 100
    with_couch[24, 42:47, 24] = 100  # a strap from the couch to the skin
    body = ct_body_mask(with_couch, SPACING)
    assert not body[:, 45:].any()
    assert (body ^ ball(18)).sum() < 0.001 * body.sum()


def test_the_body_of_an_mr_holds_dark_bone_and_air_whatever_its_unit(head_hu):
    mr = np.where(ball(18), 300.0, 5.0)
    mr[(ball(16) & ~ball(14)) | ball(5, (24, 30, 24))] = 10
    noisy = np.abs(mr + np.random.default_rng(0).normal(0, 5, mr.shape)).astype(np.float32)
    for unit in (1.0, 0.001):
        body = mr_body_mask(noisy * np.float32(unit), SPACING)
        assert (body & ball(18)).sum() / (body | ball(18)).sum() > 0.9


def test_slices_far_apart_keep_the_scalp_above_dark_bone():
    x, y, z = np.mgrid[-48:49, -48:49, -36:49:6]
    radius = np.sqrt(x**2 + y**2 + z**2)
    head = radius <= 46
    mr = np.where(head, 300.0, 5.0)
    mr[(radius > 33) & (radius <= 42) & (z > -20)] = 5  # bone, as dark as air; scalp and brain meet below
    body = mr_body_mask(mr.astype(np.float32), (1.0, 1.0, 6.0))
    assert 2 * (body & head).sum() / (body.sum() + head.sum()) > 0.98


@pytest.mark.parametrize(("patient", "dice"), [("p02", 0.99), ("p05", 0.997)])
def test_the_body_of_a_real_mr_with_slices_of_6_mm_reaches_the_skin(real_data, patient, dice):
    folder = real_data / "pairs" / "twod_brain"
    mr = read_volume(folder / f"{patient}_t1.nii.gz")
    true = nib.Nifti1Image.from_filename(folder / f"{patient}_mask.nii.gz").get_fdata() > 0
    body = mr_body_mask(mr.array, mr.spacing_mm)
    assert 2 * (body & true).sum() / (body.sum() + true.sum()) > dice


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 0, 2)])
def test_a_turned_volume_has_the_turned_mask(phantoms, axes):
    volume = read_volume(next((phantoms / "test" / "mr").iterdir()))
    turned = np.ascontiguousarray(volume.array.transpose(axes)[:, ::-1])
    spacing = tuple(volume.spacing_mm[axis] for axis in axes)
    expected = mr_body_mask(volume.array, volume.spacing_mm).transpose(axes)[:, ::-1]
    assert np.array_equal(mr_body_mask(turned, spacing), expected)


@pytest.mark.parametrize("modality", ["mr", "ct"])
def test_the_body_of_a_phantom_is_found(phantoms, modality):
    path = next((phantoms / "test" / modality).iterdir())
    volume = read_volume(path)
    truth = read_volume(phantoms / "test" / "labels" / path.name).array > 0
    body = (mr_body_mask if modality == "mr" else ct_body_mask)(volume.array, volume.spacing_mm)
    assert 2 * (body & truth).sum() / (body.sum() + truth.sum()) > 0.95


def test_a_constant_volume_has_no_body():
    assert not mr_body_mask(np.full((16, 16, 16), 7, np.float32), SPACING).any()
    assert not ct_body_mask(np.full((16, 16, 16), -1000, np.float32), SPACING).any()


@pytest.mark.parametrize("background", [0.0, 1.5, 9.0])
def test_a_constant_background_is_found_though_it_is_not_the_darkest(background):
    tissue = np.random.default_rng(0).normal(0, 1, (48, 48, 48)).astype(np.float32)
    mr = np.where(ball(18), ndimage.gaussian_filter(tissue, 2) * 20, background)
    body = mr_body_mask(with_dark_background(mr), SPACING)
    assert (body & ball(18)).sum() / (body | ball(18)).sum() > 0.9
    assert not body[0].any() and not body[:, :, -1].any()


def test_an_ordinary_volume_keeps_its_background_and_its_tissue(phantoms, head_hu):
    for path in (phantoms / "mr").iterdir():
        array = read_volume(path).array
        assert with_dark_background(array) is array
    assert with_dark_background(head_hu) is head_hu
    filled = np.random.default_rng(0).integers(5, 200, (48, 48, 48)).astype(np.float32)
    assert with_dark_background(filled) is filled


def test_a_lone_voxel_with_the_value_of_the_background_is_tissue():
    mr = np.where(ball(18), np.arange(48.0), 24.5).astype(np.float32)
    mr[24, 24, 30] = 24.5
    dark = with_dark_background(mr)
    assert dark[24, 24, 30] == 24.5 and dark[0, 0, 0] < 9


def test_the_body_of_a_real_mr_matches_that_of_its_ct(real_data):
    pair = real_data / "pairs" / "colin27_phantom"
    mr, ct = (read_volume(pair / name) for name in ("mr_colin27_t1.nii.gz", "ct_synthetic_hu_DERIVED.nii.gz"))
    from_mr, from_ct = mr_body_mask(mr.array, mr.spacing_mm), ct_body_mask(ct.array, ct.spacing_mm)
    assert 2 * (from_mr & from_ct).sum() / (from_mr.sum() + from_ct.sum()) > 0.95


def test_the_gap_between_a_body_and_the_border_is_no_body_but_a_cut_body_reaches_the_border(head_hu):
    close, cut = head_hu[:, 4:], head_hu[:, :, 12:]
    assert np.array_equal(ct_body_mask(close, SPACING), ball(18)[:, 4:])
    assert np.array_equal(ct_body_mask(cut, SPACING), ball(18)[:, :, 12:])


def test_fine_voxels_are_gathered_and_give_the_outline_of_coarse_ones():
    shape, centre = (96, 100, 110), (47.0, 50.0, 54.0)
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    inside = np.asarray(sum((axis - c) ** 2 for axis, c in zip(grid, centre, strict=True))) <= 40**2
    noise = np.random.default_rng(0).normal(0, 10, shape)
    body = ct_body_mask((np.where(inside, 40.0, -1000.0) + noise).astype(np.float32), (0.5, 0.9, 1.0))
    assert (body ^ inside).sum() < 0.2 * 4 * np.pi * 40**2  # a fifth of a voxel on average


@pytest.mark.parametrize(
    "spacing", [(1e-9, 1e-9, 1e-9), (1e-9, 1, 1), (2, 1e-3, 2000), (1, 1, 1e6), (1e3, 1e3, 1e3), (0.08, 0.08, 6)]
)
def test_no_spacing_of_a_header_needs_much_memory(spacing):
    tracemalloc.start()
    mask = mr_body_mask(ball(18).astype(np.float32), spacing)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.shape == (48, 48, 48) and most < 2**26


def test_depth_grows_inwards_in_mm_and_a_cut_side_is_no_skin():
    """A block of 20 x 12 x 30 mm: the nearest face decides, whatever the voxels' sides."""
    mask, spacing_mm = np.ones((10, 12, 10), bool), (2.0, 1.0, 3.0)
    places_mm = [mm * (np.arange(n) + 1) for n, mm in zip(mask.shape, spacing_mm, strict=True)]
    nearest = np.min(np.meshgrid(*(np.minimum(each, each[::-1]) for each in places_mm), indexing="ij"), axis=0)
    depth = depth_below_skin(mask, spacing_mm, [(False, False)] * 3)
    np.testing.assert_allclose(depth, nearest / nearest.max())
    open_below = depth_below_skin(mask, spacing_mm, [(False, False), (False, False), (True, False)])
    assert (np.diff(open_below[5, 5, :4]) == 0).all() and open_below[5, 5, 0] > depth[5, 5, 0]
    everywhere = depth_below_skin(mask, spacing_mm, [(True, True)] * 3)
    np.testing.assert_allclose(everywhere, depth)
