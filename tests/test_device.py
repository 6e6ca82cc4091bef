"""The choice of a processor, with a GPU played by patches of torch itself: none is here."""

import pytest
import torch

from cyclegan_gc.device import choose_device
from cyclegan_gc.errors import UserError


@pytest.fixture
def two_gpus(monkeypatch) -> list[int]:
    """torch says that there are GPUs; the numbers of those that were chosen."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", lambda *_, device: device)
    monkeypatch.setattr(torch._C, "_cuda_setDevice", chosen.append, raising=False)
    return chosen


@pytest.mark.parametrize(
    ("name", "local_rank", "expected"), [("auto", None, 0), ("cuda", None, 0), ("cuda:1", None, 1), ("cuda", 1, 1)]
)
def test_a_gpu_is_always_chosen_by_its_number(two_gpus, name, local_rank, expected):
    assert choose_device(name, local_rank) == torch.device("cuda", expected)
    assert two_gpus == [expected]


def test_one_gpu_for_several_processes_is_refused(two_gpus):
    with pytest.raises(UserError, match="--device cuda:0: names one GPU for several processes"):
        choose_device("cuda:0", 1)


def test_a_missing_device_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"^--device cuda:97: not usable here .*; choose auto"):
        choose_device("cuda:97")
    with pytest.raises(UserError, match="--device gpu: "):
        choose_device("gpu")
