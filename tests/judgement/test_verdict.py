from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.cache import cached_volume, fingerprint
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.judgement.verdict import Quality, judge
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.prepare.preprocess import prepare, turn_back
from cyclegan_gc.prepare.statistics import case_statistics

SETTINGS = PreprocessConfig()


@dataclass(frozen=True)
class Example:
    """A held-out MR with its true CT, and statistics of the training sets."""

    mr: np.ndarray
    mask: np.ndarray
    hu: np.ndarray
    affine: np.ndarray
    facts: dict
    known: dict

    def judged(self, hu: np.ndarray, cycle_error: float = 0.4, facts: dict | None = None) -> Quality:
        hu = np.clip(hu, -1000, 1500).astype(np.int16)
        facts = facts or self.facts
        return judge(self.mr, self.mask, hu, self.affine, self.known, mr_facts=facts, cycle_error=cycle_error)


@pytest.fixture(scope="module")
def example(phantoms, tmp_path_factory) -> Example:
    cache = tmp_path_factory.mktemp("cache")
    mr, ct = (
        [cached_volume([source_of(path)], m, SETTINGS, cache) for path in sorted((phantoms / m).iterdir())]
        for m in ("mr", "ct")
    )
    volume, true = (read_volume(next((phantoms / "test" / m).iterdir())) for m in ("mr", "ct"))
    case = prepare(volume, "mr", SETTINGS)
    mask = turn_back(case.mask, case).astype(bool)
    hu = np.where(mask, true.array, -1000)
    known = fingerprint(mr, ct, SETTINGS)
    return Example(volume.array, mask, hu, volume.affine, case_statistics(case, volume.array), known)


def facts_of(path: Path) -> dict:
    volume = read_volume(path)
    return case_statistics(prepare(volume, "mr", SETTINGS), volume.array)


def test_a_true_ct_passes(example):
    assert example.judged(example.hu).verdict == "pass"


FAULTS = {
    "contrast inverted": (lambda e: np.where(e.mask, 1000 - e.hu, -1000), "HU are distributed"),
    "displaced by 5 voxels": (lambda e: np.roll(e.hu, 5, 1), "displaced"),
    "constant": (lambda e: np.where(e.mask, 40, -1000), "edges"),
    "air alone": (lambda e: np.full(e.hu.shape, -1000), "outlines"),
    "noise": (lambda e: np.where(e.mask, np.random.default_rng(0).normal(40, 300, e.hu.shape), -1000), "edges"),
    "the MR itself": (lambda e: np.where(e.mask, e.mr / e.mr.max() * 2500 - 1000, -1000), "HU are distributed"),
    "no bone": (lambda e: np.where(e.hu > 200, 40, e.hu), "bone takes up 0%"),
    "slices backwards": (lambda e: e.hu[:, :, ::-1], "outlines"),
    "half of it blank": (lambda e: np.where(np.arange(e.hu.shape[2]) < e.hu.shape[2] // 2, e.hu, -1000), "outlines"),
}


@pytest.mark.parametrize(("fault", "reason"), FAULTS.values(), ids=list(FAULTS))
def test_a_planted_fault_is_implausible_with_its_reason(fault, reason, example):
    quality = example.judged(fault(example))
    assert quality.verdict == "implausible" and any(reason in each for each in quality.reasons), quality.reasons


def inside(example: Example, mm: float) -> np.ndarray:
    """The body without a rim of ``mm``."""
    spacing_mm = np.linalg.norm(example.affine[:3, :3], axis=0)
    return np.asarray(distance_transform_edt(example.mask, spacing_mm)) > mm


def upper_left(example: Example) -> np.ndarray:
    """The left half of the upper half of the grid, in RAS."""
    places = np.moveaxis(np.indices(example.hu.shape), 0, -1) @ example.affine[:3, :3].T + example.affine[:3, 3]
    middle = places[example.mask].mean(axis=0)
    return (places[..., 0] < middle[0]) & (places[..., 2] > middle[2])


ANATOMY = {
    "a hole": (lambda e: np.where(upper_left(e) & (e.hu > 200), 40, e.hu), "holes in the skull vault"),
    "specks": (
        lambda e: np.where(inside(e, 40) & (np.indices(e.hu.shape).sum(0) % 4 == 0), 900, e.hu),
        "inside the brain",
    ),
    "a thick skull": (
        lambda e: np.where(inside(e, 4) & ~inside(e, 22), np.maximum(e.hu, 700), e.hu),
        "mm thick",
    ),
}


@pytest.mark.parametrize(("fault", "reason"), ANATOMY.values(), ids=list(ANATOMY))
def test_a_head_that_nobody_has_does_not_pass(fault, reason, example):
    quality = example.judged(fault(example))
    assert quality.verdict != "pass" and any(reason in each for each in quality.reasons), quality


def test_a_checkpoint_without_the_anatomy_of_its_cts_still_judges(example):
    known = {name: value for name, value in example.known.items() if name not in ("ct_depth", "ct_skulls")}
    assert {"depth_hu", "vault_mm"} <= example.judged(example.hu).figures.keys()
    assert "depth_hu" not in replace(example, known=known).judged(example.hu).figures


def test_200_hu_too_much_do_not_pass(example):
    assert example.judged(np.where(example.mask, example.hu + 200, -1000)).verdict != "pass"


def test_a_high_cycle_error_is_implausible(example):
    assert example.judged(example.hu, cycle_error=0.95).verdict == "implausible"


def test_another_part_of_the_body_is_named(example, tmp_path):
    write_phantoms(tmp_path, subjects=1, test_subjects=1, seed=3, kind="pelvis")
    quality = example.judged(example.hu, facts=facts_of(next((tmp_path / "test" / "mr").iterdir())))
    assert quality.verdict != "pass" and any("mm side to side" in reason for reason in quality.reasons)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_slice_is_judged_whatever_its_plane(axis, example):
    middle = tuple(slice(n // 2, n // 2 + 1) if a == axis else slice(None) for a, n in enumerate(example.hu.shape))
    mr, mask, hu = (np.ascontiguousarray(x[middle]) for x in (example.mr, example.mask, example.hu))
    quality = judge(
        mr, mask, hu.astype(np.int16), example.affine, example.known, mr_facts=example.facts, cycle_error=0.4
    )
    assert quality.figures["gc"] > 0.2
