"""The scripts that measure on phantoms: no pair is of a head that is tested, and a gain has the right sign."""

import nibabel as nib
import numpy as np
import pairs
import pytest
import scanners
import truth

from cyclegan_gc.formats.files import find_volumes


def test_errors_are_measured_in_the_true_body_and_are_zero_for_a_perfect_result(phantoms):
    (path,) = find_volumes(phantoms / "test" / "ct")
    ct = np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
    assert truth.errors_of(ct, phantoms / "test", path.name) == {"MAE [HU]": 0, "MAE bone [HU]": 0, "Dice bone": 1}
    softer = np.where(ct > 250, 250, ct)
    errors = truth.errors_of(softer, phantoms / "test", path.name)
    assert errors["Dice bone"] == 0 and errors["MAE bone [HU]"] > 4 * errors["MAE [HU]"] > 0


@pytest.mark.parametrize(("metric", "expected"), [("MAE [HU]", "+10 (+3 to +17)"), ("Dice bone", "-0.100")])
def test_better_is_lower_errors_and_higher_overlaps(metric, expected):
    ones = {"MAE [HU]": [90, 80, 100], "Dice bone": [0.5, 0.6, 0.7]}
    others = {"MAE [HU]": [100, 93, 107], "Dice bone": [0.6, 0.7, 0.8]}
    assert scanners.better_by(metric, ones, others).startswith(expected)


def test_pairs_are_never_test_heads_and_smaller_sets_are_subsets(tmp_path):
    for kind in ("mr", "ct"):
        (tmp_path / "ph" / "test" / kind).mkdir(parents=True)
        for number in range(pairs.TESTED + pairs.MOST_PAIRS):
            (tmp_path / "ph" / "test" / kind / f"head_{2000 + number}.nii.gz").touch()
    linked = {count: {path.name for path in (pairs.linked(tmp_path, count) / "ct").iterdir()} for count in (1, 3, 10)}
    assert [len(each) for each in linked.values()] == [1, 3, 10]
    assert linked[1] < linked[3] < linked[10]
    tested = {path.name for path in sorted((tmp_path / "ph" / "test" / "mr").iterdir())[: pairs.TESTED]}
    assert not tested & linked[10]


def test_the_row_without_pairs_has_no_gain_over_itself():
    errors = [{"MAE [HU]": 100.0, "MAE bone [HU]": 200.0, "Dice bone": 0.5 + n / 10} for n in range(3)]
    better = [{**each, "MAE [HU]": 90.0} for each in errors]
    assert pairs.row("none", errors, errors).count("|") == 5
    assert pairs.row("3 pairs", better, errors).endswith("| 10 (10 to 10) |")
