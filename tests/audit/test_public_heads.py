"""The findings on the public heads and torsos are right."""

from dataclasses import replace

import numpy as np
import pytest

from cyclegan_gc.audit.facts import measure_case
from cyclegan_gc.audit.findings import Audited, find_faults, level_of
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.prepare.preprocess import prepare

SETTINGS = PreprocessConfig()
REAL = {
    "mr/mr01*": {"cut off"},
    "mr/mr02*": set(),
    "mr/mr03*": {"bias field"},
    "mr/mr04*": set(),
    "mr/mr05*": set(),
    "mr/mr06*": {"bias field", "cut off", "thick slices"},
    "mr/mr07*": {"contrast"},
    "ct/ct01*": {"backwards"},
    "ct/ct02*": {"metal"},
    "ct/ct03*": {"cut off"},
    "ct/ct04*": {"couch joined"},
}


@pytest.fixture(scope="module")
def real_cases(real_data):
    """The public volumes, measured; heads first."""
    cases = []
    for pattern in (*REAL, "mr/torso*", "ct/torso_ct0*s.nii.gz", "ct/torso_*d.nii.gz"):
        for path in sorted(real_data.glob(pattern)):
            volume, modality = read_volume(path), "mr" if pattern.startswith("mr") else "ct"
            facts = measure_case(volume, prepare(volume, modality, SETTINGS), modality)
            cases.append(Audited(path.name, modality, facts=facts))
    return cases


def test_what_is_said_of_the_public_heads_is_right(real_cases):
    heads = [case for case in real_cases if not case.name.startswith("torso")]
    findings = find_faults(heads, SETTINGS)
    assert level_of(findings) == "warn"
    for pattern, expected in REAL.items():
        said = {each.check for each in findings if each.case and each.case.startswith(pattern[3:7])}
        assert {check for check in said if check not in ("couch", "markers")} == expected, pattern
    whole = {(each.check, each.domain) for each in findings if each.case is None and each.level == "warn"}
    assert whole == {("field of view", None), ("pixel sizes", "mr"), ("slice thickness", "mr")}


def test_things_beside_the_public_heads_are_noted(real_cases):
    noted = {
        each.case[:4]: each.check for each in find_faults(real_cases, SETTINGS) if each.level == "pass" and each.case
    }
    assert noted["mr01"] == "markers" and noted["ct01"] == noted["ct02"] == "couch"


def test_torsos_among_the_public_heads_fail(real_cases):
    failed = [each for each in find_faults(real_cases, SETTINGS) if each.level == "fail"]
    assert {each.check for each in failed} == {"body part"} and len(failed) == 4
    assert all(each.case and each.case.startswith("torso") for each in failed)


def test_one_man_in_two_files_of_other_grids_is_recognised(real_data):
    names = ("colin27_phantom/mr_colin27_t1", "mni2mm_template/mr_single_subj_T1", "mni2mm_template/mr_avg152T1")
    cases = []
    for name in names:
        volume = read_volume(real_data / "pairs" / f"{name}.nii.gz")
        cases.append(Audited(name, "mr", facts=measure_case(volume, prepare(volume, "mr", SETTINGS), "mr")))
    doubled = [each.case for each in find_faults(cases, SETTINGS) if each.check == "near duplicate"]
    assert doubled == ["mni2mm_template/mr_single_subj_T1"]


def test_a_head_that_is_turned_back_to_front_is_found(real_cases, real_data):
    [path] = (real_data / "mr").glob("mr05*")
    volume = read_volume(path)
    turned = replace(volume, array=np.flip(volume.array, axis=2).copy())  # stored to the left, down and to the front
    facts = measure_case(turned, prepare(turned, "mr", SETTINGS), "mr")
    others = [case for case in real_cases if not case.name.startswith(("torso", "mr05"))]
    found = [
        each.case
        for each in find_faults([*others, Audited("turned", "mr", facts=facts)], SETTINGS)
        if each.check == "backwards"
    ]
    assert sorted(found, key=str) == ["ct01_invesalius_cranium_hu.nii.gz", "turned"]
