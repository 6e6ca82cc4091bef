"""HU to the networks' range and back."""

import pytest
import torch

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.prepare.hu import from_hu, to_hu

SETTINGS = {
    "linear": PreprocessConfig(),
    "soft tissue": PreprocessConfig(soft_tissue_hu=(-200.0, 300.0)),
    "narrow": PreprocessConfig(ct_window_hu=(-150.0, 350.0), soft_tissue_hu=(0.0, 80.0)),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_there_and_back_is_the_window(settings):
    hu = torch.linspace(-1500, 3000, 4501)
    unit = from_hu(hu, torch.ones_like(hu, dtype=torch.bool), settings)
    assert unit.min() == -1 and unit.max() == 1 and (unit.diff() >= 0).all()
    torch.testing.assert_close(to_hu(unit, settings), hu.clamp(*settings.ct_window_hu), rtol=0, atol=1e-3)


def test_soft_tissue_takes_half_of_the_range():
    hu = torch.tensor([-1000.0, -200.0, 50.0, 300.0, 1500.0])
    unit = from_hu(hu, torch.ones(5, dtype=torch.bool), SETTINGS["soft tissue"])
    torch.testing.assert_close(unit, torch.tensor([-1.0, -0.6, -0.1, 0.4, 1.0]))


def test_outside_the_mask_is_air_and_the_input_stays_as_it_was():
    hu = torch.full((3,), 40.0)
    unit = from_hu(hu, torch.tensor([True, False, True]), SETTINGS["linear"])
    assert unit[1] == -1 and unit[0] > -1 and (hu == 40).all()


@pytest.mark.parametrize("soft", [(-1000.0, 300.0), (-200.0, 1500.0), (300.0, -200.0)])
def test_a_soft_tissue_range_beyond_the_window_is_refused(soft):
    with pytest.raises(UserError, match=r"--preprocess\.soft_tissue_hu must"):
        PreprocessConfig(soft_tissue_hu=soft)
