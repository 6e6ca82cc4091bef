"""Faults planted in phantoms are found, good volumes pass, and the findings on the public heads are right."""

import numpy as np
import pytest
from audited_cases import SETTINGS, SUBJECT, audited, facts_of, found_in
from scipy import ndimage

from cyclegan_gc.audit.findings import Audited, find_faults
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import volume_on_grid
from cyclegan_gc.phantom.subject import make_subject
from cyclegan_gc.prepare.modality import Modality, check_values
from cyclegan_gc.prepare.preprocess import prepare, turn_back

UP, BACK = (int(np.abs(SUBJECT.affine[row, :3]).argmax()) for row in (2, 1))


def slices_up(array):
    """A view whose last axis runs through the axial slices, whichever way."""
    return np.moveaxis(array, UP, -1)


def quantised(ct):
    return np.round(ct / 16) * 16


def cut_bone(ct):
    return np.minimum(ct, 255)


def without_rescale_but_padded(ct):
    ring = np.ones(ct.shape, dtype=bool)
    ring[3:-3, 3:-3, 3:-3] = False
    return np.where(ring, -2000, ct + 1024)


def with_metal(ct):
    filled = ct.astype(float)
    middle = tuple(n // 2 for n in ct.shape)
    filled[tuple(slice(m, m + 3) for m in middle)] = 8000
    return filled


def at_the_top_of_the_scale(ct):
    filled = ct.astype(float)
    filled[tuple(slice(n // 2, n // 2 + 5) for n in ct.shape)] = 3071
    return filled


def with_a_blank_slice(array):
    blank = array.copy()
    view = slices_up(blank)
    view[..., view.shape[-1] // 2] = view.min()
    return blank


def with_a_repeated_slice(array):
    twice = array.copy()
    view = slices_up(twice)
    view[..., view.shape[-1] // 2] = view[..., view.shape[-1] // 2 + 1]
    return twice


def without_some_slices(array):
    middle = int(0.6 * array.shape[UP])
    return np.delete(array, slice(middle, middle + 6), axis=UP)


def cut_at_the_back(array):
    size = array.shape[BACK]
    return array.take(range(size // 4, 3 * size // 4), axis=BACK)


FAULTS = {
    "16 HU between values": ("ct", quantised, "coarse steps", "warn"),
    "bone cut at 255": ("ct", cut_bone, "clipped", "fail"),
    "bone cut at 1000": ("ct", lambda ct: np.minimum(ct, 1000), "clipped", "warn"),
    "no rescale, padding": ("ct", without_rescale_but_padded, "not in HU", "fail"),
    "air cut at -500": ("ct", lambda ct: np.maximum(ct, -500), "not in HU", "fail"),
    "air at -800": ("ct", lambda ct: np.maximum(ct, -800), "air", "warn"),
    "metal": ("ct", with_metal, "metal", "warn"),
    "scale ends in metal": ("ct", at_the_top_of_the_scale, "metal", "warn"),
    "blank slice": ("mr", with_a_blank_slice, "blank slices", "warn"),
    "repeated slice": ("ct", with_a_repeated_slice, "repeated slices", "warn"),
    "missing slices of CT": ("ct", without_some_slices, "missing slices", "warn"),
    "missing slices of MR": ("mr", without_some_slices, "missing slices", "warn"),
    "cut off": ("ct", cut_at_the_back, "cut off", "warn"),
    "one slice": ("mr", lambda mr: mr.take([mr.shape[UP] // 2], axis=UP), "few slices", "warn"),
}


@pytest.mark.parametrize(("modality", "plant", "check", "level"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found_and_named(modality, plant, check, level):
    whole = SUBJECT.ct if modality == "ct" else SUBJECT.mr
    assert check not in found_in(audited(whole, modality))
    assert found_in(audited(plant(whole), modality))[check] == level


@pytest.mark.parametrize(("kind", "seed"), [("head", 0), ("head", 1), ("head", 2), ("pelvis", 0), ("pelvis", 2)])
def test_a_good_phantom_passes(kind, seed):
    subject = make_subject(seed, kind)
    cases = (audited(array, name, subject.affine) for name, array in (("mr", subject.mr), ("ct", subject.ct)))
    assert found_in(*cases) == {}


def test_a_z_scored_mr_with_a_background_of_0_passes_with_a_note():
    body = prepare(volume_on_grid(SUBJECT.mr, SUBJECT.affine), "mr", SETTINGS)
    mask = turn_back(body.mask, body)
    inside = SUBJECT.mr[mask]
    scored = audited(np.where(mask, (SUBJECT.mr - inside.mean()) / inside.std(), 0), "mr")
    assert {each.check: each.level for each in find_faults([scored], SETTINGS)} == {"background": "pass"}
    assert not find_faults([audited(SUBJECT.mr, "mr")], SETTINGS)


def test_padding_and_a_couch_apart_from_the_body_pass_with_a_note():
    ct = SUBJECT.ct.astype(float)
    planes = np.moveaxis(ct, BACK, 0)
    edge = 0 if SUBJECT.affine[1, BACK] > 0 else -3
    planes[edge : edge + 2] = 100
    ct[..., :2] = -3024
    levels = {each.check: each.level for each in find_faults([audited(ct, "ct")], SETTINGS)}
    assert levels["couch"] == levels["padding"] == "pass" and "fail" not in levels.values()


def test_a_couch_joined_to_the_body_is_found():
    ct = np.moveaxis(SUBJECT.ct.astype(float), BACK, 0)
    tissue = (ct > -300).any(axis=(1, 2)).nonzero()[0]
    at = tissue[0] if SUBJECT.affine[1, BACK] > 0 else tissue[-1]
    plate = np.random.default_rng(0).normal(50, 20, (7, *ct.shape[1:]))
    ct[at - 3 : at + 4] = np.maximum(ct[at - 3 : at + 4], plate)
    findings = find_faults([audited(np.moveaxis(ct, 0, BACK), "ct")], SETTINGS)
    assert [each.check for each in findings if each.level == "warn"] == ["couch joined"]


def test_a_bright_side_of_an_mr_is_found():
    ramp = np.linspace(-1, 1, SUBJECT.mr.shape[UP]).reshape([-1 if axis == UP else 1 for axis in range(3)])
    across = np.linspace(-1, 1, SUBJECT.mr.shape[BACK]).reshape([-1 if axis == BACK else 1 for axis in range(3)])
    even, uneven = facts_of(SUBJECT.mr, "mr"), audited(SUBJECT.mr * np.exp(0.9 * across + 0.5 * ramp), "mr")
    assert "bias field" in found_in(uneven)
    assert uneven.facts and uneven.facts["brightness_ratio"] > 1.4 * even["brightness_ratio"]


def test_thick_slices_and_tiny_ones_are_named():
    flat = SUBJECT.affine @ np.diag([4.0 if axis == UP else 1.0 for axis in range(3)] + [1.0])
    assert found_in(audited(SUBJECT.mr, "mr", flat))["thick slices"] == "warn"
    small = ndimage.zoom(SUBJECT.ct, [1 if axis == UP else 0.15 for axis in range(3)], order=1)
    assert found_in(audited(small, "ct"))["tiny"] == "fail"


def test_a_stack_may_be_thin_across_the_plane_that_is_trained_on():
    middle = SUBJECT.mr.shape[BACK] // 2
    stack = audited(SUBJECT.mr.take(range(middle - 7, middle + 8), axis=BACK), "mr")
    coronal, axial = (
        {each.check for each in find_faults([stack], SETTINGS, [plane]) if each.level == "fail"}
        for plane in ("coronal", "axial")
    )
    assert "tiny" not in coronal and "tiny" in axial


@pytest.mark.parametrize("mm", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("modality", ["mr", "ct"])
def test_single_fine_slices_are_measured(mm, modality):
    array = SUBJECT.mr if modality == "mr" else SUBJECT.ct
    facts = facts_of(array.take([array.shape[UP] // 2], axis=UP), modality, np.diag([mm, mm, mm, 1.0]))
    assert facts["area_cm2"] > 0


def test_a_large_patient_among_torsos_is_a_warning_and_a_head_a_failure():
    facts = {"mr": facts_of(SUBJECT.mr, "mr"), "ct": facts_of(SUBJECT.ct, "ct")}

    def case(name: str, modality: Modality, area: float) -> Audited:
        return Audited(name, modality, facts={**facts[modality], "area_cm2": area, "content": name})

    mr = [case(f"mr{n}", "mr", area) for n, area in enumerate((520, 600, 640, 660))]
    ct = [case(f"ct{n}", "ct", area) for n, area in enumerate((560, 610, 650))]
    for odd, expected in ((case("large", "ct", 1250), "warn"), (case("head", "mr", 230), "fail")):
        found = find_faults([*mr, *ct, odd], SETTINGS)
        assert [(each.case, each.level) for each in found if each.check == "body part"] == [(odd.name, expected)]


def test_a_couch_does_not_hide_that_a_side_is_cut():
    facts = {**facts_of(SUBJECT.ct, "ct"), "plate_mm": 145.0}
    for right, expected in ((0.1, set()), (0.9, {"cut off"})):
        cut = {"front": 0.0, "back": 0.8, "right": right, "left": 0.1}
        found = find_faults([Audited("ct", "ct", facts={**facts, "cut": cut})], SETTINGS)
        assert {each.check for each in found if each.level == "warn"} == {"couch joined", *expected}


def test_the_other_modality_is_refused_before_anything_is_measured():
    with pytest.raises(VolumeError, match="look like CT"):
        check_values(SUBJECT.ct, "mr")
    eight_bits = np.clip(SUBJECT.ct / 10 + 100, 0, 255)
    for array, cause in ((SUBJECT.ct + 1024, "rescale intercept"), (eight_bits, "8 bits"), (SUBJECT.mr, "not a CT")):
        with pytest.raises(VolumeError, match=cause):
            check_values(array, "ct")
