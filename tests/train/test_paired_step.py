"""Steps on registered pairs beside unpaired slices."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cyclegan_gc.config import DataConfig, LossConfig, PairedConfig, TrainConfig
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train.state import build_state
from cyclegan_gc.train.step import train_step


@pytest.fixture(scope="module")
def paired_config(small_config) -> TrainConfig:
    return replace(small_config, data=replace(small_config.data, pairs="nowhere"), paired=PairedConfig(every=3))


def random_batch(size: int, dtype: torch.dtype = torch.float32) -> Batch:
    images = torch.rand(2, size, 1, 32, 24, generator=torch.Generator().manual_seed(0), dtype=dtype) * 2 - 1
    mask = torch.ones(size, 1, 32, 24, dtype=torch.bool)
    return Batch(images[0], images[1], mask, mask)


def test_pairs_leave_the_other_generators_step_as_it_is(paired_config):
    """Only mr_to_ct and the discriminator of pairs feel the pairs."""
    batch = random_batch(2)
    states = [build_state(paired_config, torch.device("cpu")) for _ in range(2)]
    for state, pairs in zip(states, (None, batch), strict=True):
        train_step(state, batch, LossConfig(), pairs=pairs, paired=paired_config.paired)
    weights = [{name: nn.utils.parameters_to_vector(n.parameters()) for name, n in s.networks.items()} for s in states]
    equal = {name: torch.equal(value, weights[1][name]) for name, value in weights[0].items()}
    assert equal.pop("mr_to_ct") is equal.pop("pair_discriminator") is False and all(equal.values())


def test_parts_of_a_batch_of_pairs_equal_the_whole(paired_config):
    batch, results = random_batch(4, torch.float64), []
    for count in (1, 2):
        state = build_state(paired_config, torch.device("cpu"))
        for network in (*state.networks.values(), *state.averages.values()):
            network.double()
        for _ in range(2):
            figures = train_step(state, None, LossConfig(), pairs=batch, paired=paired_config.paired, parts=count)
        results.append({**dict(state.networks["mr_to_ct"].state_dict()), **figures})
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_settings_of_an_unpaired_run_are_what_they_were(small_config):
    assert DataConfig("MR", "CT").pairs is None and small_config.objective == "unpaired"
    assert set(build_state(small_config, torch.device("cpu")).networks) == {
        "mr_to_ct",
        "ct_to_mr",
        "ct_discriminator",
        "mr_discriminator",
    }
