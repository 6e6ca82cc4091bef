import pytest
import torch
from torch import Tensor, nn

from cyclegan_gc.model.networks import ResnetGenerator
from cyclegan_gc.model.passes import Passes


class SmallMemory(nn.Module):
    """A device that holds few slices at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.weight = most, nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return images * 2


class FarWeight(nn.Parameter):
    """A weight that reports an accelerator as its device."""

    @property
    def device(self) -> torch.device:
        return torch.device("meta")

    def detach(self) -> Tensor:
        return super().detach().as_subclass(Tensor)


class FullAccelerator(nn.Module):
    """A network with a buffer that runs on the CPU only, because its accelerator is full."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight
        self.shift: Tensor
        self.register_buffer("shift", torch.tensor([3.0]))

    def forward(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return images * self.weight + self.shift


def test_batches_of_any_size_give_the_slices_in_their_order():
    torch.manual_seed(0)
    network, images = ResnetGenerator(4, 1).eval(), torch.rand(7, 1, 16, 16)
    whole = Passes(7).run(network, images)
    for size in (1, 3, 100):
        torch.testing.assert_close(Passes(size).run(network, images), whole, atol=1e-5, rtol=0)


def test_where_memory_is_short_the_batch_is_halved_and_no_slice_is_lost():
    passes, images = Passes(8), torch.rand(11, 1, 4, 4)
    assert torch.equal(passes.run(SmallMemory(3), images), images * 2)
    assert passes.batch_size == 2 and len(passes.notes) == 2


@pytest.mark.parametrize(
    "accelerator",
    ["stand-in", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))],
)
def test_where_the_accelerator_is_full_the_cpu_gives_the_result_and_the_callers_network_stays_where_it_is(accelerator):
    network = FullAccelerator(FarWeight(torch.tensor([2.0])))
    if accelerator == "cuda":
        network = FullAccelerator(nn.Parameter(torch.tensor([2.0]))).cuda()
    weight, shift, device = network.weight, network.shift, network.weight.device
    passes, images = Passes(4), torch.rand(5, 1, 4, 4)
    for _ in range(2):
        assert torch.equal(passes.run(network, images), images * 2 + 3)
    assert network.weight is weight and network.shift is shift and weight.device == device and weight.requires_grad
    assert [note.split()[-1] for note in passes.notes] == ["pass.", "pass.", "strips.", "CPU."]


def test_where_not_even_one_slice_fits_the_error_is_the_devices():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        Passes(4).run(SmallMemory(0), torch.rand(2, 1, 4, 4))


def test_another_error_is_not_taken_for_a_lack_of_memory():
    passes = Passes(4)
    with pytest.raises(ValueError, match="multiples"):
        passes.run(ResnetGenerator(4, 1), torch.rand(2, 1, 18, 18))
    assert passes.batch_size == 4


def test_a_network_without_weights_runs_on_the_cpu():
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(Passes(2).run(nn.Identity(), images), images)
