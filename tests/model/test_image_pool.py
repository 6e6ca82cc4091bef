import torch

from cyclegan_gc.model.image_pool import ImagePool


def images(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def test_a_pool_of_size_zero_passes_every_batch_through():
    batch = images(1, 2, 3)
    assert torch.equal(ImagePool(0).exchange(batch), batch)


def test_a_pool_passes_images_through_until_it_is_full_and_then_returns_older_ones():
    pool = ImagePool(4, seed=1)
    assert torch.equal(pool.exchange(images(0, 1, 2, 3)), images(0, 1, 2, 3))
    returned = torch.cat([pool.exchange(images(n)) for n in range(4, 204)]).flatten()
    older = returned != torch.arange(4.0, 204.0)
    assert 70 <= older.sum() <= 130
    assert (returned[older] < torch.arange(4.0, 204.0)[older]).all()


def test_no_image_comes_back_from_the_pool_twice():
    pool = ImagePool(5, seed=2)
    returned = torch.cat([pool.exchange(images(n)) for n in range(200)]).flatten()
    stored = torch.stack(pool.state_dict()["images"]).flatten()
    older = returned[returned != torch.arange(200.0)]
    assert len(set(older.tolist())) == len(older)
    assert not set(older.tolist()) & set(stored.tolist())


def test_a_restored_pool_continues_as_if_never_stopped():
    pool, other = ImagePool(3, seed=3), ImagePool(3, seed=99)
    pool.exchange(images(*range(10)))
    other.load_state_dict(pool.state_dict(), torch.device("cpu"))
    later = images(*range(10, 40))
    assert torch.equal(pool.exchange(later), other.exchange(later))


def test_what_a_pool_returns_carries_no_gradient():
    assert not ImagePool(2).exchange(images(1.0).requires_grad_() * 2).requires_grad
