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


def test_where_not_even_one_slice_fits_the_error_is_the_devices():
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        Passes(4).run(SmallMemory(0), torch.rand(2, 1, 4, 4))


def test_another_error_is_not_taken_for_a_lack_of_memory():
    passes = Passes(4)
    with pytest.raises(ValueError, match="multiples"):
        passes.run(ResnetGenerator(4, 1), torch.rand(2, 1, 18, 18))
    assert passes.batch_size == 4
