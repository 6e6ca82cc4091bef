import shutil
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.config import DataConfig, PreprocessConfig, TrainConfig
from cyclegan_gc.data.subjects import held_out_subjects, subjects_of
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.sources import source_of


@pytest.mark.parametrize(
    ("names", "subjects"),
    [
        ("x/sub-07_ses-1_T1w x/sub-07_ses-2_T1w x/patient_7", "sub-07 sub-07 patient_7"),
        ("sub-1/anat/T1w sub-2/anat/T1w", "sub-1 sub-2"),
        ("data/p1/before/T1 data/p1/after/T1 data/p2/T1 data/p2/T1_late", "p1 p1 p2 p2"),
        ("p1_mr p2_ct", "p1 p2"),
        ("Task1/brain/1BA001/mr Task1/brain/1BA005/mr Task1/pelvis/1PC001/mr", "1BA001 1BA005 1PC001"),
        ("1ABA005/mr", "1ABA005"),
        ("1HNA001_mr 1THB002_mr", "1HNA001 1THB002"),
    ],
)
def test_a_subject_is_told_from_identifiers_else_from_repeated_names_folders_else_from_the_name(names, subjects):
    assert subjects_of([source_of(Path(f"{name}.nii.gz")) for name in names.split()]) == subjects.split()


@pytest.mark.parametrize(("fraction", "held_out"), [(0, 0), (0.01, 1), (0.1, 2), (0.5, 10), (1, 20)])
def test_at_least_the_fraction_is_held_out(fraction, held_out):
    assert len(held_out_subjects({f"mr{n}" for n in range(20)}, set(), fraction)) == held_out


def test_all_volumes_of_a_subject_are_on_one_side_in_both_modalities():
    mr, ct = {f"sub-{n:02}" for n in range(10)}, {f"sub-{n:02}" for n in range(5, 15)}
    held_out = held_out_subjects(mr, ct, 0.2)
    assert all(2 <= len(subjects & held_out) <= 4 for subjects in (mr, ct))


def test_the_split_does_not_depend_on_other_subjects():
    mr = {f"mr{n}" for n in range(20)}
    before, after = held_out_subjects(mr, set(), 0.2), held_out_subjects(mr | {"new"}, set(), 0.2)
    assert len(before - after) <= 1


@pytest.mark.parametrize(("spacing_mm", "warned"), [(None, True), (3.0, False)])
def test_pixels_of_different_size_are_warned_of(phantoms, tmp_path, spacing_mm, warned, cases_of):
    for modality, factor in (("mr", 1), ("ct", 2)):
        (tmp_path / modality).mkdir()
        for path in (phantoms / modality).iterdir():
            image = nib.Nifti1Image.from_filename(path)
            image.set_sform(np.asarray(image.affine) @ np.diag([factor, factor, factor, 1]), code=1)
            image.to_filename(tmp_path / modality / path.name)
    data = DataConfig(str(tmp_path / "mr"), str(tmp_path / "ct"), crop=(32, 32), validation_fraction=0)
    cases = cases_of(TrainConfig(tmp_path / "run", data, preprocess=PreprocessConfig(spacing_mm=spacing_mm)))
    assert any("show the body at different sizes" in finding.text for finding in cases.findings) == warned


@pytest.mark.parametrize("contrasts", [(), ("_a", "_b")])
@pytest.mark.parametrize("side", ["mr", "ct"])
def test_a_copy_of_a_validation_pair_among_the_unpaired_volumes_is_named(phantoms, tmp_path, side, contrasts, cases_of):
    """Whether it would be trained on or held out, and whatever it is called."""
    folders = {"unpaired": phantoms, "aside": phantoms / "test"}
    for (name, source), kind in product(folders.items(), ("mr", "ct")):
        (tmp_path / name / kind).mkdir(parents=True)
        endings = contrasts if contrasts and kind == "mr" else ("",)
        for path in (source / kind).iterdir():
            for ending in endings:
                shutil.copy(path, tmp_path / name / kind / path.name.replace(".nii.gz", f"{ending}.nii.gz"))
    mr, ct = (str(tmp_path / "unpaired" / kind) for kind in ("mr", "ct"))
    data = DataConfig(mr, ct, contrasts=contrasts, validation_pairs=str(tmp_path / "aside"))
    copied = next((tmp_path / "aside" / side).iterdir())
    for path in sorted((tmp_path / "unpaired" / side).iterdir()):
        before = path.read_bytes()
        shutil.copy(copied, path)
        with pytest.raises(UserError, match=f"^{path}: this volume is among --data.validation_pairs too"):
            cases_of(TrainConfig(tmp_path / "run", data))
        path.write_bytes(before)


@pytest.mark.parametrize("side", ["mr", "ct"])
def test_a_subject_of_the_validation_pairs_is_not_trained_on_whatever_its_voxels(phantoms, tmp_path, cases_of, side):
    """A resampled copy has another content; its name tells whose it is."""
    for kind in ("mr", "ct"):
        (tmp_path / kind).mkdir()
        for path in (phantoms / kind).iterdir():
            (tmp_path / kind / path.name).symlink_to(path)
    [judged] = (phantoms / "test" / side).iterdir()
    image = nib.Nifti1Image.from_filename(judged)
    halved = nib.Nifti1Image(np.asarray(image.dataobj)[::2], image.affine @ np.diag([2, 1, 1, 1]))
    halved.to_filename(tmp_path / side / judged.name)
    data = DataConfig(str(tmp_path / "mr"), str(tmp_path / "ct"), validation_pairs=str(phantoms / "test"))
    with pytest.raises(UserError, match=f"{judged.name}: this subject is among --data.validation_pairs too"):
        cases_of(TrainConfig(tmp_path / "run", data))
