"""N4 finds and removes a planted field, in training and in conversion."""

from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.prepare.bias_field import bias_field
from cyclegan_gc.prepare.preprocess import prepare, turn_back
from cyclegan_gc.prepare.transforms import volume_transforms

N4 = PreprocessConfig(n4=True)


@pytest.fixture(scope="module")
def head(phantoms):
    """An MR, its body, the voxel size and a planted field of +-35 %."""
    path = sorted((phantoms / "test" / "mr").iterdir())[0]
    volume = read_volume(path)
    labels = np.asarray(nib.Nifti1Image.from_filename(phantoms / "test" / "labels" / path.name).dataobj)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in volume.array.shape), indexing="ij")
    field = np.exp(0.3 * axes[0] - 0.15 * axes[1] ** 2)
    return volume, labels > 0, (field / field[labels > 0].mean()).astype(np.float32)


def test_a_planted_field_is_found(head):
    volume, body, field = head
    every_second = (slice(None, None, 2),) * 3  # enough, and three times as fast
    array, body, field = (each[every_second] for each in (volume.array, body, field))
    x, y, z = volume.spacing_mm
    before, after = (bias_field(image, body, (2 * x, 2 * y, 2 * z)) for image in (array, array * field))
    assert after.dtype == np.float32 and after[body].mean() == pytest.approx(1, abs=1e-4)
    # The phantom has a field of its own, so the planted one is the quotient.
    found = np.log(after / before)[body]
    assert np.corrcoef(found, np.log(field)[body])[0, 1] > 0.95
    assert np.std(found - np.log(field)[body]) < 0.3 * np.std(np.log(field)[body])


@pytest.mark.slow
def test_the_network_sees_nearly_the_same_with_and_without_the_field(head):
    volume, body, field = head
    worse = replace(volume, array=volume.array * field)
    differences = []
    for settings in (PreprocessConfig(), N4):
        cases = [prepare(each, "mr", settings) for each in (volume, worse)]
        differences.append(np.abs(np.subtract(*(turn_back(case.image, case) for case in cases)))[body].mean())
    assert differences[1] < 0.35 * differences[0]


@pytest.mark.slow
def test_one_hot_voxel_changes_nothing_much(head):
    volume, body, _ = head
    hot = volume.array.copy()
    hot[tuple(np.argwhere(body)[1234])] = 1e6
    before, after = (bias_field(array, body, volume.spacing_mm) for array in (volume.array, hot))
    assert np.abs(after - before)[body].max() < 0.05


@pytest.mark.slow
def test_the_same_volume_gives_the_same_field_each_time(head):
    volume, body, _ = head
    one, other = (bias_field(volume.array, body, volume.spacing_mm) for _ in range(2))
    assert np.array_equal(one, other)


@pytest.mark.slow
def test_training_and_conversion_apply_the_same_correction(phantoms):
    path = sorted((phantoms / "test" / "mr").iterdir())[0]
    volume = read_volume(path)
    loaded: Any = volume_transforms("mr", N4)({"image": str(path)})
    case = prepare(volume, "mr", N4)
    assert np.array_equal(loaded["image"].numpy(), case.image.numpy())


def test_no_body_has_no_field(head):
    volume, body, _ = head
    assert (bias_field(volume.array, np.zeros_like(body), volume.spacing_mm) == 1).all()
