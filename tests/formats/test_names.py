import unicodedata
from pathlib import Path

import pytest

from cyclegan_gc.formats.names import case_names, kind_of, places_of

LAYOUTS = {
    "a name": ("p1_sct p2_sct", "p2 x/p1", [[1], [0]]),
    "Unicode": (unicodedata.normalize("NFD", "Müller_sct"), unicodedata.normalize("NFC", "Müller"), [[0]]),
    "nnU-Net": ("p1_0000_sct p2_0000_sct", "p1 p2", [[0], [1]]),
    "a folder": ("P1/mr_sct P2/mr_sct", "P1/ct P2/ct P3/ct", [[0], [1]]),
    "a folder against a name": ("P1/mr_sct P2/mr_sct", "P2 P1", [[1], [0]]),
    "one alone": ("P1/mr_sct", "P2/ct P1/ct", [[1]]),
    "against one alone": ("P1/mr_sct P2/mr_sct", "P2/ct", [[], [0]]),
    "one and one of other patients": ("P1/mr_sct", "P2/ct", [[]]),
    "folders in folders": ("AB/P1/mr_sct HN/P1/mr_sct", "AB/P1/ct HN/P1/ct", [[0], [1]]),
    "a region of all": ("P1/mr_sct P2/mr_sct", "AB/P1/ct AB/P2/ct HN/P3/ct", [[0], [1]]),
    "a patient in two regions": ("P1/mr_sct P2/mr_sct", "AB/P1/ct HN/P1/ct", [[], []]),
    "regions of others": ("AB/P1/mr_sct HN/P2/mr_sct", "AB/P3/ct HN/P4/ct", [[], []]),
    "uneven depths": ("P1/anat/T1_sct P2/T1_sct", "P9/anat/ct P2/ct", [[], [1]]),
    "names in folders": ("P1/T1_sct P1/T2_sct P2/T1_sct", "P1/T1 P1/T2 P2/T1", [[0], [1], [2]]),
    "BIDS": ("sub-1_ses-2_T1w_sct sub-2_T1w_sct", "sub-1_ses-1_ct sub-1_ses-2_ct sub-2_ct", [[1], [2]]),
    "BIDS results": ("sub-1_space-T1w_desc-synthetic_ct", "sub-1_ct sub-10_ct", [[0]]),
    "BIDS folders": ("sub-1/anat/T1w_sct sub-2/anat/T1w_sct", "sub-1/ct/sub-1_ct sub-2/ct/sub-2_ct", [[0], [1]]),
    "a second file of a name": ("p1_sct p2_sct", "p1 p2 again/p1", [[0, 2], [1]]),
}


def names_of(folder, paths):
    return case_names([(Path(folder, path).parent, Path(path).name) for path in paths.split()])


@pytest.mark.parametrize(("first", "second", "places"), LAYOUTS.values(), ids=LAYOUTS)
def test_files_of_a_case_are_found_by_name_folder_or_entities(first, second, places):
    others = names_of("/data/ct", second)
    assert [places_of(name, others) for name in names_of("/results/sct", first)] == places


def test_the_last_word_of_a_name_says_what_the_file_holds():
    words = [
        "mr",
        "ct",
        "sub-1_T1w",
        "sub-1_desc-brain_mask",
        "mr_sct",
        "sub-1_desc-synthetic_ct",
        "cbct",
        "p1",
        "direct",
    ]
    assert [kind_of(word) for word in words] == ["mr", "ct", "mr", "mask", "sct", "sct", "cbct", None, None]


def test_the_patient_decides_and_the_name_among_several_of_a_patient():
    [case] = case_names([(Path("/sct/x"), "1_sct")], ["p1"])
    others = [(Path("/data/a"), "1"), (Path("/data/b"), "1"), (Path("/data/b"), "7"), (Path("/data/c"), "2")]
    for patients, places in (
        (["p2", "p1", "p1", ""], [1]),  # its name, and of its patient
        (["p2", "p2", "p1", "p1"], [2, 3]),  # of its patient, whatever the names
        (["p2", "p2", "p2", "p2"], []),  # its name is another patient's
        (["", "", "", ""], [0, 1]),
    ):
        assert places_of(case, case_names(others, patients)) == places
