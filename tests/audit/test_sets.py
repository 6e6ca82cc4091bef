"""Faults of whole sets are found: copies, other body parts, other contrasts and pixel sizes."""

import nibabel as nib
import numpy as np
import pytest
from audited_cases import SETTINGS, SUBJECT, audited, found_in
from scipy import ndimage

from cyclegan_gc.audit.findings import Audited, find_faults, level_of
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.phantom.subject import make_subject


def resaved(array, axes="PIL"):
    """The same volume in another axis order: its array and affine."""
    image = nib.Nifti1Image(array.astype(np.float64), SUBJECT.affine)
    here, there = nib.orientations.io_orientation(SUBJECT.affine), nib.orientations.axcodes2ornt(axes)
    turned = image.as_reoriented(nib.orientations.ornt_transform(here, there).tolist())
    return np.asarray(turned.dataobj), turned.affine


def test_a_volume_saved_again_in_another_order_is_a_duplicate():
    first, second = audited(SUBJECT.mr, "mr", name="a"), audited(*_with("mr", *resaved(SUBJECT.mr)), name="b")
    (duplicate,) = [each for each in find_faults([first, second], SETTINGS) if each.level != "pass"]
    assert (duplicate.level, duplicate.check, duplicate.case) == ("warn", "duplicate", "b")
    assert "mr/a" in duplicate.text


def test_a_copy_on_both_sides_of_the_split_is_a_leak():
    first, second = audited(SUBJECT.mr, "mr", name="a"), audited(SUBJECT.mr, "mr", name="b", held_out=True)
    assert found_in(first, second) == {"leak": "fail"}


def test_a_copy_in_both_domains_is_a_leak_though_one_of_them_cannot_be_used():
    ct = audited(SUBJECT.ct, "ct", name="a")
    stray = Audited("b", "mr", facts=ct.facts, failure="looks like CT")
    assert found_in(ct, stray) == {"leak": "fail", "unusable": "fail"}


def test_the_same_picture_resampled_is_a_near_duplicate_and_other_subjects_are_not():
    coarse = ndimage.zoom(SUBJECT.mr, 0.8, order=1)
    grown = SUBJECT.affine @ np.diag([*(np.array(SUBJECT.mr.shape) / coarse.shape), 1])
    others = [audited(make_subject(n).mr, "mr", make_subject(n).affine, f"{n}") for n in range(3)]
    same = [audited(SUBJECT.mr, "mr", name="whole"), audited(coarse, "mr", grown, "coarse")]
    doubled = [each for each in find_faults([*others, *same], SETTINGS) if each.check == "near duplicate"]
    assert [each.case for each in doubled] == ["coarse"] and "whole" in doubled[0].text


def test_a_pelvis_among_heads_fails_and_so_do_heads_against_pelves():
    heads = [make_subject(n) for n in range(3)]
    pelves = [make_subject(n, "pelvis") for n in range(2)]
    mr = [audited(s.mr, "mr", s.affine, f"m{n}") for n, s in enumerate(heads)]
    ct = [audited(s.ct, "ct", s.affine, f"c{n}") for n, s in enumerate(heads)]
    wrong = [audited(s.ct, "ct", s.affine, f"p{n}") for n, s in enumerate(pelves)]
    assert found_in(*mr, *ct) == {}
    failed = [each for each in find_faults([*mr, *ct, wrong[0]], SETTINGS) if each.level == "fail"]
    assert [(each.check, each.case) for each in failed] == [("body part", "p0")]
    failed = [each for each in find_faults([*mr, *wrong], SETTINGS) if each.level == "fail"]
    assert [(each.check, each.case) for each in failed] == [("body part", None)]


def test_heads_with_and_without_the_neck_are_found():
    def cut(array, subject):
        axis = int(np.abs(subject.affine[2, :3]).argmax())
        size, upwards = array.shape[axis], subject.affine[2, axis] > 0
        return array.take(range(size // 3, size) if upwards else range(size - size // 3), axis=axis)

    subjects = [make_subject(n) for n in range(3)]
    mr = [audited(cut(s.mr, s), "mr", s.affine, f"m{n}") for n, s in enumerate(subjects)]
    ct = [audited(s.ct, "ct", s.affine, f"c{n}") for n, s in enumerate(subjects)]
    assert found_in(*mr, *ct)["field of view"] == "warn"


@pytest.mark.parametrize(("spacing_mm", "warned"), [(None, True), (2.0, False)])
def test_pixels_of_other_sizes_matter_unless_they_are_brought_to_one(spacing_mm, warned):
    coarse = ndimage.zoom(SUBJECT.ct, 0.6, order=1)
    grown = SUBJECT.affine @ np.diag([*(np.array(SUBJECT.ct.shape) / coarse.shape), 1])
    cases = [audited(SUBJECT.mr, "mr"), audited(coarse, "ct", grown)]
    assert ("pixel sizes" in found_in(*cases, settings=PreprocessConfig(spacing_mm=spacing_mm))) == warned


def test_an_mr_of_bright_fluid_among_others_is_named():
    subjects = [make_subject(n) for n in range(4)]
    arrays = [s.mr for s in subjects]
    brain = np.isin(subjects[3].labels, (4, 5, 7))
    arrays[3] = np.where(brain, 1.2 * np.quantile(arrays[3][brain], 0.99) - arrays[3], arrays[3]).clip(0)
    cases = [audited(a, "mr", s.affine, f"m{n}") for n, (a, s) in enumerate(zip(arrays, subjects, strict=True))]
    assert [each.case for each in find_faults(cases, SETTINGS) if each.check == "contrast"] == ["m3"]


def test_a_case_that_cannot_be_read_fails_and_the_others_are_judged():
    cases = [Audited("broken", "mr", failure="the file is empty"), audited(SUBJECT.ct, "ct")]
    findings = find_faults(cases, SETTINGS)
    assert [(each.level, each.case, each.text) for each in findings] == [("fail", "broken", "the file is empty")]
    assert level_of(findings) == "fail" and level_of([]) == "pass"


def _with(modality, array, affine):
    return array, modality, affine
