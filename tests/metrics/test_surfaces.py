import numpy as np
import pytest
import torch
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_distance import compute_average_surface_distance
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from cyclegan_gc import metrics

SPACING_MM = (1.0, 1.5, 3.0)


def batched(mask: np.ndarray) -> torch.Tensor:
    """``(1, 1, X, Y, Z)``, as MONAI wants it."""
    return torch.from_numpy(mask)[None, None]


def hd95_of_monai(a: np.ndarray, b: np.ndarray) -> float:
    return compute_hausdorff_distance(batched(a), batched(b), True, percentile=95, spacing=SPACING_MM).item()


def dice_of_monai(a: np.ndarray, b: np.ndarray) -> float:
    return compute_dice(batched(a), batched(b)).item()


@pytest.mark.parametrize("seed", range(4))
def test_surface_distances_agree_with_brute_force_and_monai(seed):
    rng = np.random.default_rng(seed)
    a, b = (np.zeros((14, 12, 10), bool) for _ in range(2))
    a[2:9, 3:9, :6], b[3:14, 2:8, 2:7] = rng.random((7, 6, 6)) < 0.9, rng.random((11, 6, 5)) < 0.8
    found = metrics.surface_distances(a, b, SPACING_MM)

    surface_a, surface_b = (np.argwhere(m & np.logical_not(binary_erosion(m))) * SPACING_MM for m in (a, b))
    distances = cdist(surface_a, surface_b)
    directed = [distances.min(axis=axis) for axis in (0, 1)]
    assert found["hd95"] == pytest.approx(max(np.percentile(each, 95) for each in directed))
    assert found["assd"] == pytest.approx(np.concatenate(directed).mean())
    assert found["hd95"] == pytest.approx(hd95_of_monai(a, b), rel=1e-5)
    assd = compute_average_surface_distance(batched(a), batched(b), True, symmetric=True, spacing=SPACING_MM)
    assert found["assd"] == pytest.approx(assd.item())


@pytest.mark.parametrize("axis", range(3))
def test_a_shifted_slab_of_bone_is_as_far_off_as_its_shift(axis):
    ct = np.zeros((24, 24, 24))
    ct.swapaxes(0, axis)[6:8] = 1000
    shifted = np.roll(ct, 3, axis=axis)
    inside = np.ones(ct.shape, bool)
    assert metrics.bone_distances(shifted, ct, inside, SPACING_MM) == {
        "hd95": pytest.approx(3 * SPACING_MM[axis]),
        "assd": pytest.approx(2.5 * SPACING_MM[axis]),
    }


def test_dice_is_symmetric_and_counts_the_overlap():
    a, b = np.zeros((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    a[:2], b[1:4] = True, True
    assert metrics.dice(a, b) == metrics.dice(b, a) == 2 * 16 / (32 + 48) == pytest.approx(dice_of_monai(a, b))


def test_bone_is_what_lies_above_250_hu_in_the_mask(rng):
    sct, ct = rng.choice([-1000, 0, 249, 250, 251, 900], (2, 9, 8, 7))
    mask = rng.random(ct.shape) < 0.7
    bone = [np.isin(each, (251, 900)) & mask for each in (sct, ct)]
    assert metrics.bone_dice(sct, ct, mask) == pytest.approx(dice_of_monai(*bone))
    assert metrics.bone_distances(sct, ct, mask, SPACING_MM)["hd95"] == pytest.approx(hd95_of_monai(*bone))


def test_missing_bone_is_no_overlap_and_no_distance(case):
    _, ct, mask = case
    flat = np.zeros_like(ct)
    assert metrics.bone_dice(flat, ct, mask) == 0
    assert metrics.bone_dice(flat, flat, mask) is None
    assert metrics.bone_distances(flat, ct, mask, SPACING_MM) == {"hd95": None, "assd": None}


def test_bone_outside_the_mask_does_not_count(case):
    _, ct, mask = case
    assert metrics.bone_dice(np.where(mask, ct, 2000), ct, mask) == 1


def test_labels_are_compared_one_by_one(rng):
    truth, predicted = (rng.integers(0, 4, (12, 10, 8)) * (rng.random((12, 10, 8)) < 0.7) for _ in range(2))
    predicted[predicted == 2], truth[truth == 3] = 0, 700
    found = metrics.label_overlaps(predicted, truth, SPACING_MM)
    assert list(found) == [1, 2, 700]
    assert found[1]["dice"] == pytest.approx(dice_of_monai(predicted == 1, truth == 1))
    assert found[1]["hd95"] == pytest.approx(hd95_of_monai(predicted == 1, truth == 1))
    assert found[2] == found[700] == {"dice": 0, "hd95": None}


def test_a_map_of_background_only_has_no_labels():
    empty = np.zeros((4, 4, 4), np.uint16)
    assert metrics.label_overlaps(empty + 1, empty, SPACING_MM) == {}
    with pytest.raises(ValueError, match="one shape"):
        metrics.label_overlaps(empty, empty[1:], SPACING_MM)
