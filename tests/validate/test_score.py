"""The score without pairs: the truth scores best, and every part answers to its own fault."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion, gaussian_filter, shift

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.cache import cached_volume
from cyclegan_gc.data.planes import Stack
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.validate import fixed_slices
from cyclegan_gc.validate.fixed_slices import SLAB
from cyclegan_gc.validate.score import RealCT, Slabs, combined_score, unpaired_parts

SETTINGS = PreprocessConfig()
WINDOW = SETTINGS.ct_window_hu


@pytest.fixture(scope="module")
def slabs(phantoms, tmp_path_factory):
    """MR and true CT of the held-out phantom, both in the MR's body, and what the training CTs look like."""
    folder, crop = tmp_path_factory.mktemp("cache"), (80, 64)

    def of(path, modality):
        return fixed_slices.slabs([Stack(cached_volume([source_of(path)], modality, SETTINGS, folder), "axial")], crop)

    (test_mr,), (test_ct,) = (sorted((phantoms / "test" / kind).iterdir()) for kind in ("mr", "ct"))
    (mr, mask), (ct, _) = of(test_mr, "mr"), of(test_ct, "ct")
    others = [of(path, "ct") for path in sorted((phantoms / "ct").iterdir())]
    images, masks = (torch.cat(each) for each in zip(*others, strict=True))
    real = RealCT.of(Slabs.of(to_hu(images, SETTINGS), masks, SLAB), WINDOW)
    truth = Slabs.of(to_hu(torch.where(mask, ct, -1.0), SETTINGS), mask, SLAB)
    return Slabs.of(mr, mask, SLAB), truth, real


def changed(slabs: Slabs, function) -> Slabs:
    """Every slice changed inside its body, air outside."""
    images = np.stack([function(image) for image in slabs.values.reshape(-1, *slabs.values.shape[-2:])])
    return replace(slabs, values=np.where(slabs.mask, images.reshape(slabs.values.shape), -1000))


FAULTS = {
    "constant": lambda hu: np.full_like(hu, 40),
    "inverted": lambda hu: sum(WINDOW) - hu,
    "blurred": lambda hu: gaussian_filter(hu, 3),
    "displaced": lambda hu: shift(hu, (0, 6), order=0, cval=-1000),
    "turned": lambda hu: hu[::-1, ::-1],
    "without bone": lambda hu: np.minimum(hu, 200),
    "too much bone": lambda hu: np.where(hu > 0, hu + 250, hu),
    "shrunken": lambda hu: np.where(binary_erosion(hu > -400, iterations=4), hu, -1000),
    "noise": lambda hu: hu + np.random.default_rng(0).normal(0, 300, hu.shape),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_truth_scores_better_than_a_faulty_picture(slabs, fault):
    mr, truth, real = slabs
    parts = [unpaired_parts(mr, mr, sct, real, WINDOW) for sct in (truth, changed(truth, FAULTS[fault]))]
    assert combined_score(parts[0]) < combined_score(parts[1])


def test_the_truth_scores_better_than_the_mr_itself(slabs):
    mr, truth, real = slabs
    copy = Slabs(to_hu(torch.from_numpy(mr.values), SETTINGS).numpy(), mr.mask)
    scores = [combined_score(unpaired_parts(mr, mr, sct, real, WINDOW)) for sct in (truth, copy)]
    assert scores[0] < scores[1]


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        ("gradient", "displaced"),
        ("depth_histogram_hu", "inverted"),
        ("histogram_hu", "too much bone"),
        ("tissues", "without bone"),
        ("outline", "shrunken"),
    ],
)
def test_every_part_answers_to_its_own_fault(slabs, part, fault):
    mr, truth, real = slabs
    good, bad = (unpaired_parts(mr, mr, sct, real, WINDOW) for sct in (truth, changed(truth, FAULTS[fault])))
    assert bad[part] > 1.3 * good[part]


def test_slices_that_do_not_fit_together_are_rough(slabs):
    mr, truth, real = slabs
    flicker = np.random.default_rng(0).normal(0, 100, (*truth.values.shape[:2], 1, 1))
    rough = replace(truth, values=np.where(truth.mask, truth.values + flicker, -1000))
    good, bad = (unpaired_parts(mr, mr, sct, real, WINDOW)["roughness"] for sct in (truth, rough))
    assert bad > good + 0.3


def test_what_does_not_come_back_raises_the_cycle_only(slabs):
    mr, truth, real = slabs
    lost = Slabs(np.where(mr.mask, 0, mr.values), mr.mask)
    good, bad = (unpaired_parts(mr, back, truth, real, WINDOW) for back in (mr, lost))
    assert good["cycle"] == 0 < bad["cycle"]
    assert {**good, "cycle": bad["cycle"]} == bad


def test_real_cts_are_at_no_distance_from_themselves(slabs):
    mr, truth, _ = slabs
    parts = unpaired_parts(mr, mr, truth, RealCT.of(truth, WINDOW), WINDOW)
    for name in ("cycle", "depth_histogram_hu", "histogram_hu", "tissues", "roughness"):
        assert parts[name] == pytest.approx(0, abs=1e-9), name


def test_a_shift_of_all_values_is_the_distance_in_hu(slabs):
    """The witness is the definition: histograms moved by 100 HU lie 100 HU apart."""
    mr, truth, _ = slabs
    narrow = Slabs(np.clip(truth.values, -800, 1200), truth.mask)
    parts = unpaired_parts(mr, mr, replace(narrow, values=narrow.values + 100), RealCT.of(narrow, WINDOW), WINDOW)
    assert parts["depth_histogram_hu"] == pytest.approx(100, rel=0.02)
    assert parts["histogram_hu"] == pytest.approx(100, rel=0.02)


def test_the_order_of_theslabs_does_not_matter(slabs):
    mr, truth, real = slabs
    turned = [Slabs(each.values[::-1].copy(), each.mask[::-1].copy()) for each in (mr, truth)]
    one = unpaired_parts(mr, mr, truth, real, WINDOW)
    other = unpaired_parts(turned[0], turned[0], turned[1], real, WINDOW)
    assert other == pytest.approx(one, rel=1e-6)
