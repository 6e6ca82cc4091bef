import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def case(rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic CT, true CT with air, soft tissue and bone (and some metal), and a mask that meets the border."""
    x, y, z = np.ogrid[-1:1:30j, -1:1:26j, -1:1:20j]
    radius = np.sqrt(x**2 + y**2 + 0.5 * z**2)
    ct = np.select([radius < 0.15, radius < 0.6, radius < 0.75, radius < 0.95], [-900.0, 40.0, 900.0, 0.0], -1000.0)
    ct = (ct + rng.normal(0, 20, ct.shape)).astype(np.float32)
    ct[12, 12, 10] = 9000
    return (ct + rng.normal(10, 80, ct.shape)).astype(np.float32), ct, radius < 0.95
