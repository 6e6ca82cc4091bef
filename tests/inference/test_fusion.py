from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from cyclegan_gc.config import Fusion, PreprocessConfig
from cyclegan_gc.inference.fusion import fuse, in_range_of
from cyclegan_gc.prepare.hu import from_hu, to_hu
from cyclegan_gc.trained_model import Translator

LINEAR = PreprocessConfig(ct_window_hu=(-1000, 1500))
MORE_ROOM = PreprocessConfig(ct_window_hu=(-1000, 1500), soft_tissue_hu=(-200, 300))


def fused(hu: np.ndarray, settings: PreprocessConfig, fusion: Fusion = "mean") -> tuple[np.ndarray, np.ndarray]:
    """Fused (N, ...) HU and their spread."""
    volumes = [from_hu(each, torch.ones(each.shape, dtype=torch.bool), settings) for each in torch.from_numpy(hu)]
    result, spread = fuse(volumes[0], volumes[1:], fusion, partial(to_hu, settings=settings))
    assert spread is not None
    return result.numpy(), spread.numpy()


@pytest.fixture
def volumes() -> np.ndarray:
    return np.random.default_rng(0).uniform(-900, 1400, (3, 4, 5, 6)).astype(np.float32)


def test_with_a_linear_window_it_is_the_mean_of_hu(volumes):
    mean, _ = fused(volumes, LINEAR)
    assert np.allclose(mean, volumes.mean(axis=0), atol=0.01)


@pytest.mark.parametrize("fusion", ["mean", "median"])
@pytest.mark.parametrize("settings", [LINEAR, MORE_ROOM], ids=["linear", "more room"])
def test_the_spread_is_that_of_hu(volumes, settings, fusion):
    _, spread = fused(volumes, settings, fusion)
    assert np.allclose(spread, volumes.std(axis=0), atol=0.01)


def test_bone_in_one_of_three_does_not_outvote_soft_tissue(volumes):
    votes = np.array([40, 40, 900], np.float32).reshape(3, 1)
    assert fused(votes, LINEAR)[0] > 250 > fused(votes, MORE_ROOM)[0]
    assert fused(votes, MORE_ROOM, "median")[0] == pytest.approx(40, abs=0.01)


def test_one_volume_has_no_spread(volumes):
    whole, spread = fuse(torch.from_numpy(volumes[0]), [], "mean", lambda volume: 2 * volume)
    assert spread is None and np.array_equal(whole.numpy(), 2 * volumes[0])


def test_models_of_other_windows_are_fused_as_hu(volumes):
    """The second model's range is brought to the first one's, not read as if it were."""
    one, other = (
        Translator(nn.Identity(), None, "mr_to_ct", each, ("axial",), 0, (), (4, 4), {}) for each in (MORE_ROOM, LINEAR)
    )
    hu = torch.from_numpy(volumes[0])
    seen = from_hu(hu, torch.ones_like(hu, dtype=torch.bool), LINEAR)
    assert np.allclose(to_hu(in_range_of(seen, other, one), MORE_ROOM), volumes[0], atol=0.05)
    assert in_range_of(seen, other, other) is seen
