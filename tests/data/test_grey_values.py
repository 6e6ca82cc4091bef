from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from cyclegan_gc.data import grey_values
from cyclegan_gc.data.grey_values import as_another_scanner, random_grey_values


@pytest.fixture
def image() -> Tensor:
    """A slice with all grey values, including white, surrounded by air."""
    image = torch.full((1, 48, 40), -1.0)
    image[:, 8:40, 6:34] = 2 * torch.rand(1, 32, 28, generator=torch.Generator().manual_seed(0)) - 1
    image[0, 20, 20] = 1
    return image


def changed(image: Tensor, strength: float = 1.0, contrasts: int = 1, seed: int = 0) -> Tensor:
    return as_another_scanner(image[None], [random_grey_values(contrasts, strength, np.random.default_rng(seed))])[0]


def test_strength_zero_changes_no_grey_value(image):
    torch.testing.assert_close(changed(image, strength=0), image)


@pytest.mark.parametrize("seed", range(8))
def test_air_stays_air_and_all_stays_in_the_unit_range(image, seed):
    result = changed(image, seed=seed)
    assert (result[image == -1] == -1).all()
    assert result.dtype == torch.float32 and result.min() >= -1
    assert float(result.max()) == pytest.approx(float(image.max()), abs=1e-5)


def test_the_change_depends_only_on_the_random_numbers_and_grows_with_the_strength(image):
    assert torch.equal(changed(image, seed=3), changed(image, seed=3))
    assert not torch.equal(changed(image, seed=3), changed(image, seed=4))
    sizes = [np.mean([(changed(image, s, seed=n) - image).abs().mean() for n in range(8)]) for s in (0.25, 0.5, 1)]
    assert sizes == sorted(sizes) and sizes[0] > 0.01


def test_the_field_does_not_change_the_maximum_of_a_dim_slice(image, monkeypatch):
    """Only the white of the whole scan is fixed, and a slice may not contain it."""
    dim = (image + 1) / 2 - 1
    brightest = [float(changed(dim, seed=seed).max()) for seed in range(8)]
    monkeypatch.setattr(grey_values, "BIAS_COEFFICIENT", 0.0)
    assert brightest == pytest.approx([float(changed(dim, seed=seed).max()) for seed in range(8)], abs=1e-5)
    assert len({round(value, 2) for value in brightest}) > 4


@pytest.mark.parametrize("seed", range(8))
def test_the_change_is_a_rising_curve_times_a_smooth_field(image, seed):
    """The field cancels in the ratio of two grey values at one place, which separates curve and field."""
    flat = [torch.full((1, 48, 40), 2 * grey - 1) for grey in (0.1, 0.2, 0.3, 0.4)]
    greys = [((changed(each, seed=seed) + 1) / 2).numpy().astype(float) for each in flat]
    unclipped = greys[-1] < 1
    ratios = [(brighter / darker)[unclipped] for darker, brighter in pairwise(greys)]
    assert all(ratio.mean() > 1 and ratio.std() < 1e-4 * ratio.mean() for ratio in ratios)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 40), indexing="ij")
    basis = np.polynomial.legendre.legvander2d(rows, columns, [3, 3])[unclipped[0]]
    field = np.log(greys[-1][unclipped])
    residual = field - basis @ np.linalg.lstsq(basis, field, rcond=None)[0]
    assert np.abs(residual).max() < 1e-4 < field.std()


def test_the_field_varies_as_much_from_left_to_right_as_from_top_to_bottom():
    fields = np.array([random_grey_values(1, 1.0, np.random.default_rng(seed)).bias for seed in range(400)])
    spread = fields.std(axis=0)
    np.testing.assert_allclose(spread, spread.T, atol=0.15 * spread.max())
    assert spread[0, 3] > 0.2 and spread[2, 2] == 0


def test_slices_of_a_slab_share_curve_and_field_and_contrasts_the_field_alone(image):
    slab = changed(image.expand(6, 48, 40).clone(), contrasts=2)  # three slices of two contrasts
    assert torch.equal(slab[0], slab[2]) and torch.equal(slab[1], slab[5])
    assert not torch.equal(slab[0], slab[1])
    assert torch.equal(slab[0], changed(image.expand(3, 48, 40).clone())[0])
    one, other = (changed(torch.full((2, 48, 40), -0.7), contrasts=2) + 1) / 2
    assert (one / other).std() < 1e-5 < one.std()
