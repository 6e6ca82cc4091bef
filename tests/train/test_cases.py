from pathlib import Path

import pytest

from cyclegan_gc.train.cases import held_out_subjects, subject_of


def paths(*names: str) -> list[Path]:
    return [Path(f"{name}.nii.gz") for name in names]


def test_a_bids_name_tells_the_subject_and_another_name_is_one():
    assert subject_of(Path("x/sub-07_ses-1_T1w.nii.gz")) == subject_of(Path("sub-07_ses-2_T1w.nii")) == "sub-07"
    assert subject_of(Path("patient_7.nii.gz")) == "patient_7"


@pytest.mark.parametrize(("fraction", "held_out"), [(0, 0), (0.01, 1), (0.1, 2), (0.5, 10), (1, 20)])
def test_at_least_the_fraction_is_held_out(fraction, held_out):
    mr = paths(*(f"mr{n}" for n in range(20)))
    assert len(held_out_subjects(mr, [], fraction)) == held_out


def test_all_volumes_of_a_subject_are_on_one_side_in_both_modalities():
    mr = paths(*(f"sub-{n:02}_run-{run}_T1w" for n in range(10) for run in range(3)))
    ct = paths(*(f"sub-{n:02}_ct" for n in range(5, 15)))
    held_out = held_out_subjects(mr, ct, 0.2)
    for volumes in (mr, ct):
        subjects = {subject_of(path) for path in volumes}
        assert 2 <= len(subjects & held_out) <= 4


def test_the_split_does_not_depend_on_the_order_or_the_folder():
    mr = paths(*(f"mr{n}" for n in range(20)))
    moved = [Path("elsewhere") / path for path in reversed(mr)]
    assert held_out_subjects(mr, [], 0.2) == held_out_subjects(moved, [], 0.2)
