import numpy as np
import pytest

from cyclegan_gc.metrics.cycle import cycle_error


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).gamma(2, 1, (40, 40)).astype(np.float32)


CONTRASTS = {"same": lambda x: x, "another unit": lambda x: 900 * x + 7, "another scanner": np.sqrt, "gamma": np.square}


@pytest.mark.parametrize("contrast", CONTRASTS.values(), ids=list(CONTRASTS))
def test_a_recovered_image_of_any_increasing_contrast_costs_nothing(contrast, image):
    assert cycle_error(image, contrast(image)) < 1e-6


def test_nothing_recovered_costs_1_and_so_does_an_inverted_contrast(image):
    noise = np.random.default_rng(1).normal(size=image.shape)
    for lost in (np.zeros_like(image), noise, -image):
        assert cycle_error(image, lost) == pytest.approx(1, abs=0.05)
    assert cycle_error(image[:0], image[:0]) == 1


def test_the_error_grows_with_the_noise_and_shrinks_for_no_map_of_the_contrast(image):
    noise = np.random.default_rng(1).normal(size=image.shape)
    errors = [cycle_error(image, image + share * noise) for share in (0, 0.2, 0.5, 1, 2)]
    assert errors == sorted(errors)
    assert errors[2] == pytest.approx(cycle_error(image, np.exp(image + 0.5 * noise)), abs=0.01)
