"""Training from a DICOM export, from SynthRAD folders and from BIDS: found, told apart, split and prepared."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import RTStructureSetStorage

from cyclegan_gc.cli import main
from cyclegan_gc.config import DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import OUTSIDE, SCALE, cached_volume, known_volume
from cyclegan_gc.data.cases import find_files
from cyclegan_gc.data.pairs import find_pairs, read_pair
from cyclegan_gc.data.subjects import subjects_of
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.sources import find_sources, source_of
from cyclegan_gc.train.loop import train

SETTINGS = PreprocessConfig(spacing_mm=4.0)


def originals(phantoms: Path, kind: str) -> list[Path]:
    """The volumes of the two patients."""
    return [min((folder / kind).iterdir()) for folder in (phantoms, phantoms / "test")]


@pytest.fixture(scope="module")
def export(phantoms, slices_of, write_series, tmp_path_factory) -> Path:
    """Two patients, each with an MR and a CT study, a second MR series, a localizer and a structure set; only those of
    the second are on one grid."""
    root = tmp_path_factory.mktemp("export")
    for patient in (1, 2):
        mr, ct = (originals(phantoms, kind)[patient - 1] for kind in ("mr", "ct"))
        series = {"T1 mprage": ("MR", mr), "T2 tse": ("MR", mr), "scout": ("MR", mr), "head 1 mm": ("CT", ct)}
        for number, (description, (modality, path)) in enumerate(series.items(), start=1):
            image = nib.as_closest_canonical(nib.Nifti1Image.from_filename(path))
            # Columns run to the patient's left and rows to the back.
            pixels = np.rint(image.get_fdata()[::-1, ::-1]).astype(np.int16).transpose(1, 0, 2)
            across, along, up = (float(mm) for mm in image.header.get_zooms())
            datasets = list(slices_of(pixels, spacing_mm=(along, across, up)))
            for dataset in datasets:
                dataset.PatientID, dataset.PatientName = f"MRN{patient}", f"Doe^{patient}"
                dataset.StudyInstanceUID = f"1.2.826.0.9.{patient}.{modality == 'CT':d}"
                dataset.SeriesInstanceUID = f"{dataset.StudyInstanceUID}.{number}"
                dataset.SOPInstanceUID = f"{dataset.SeriesInstanceUID}.{dataset.InstanceNumber}"
                dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
                dataset.Modality, dataset.SeriesDescription, dataset.SeriesNumber = modality, description, number
            write_series(root / f"patient{patient}" / f"{number}", datasets[:1] if description == "scout" else datasets)
        structures = datasets[0]
        structures.SOPClassUID = structures.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
        structures.Modality = "RTSTRUCT"
        for name in ("Rows", "Columns", "PixelData"):
            delattr(structures, name)
        structures.save_as(root / f"patient{patient}" / "RS.dcm", enforce_file_format=True)
    return root


def data_of(source: Path, **changes) -> DataConfig:
    return replace(DataConfig(str(source), str(source), crop=(32, 24), validation_fraction=0), **changes)


def test_one_export_gives_both_modalities_and_a_pattern_chooses_among_the_series(export):
    found = find_files(data_of(export))
    assert [(case.modality, case.name) for case in found.cases] == [
        *[("mr", f"patient{patient}/{number}") for patient in (1, 2) for number in (1, 2)],
        *[("ct", f"patient{patient}/4") for patient in (1, 2)],
    ]
    said = "\n".join(found.notes)
    assert "--data.mr: left out: 2 x DICOM object without an image (RTSTRUCT)" in said and "2 x CT series" in said
    assert "2 x localizer" in said and "--data.mr: subjects have several contrasts (T1 mprage, T2 tse)" in said
    chosen = find_files(data_of(export, mr_series="t1*"))
    assert [case.name for case in chosen.cases if case.modality == "mr"] == ["patient1/1", "patient2/1"]
    with pytest.raises(
        UserError, match=r"--data.mr_series FLAIR: no such series or file in .*; it has T1 mprage, T2 tse$"
    ):
        find_files(data_of(export, mr_series="FLAIR"))


def test_the_patient_tells_the_subject_and_its_identifier_is_hashed(export):
    cases = find_files(data_of(export)).cases
    assert len({case.subject for case in cases}) == 2 and "MRN" not in str([case.subject for case in cases])
    assert {case.subject for case in cases if case.modality == "mr"} == {
        case.subject for case in cases if case.modality == "ct"
    }


def test_a_series_without_a_patient_belongs_to_its_folder_and_an_identifier_in_the_path_comes_first(
    slices_of, write_series, tmp_path
):
    pixels = np.arange(20 * 24 * 6, dtype=np.int16).reshape(20, 24, 6)
    for number, (folder, patient) in enumerate({"p1": "", "p2/a": "", "p2/b": "", "sub-3/mr": "MRN3"}.items()):
        for picture in ("W", "F"):
            datasets = list(slices_of(pixels))
            for dataset in datasets:
                dataset.PatientID, dataset.ImageType = patient, ["ORIGINAL", "PRIMARY", picture]
                dataset.SeriesInstanceUID = f"1.2.826.{number}.{len(patient)}"
                dataset.InstanceNumber += 6 * (picture == "W")
                dataset.SOPInstanceUID += f".{number}.{dataset.InstanceNumber}"
            write_series(tmp_path / folder, datasets)
    cases = find_sources(tmp_path)[0]
    assert [case.name for case in cases][:2] == ["p1_F", "p1_W"] and len(cases) == 8
    assert subjects_of(cases) == ["p1"] * 2 + ["p2"] * 4 + ["sub-3"] * 2


def test_the_pictures_of_one_file_are_prepared_apart(slices_of, write_series, enhanced, tmp_path):
    pixels = np.random.default_rng(0).integers(200, 900, (40, 40, 12)).astype(np.int16)
    pixels[:8], pixels[-8:] = 0, 0
    dataset = enhanced([*slices_of(pixels), *slices_of(pixels[::-1])])
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        kind = Dataset()
        kind.FrameType = ["DERIVED", "PRIMARY", "DIXON", "WATER" if number < 12 else "FAT"]
        group.MRImageFrameTypeSequence = [kind]
    [file] = write_series(tmp_path / "dixon", [dataset])
    fat, water = find_sources(file)[0]
    assert fat.files == water.files and fat.frames != water.frames
    one, other = (cached_volume([case], "mr", PreprocessConfig(), tmp_path / "cache") for case in (fat, water))
    assert one.path != other.path and one.content != other.content
    assert known_volume([fat], "mr", PreprocessConfig(), tmp_path / "cache") == one


def test_a_series_is_prepared_as_the_volume_that_it_was_made_from(export, phantoms, tmp_path):
    for case, kind in zip(find_files(data_of(export, mr_series="T1*")).cases, ("mr", "mr", "ct", "ct"), strict=True):
        path = originals(phantoms, kind)[int(case.name[len("patient")]) - 1]
        one, other = (cached_volume([each], kind, SETTINGS, tmp_path) for each in (case.source, source_of(path)))
        values, expected = (np.load(each.path).astype(int) for each in (one, other))
        body = (values != OUTSIDE) & (expected != OUTSIDE)
        assert one.shape == other.shape and ((values != OUTSIDE) == (expected != OUTSIDE)).mean() > 0.999
        # A CT holds whole numbers, as its series does; half a grey value of the MR is a thousandth of its range.
        assert np.abs(values - expected)[body].max() <= (0 if kind == "ct" else 0.002 * SCALE)


def test_a_run_is_trained_and_its_volumes_are_listed_and_audited(export, small_config, tmp_path, capsys):
    config = replace(small_config, output=tmp_path / "run", steps=2, data=data_of(export, mr_series="T1*"))
    train(replace(config, audit="warn"))
    assert (tmp_path / "run" / "last.pt").exists()
    words = ["--data.mr", str(export), "--data.ct", str(export), "--data.mr_series", "T1*"]
    main(["audit", *words, "--output", str(tmp_path / "audit")])
    audited = json.loads((tmp_path / "audit" / "audit.json").read_text())["cases"]
    assert [case["case"] for case in audited] == ["patient1/1", "patient2/1", "patient1/4", "patient2/4"]
    capsys.readouterr()
    assert main(["info", str(export)]) == 0
    rows = [re.split("  +", line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 1 + 8 + 1 and rows[1][:3] == ["patient1/1", "MR", "T1 mprage"]


LAYOUTS = {
    "SynthRAD": {
        "mr": "Task1/brain/1BA00{}/mr.nii.gz",
        "ct": "Task1/brain/1BA00{}/ct.nii.gz",
        "labels": "Task1/brain/1BA00{}/mask.nii.gz",
    },
    "BIDS": {
        "mr": "sub-0{}/anat/sub-0{}_T1w.nii.gz",
        "ct": "sub-0{}/ct/sub-0{}_ct.nii.gz",
        "labels": "derivatives/seg/sub-0{}/anat/sub-0{}_desc-body_mask.nii.gz",
    },
    "one folder": {"mr": "p{}_mr.nii.gz", "ct": "p{}_ct.nii.gz", "labels": "p{}_mask.nii.gz"},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_layouts_of_public_data_are_read_whole(phantoms, tmp_path, name):
    for kind, text in LAYOUTS[name].items():
        [path] = (phantoms / "test" / kind).iterdir()
        for subject in (1, 2):
            copy = tmp_path / text.replace("{}", str(subject))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    found = find_files(data_of(tmp_path))
    assert [case.modality for case in found.cases] == ["mr", "mr", "ct", "ct"]
    assert [case.subject for case in found.cases][:2] == [case.subject for case in found.cases][2:]
    assert len({case.subject for case in found.cases}) == 2
    pairs, _ = find_pairs(tmp_path, "--data.pairs")
    assert [pair.subject for pair in pairs] == [case.subject for case in found.cases][:2]
    for pair, subject in zip(pairs, "12", strict=True):
        for side, kind in ((pair.mr, "mr"), (pair.ct, "ct")):
            assert side.path == tmp_path / LAYOUTS[name][kind].replace("{}", subject)


def test_the_contrasts_of_a_bids_folder_are_told_and_one_is_chosen(phantoms, tmp_path):
    for name in ("sub-01/anat/sub-01_T1w", "sub-01/anat/sub-01_T2w", "sub-01/ct/sub-01_ct"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(originals(phantoms, "ct" if name.endswith("ct") else "mr")[1], tmp_path / f"{name}.nii.gz")
    assert "subjects have several contrasts (T1w, T2w); --data.mr_series chooses" in str(
        find_files(data_of(tmp_path)).notes
    )
    [mr, _] = find_files(data_of(tmp_path, mr_series="*_T1w")).cases
    [pair], _ = find_pairs(tmp_path, "--data.pairs", mr_series="*_T1w")
    assert mr.source.name == pair.mr.name == "sub-01_T1w"


def test_the_series_of_a_patient_make_a_pair(export):
    with pytest.raises(UserError, match="2 MRs of its PatientID"):
        find_pairs(export / "patient2", "--data.pairs")
    [pair], left_out = find_pairs(export / "patient2", "--data.pairs", mr_series="T1*")
    assert (pair.mr.path.name, pair.ct.path.name) == ("1", "4")
    assert dict(left_out) == {
        **{"2": "case that --data.mr_series does not name", "3/IM0001": "localizer"},
        "RS.dcm": "DICOM object without an image (RTSTRUCT)",
    }
    notes = find_files(DataConfig(pairs=str(export / "patient2"), mr_series="T1*", validation_fraction=0)).notes
    assert "--data.pairs: left out: 1 x localizer, such as 3/IM0001" in notes and len(notes) == 3
    volume = read_pair(*pair.sources)
    assert volume.array.shape == volume.further[-1].shape and volume.further[-1].min() < -900
    with pytest.raises(UserError, match="not on the grid of its MR"):
        find_pairs(export / "patient1", "--data.pairs", mr_series="T1*")
