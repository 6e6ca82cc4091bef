"""Neighbouring slices as channels, and training that begins with another run's weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.inference import prepare_for, translate_volume
from cyclegan_gc.model.cyclegan import Batch, Translations, consistency_losses
from cyclegan_gc.prepare.preprocess import prepare
from cyclegan_gc.train.loop import train
from cyclegan_gc.train.state import begin_with, build_state
from cyclegan_gc.trained_model import load_model, members_of


@pytest.fixture(scope="module")
def deep(small_config, tmp_path_factory) -> Path:
    """A run of 2.5-D."""
    data = replace(small_config.data, context_slices=1)
    return train(replace(small_config, output=tmp_path_factory.mktemp("deep"), data=data))


@pytest.fixture(scope="module")
def flat(small_config, tmp_path_factory) -> Path:
    """A run of single slices."""
    return train(replace(small_config, output=tmp_path_factory.mktemp("flat")))


def test_a_run_of_2_5_d_is_resumed_bit_for_bit(deep, small_config, tmp_path, same):
    config = replace(small_config, output=tmp_path, data=replace(small_config.data, context_slices=1))
    train(replace(config, stop_at=9))
    resumed, whole = load_checkpoint(train(replace(config, resume="auto"))), load_checkpoint(deep)
    assert all(same(resumed[part], whole[part]) for part in ("networks", "ema", "optimizers", "pools", "best_score"))


def test_a_model_of_2_5_d_converts_a_volume_on_its_own_grid(deep, phantoms):
    model = load_model(deep)
    assert model.translator.context == 1
    volume = read_volume(sorted((phantoms / "test" / "mr").iterdir())[0])
    result = translate_volume(members_of([model.translator]), volume)
    assert result.array.shape == volume.array.shape and np.ptp(result.array) > 0
    assert (result.array[~result.mask] == -1000).all()


def test_a_slice_is_the_mean_of_what_is_said_of_it(deep, flat, phantoms):
    """A network that hands its slices through gives the picture that one of single slices gives, ends included."""
    volume = read_volume(sorted((phantoms / "test" / "mr").iterdir())[0])
    results = []
    for path in (deep, flat):
        translator = replace(load_model(path).translator, generator=Through(), back=Through())
        results.append(translate_volume(members_of([translator]), volume))
    difference = np.abs(results[0].array - results[1].array)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3, "more than the rounding of a mean"
    assert results[0].cycle_error == pytest.approx(0, abs=1e-6)


class Through(nn.Module):
    """Hands its input through; has a parameter, as every network here."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The input."""
        return image


def test_gradient_consistency_looks_through_the_slices():
    """One slice of a slab made brighter as a whole changes no gradient within slices, but those through them."""
    random = torch.Generator().manual_seed(0)
    mr = torch.rand(1, 3, 16, 16, generator=random)
    mask = torch.ones(1, 3, 16, 16, dtype=torch.bool)
    brighter = mr + torch.tensor([0.0, 0.0, 5.0]).view(1, 3, 1, 1)

    def loss(real: torch.Tensor, fake: torch.Tensor, inside: torch.Tensor) -> float:
        images = Translations(fake, real, real, real)
        return float(consistency_losses(Batch(real, real, inside, inside), images)["gradient_mr"])

    assert loss(mr, mr, mask) == pytest.approx(0, abs=1e-4)
    assert all(
        loss(*(each[:, n, None] for each in (mr, brighter, mask))) == pytest.approx(0, abs=1e-4) for n in range(3)
    )
    assert loss(mr, brighter, mask) > 0.2


def test_a_new_run_begins_with_the_moving_averages_and_discriminators_of_another(flat, small_config):
    saved, state = load_checkpoint(flat), build_state(replace(small_config, seed=5), torch.device("cpu"))
    begin_with(state, saved)
    for name in ("mr_to_ct", "ct_to_mr"):
        averaged = saved["ema"][name]
        for network in (state.networks[name], state.averages[name].module):
            assert all(torch.equal(value, averaged[f"module.{key}"]) for key, value in network.state_dict().items())
    for name in ("ct_discriminator", "mr_discriminator"):
        weights = state.networks[name].state_dict()
        assert all(torch.equal(value, saved["networks"][name][key]) for key, value in weights.items())


def test_a_run_from_another_tells_whose_weights_it_began_with_but_not_where_they_lay(
    flat, small_config, tmp_path, same
):
    config = replace(small_config, output=tmp_path, init_from=flat, stop_at=2, seed=3)
    state = load_checkpoint(train(config))
    assert state["step"] == 2 and state["init_sha256"] == load_model(flat).sha256
    assert str(flat.parent).encode() not in (tmp_path / "last.pt").read_bytes()
    resumed = load_checkpoint(train(replace(config, resume="auto", stop_at=3)))
    assert resumed["step"] == 3 and resumed["init_sha256"] == state["init_sha256"]


def test_a_run_that_began_otherwise_is_not_continued_with_weights_to_begin_with(flat, small_config, tmp_path):
    config = replace(small_config, output=tmp_path, stop_at=1)
    train(config)
    for path, told in ((flat, "this run began with other weights"), (tmp_path / "none.pt", "cannot be read")):
        with pytest.raises(UserError, match=f"--init_from {path}: {told}"):
            train(replace(config, resume="auto", stop_at=2, init_from=path))
    assert load_checkpoint(tmp_path / "last.pt")["step"] == 1


@pytest.mark.parametrize(
    ("part", "change"),
    [("network", {"width": 8}), ("data", {"context_slices": 1}), ("preprocess", {"ct_window_hu": (-1000.0, 2000.0)})],
)
def test_weights_of_another_kind_are_refused_with_both(flat, small_config, tmp_path, part, change):
    other = replace(getattr(small_config, part), **change)
    config = replace(small_config, output=tmp_path, init_from=flat, **{part: other})
    (key, value), *_ = change.items()
    with pytest.raises(UserError, match=f"--init_from .*{part} .*'{key}'.* in that run and .*'{key}'.* in this one"):
        train(config)
    assert value is not None and not (tmp_path / "last.pt").exists()


@pytest.mark.slow
def test_n4_is_part_of_the_checkpoint_and_so_of_conversion(small_config, phantoms, tmp_path):
    settings = replace(small_config.preprocess, n4=True)
    model = load_model(train(replace(small_config, output=tmp_path, preprocess=settings, stop_at=1)))
    volume = read_volume(sorted((phantoms / "test" / "mr").iterdir())[0])
    (seen,) = prepare_for(members_of([model.translator]), volume)
    corrected, plain = (prepare(volume, "mr", each) for each in (settings, small_config.preprocess))
    assert torch.equal(seen.image, corrected.image) and not torch.equal(seen.image, plain.image)
