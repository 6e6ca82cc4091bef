"""Training from a DICOM export, from SynthRAD folders and from BIDS: found, told apart, split and prepared."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.uid import RTStructureSetStorage

from cyclegan_gc.cli import main
from cyclegan_gc.config import DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import cached_volume
from cyclegan_gc.data.cases import find_files
from cyclegan_gc.data.pairs import find_pairs, read_pair
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.sources import source_of
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
    assert "2 x localizer" in said and "--data.mr: patients have several series (T1 mprage, T2 tse)" in said
    chosen = find_files(data_of(export, mr_series="t1*"))
    assert [case.name for case in chosen.cases if case.modality == "mr"] == ["patient1/1", "patient2/1"]
    with pytest.raises(UserError, match=r"--data.mr_series FLAIR: no such series in .*; it has T1 mprage, T2 tse$"):
        find_files(data_of(export, mr_series="FLAIR"))


def test_the_patient_tells_the_subject_and_its_identifier_is_hashed(export):
    cases = find_files(data_of(export)).cases
    assert len({case.subject for case in cases}) == 2 and "MRN" not in str([case.subject for case in cases])
    assert {case.subject for case in cases if case.modality == "mr"} == {
        case.subject for case in cases if case.modality == "ct"
    }


def test_a_series_is_prepared_as_the_volume_that_it_was_made_from(export, phantoms, tmp_path):
    for case, kind in zip(find_files(data_of(export, mr_series="T1*")).cases, ("mr", "mr", "ct", "ct"), strict=True):
        path = originals(phantoms, kind)[int(case.name[len("patient")]) - 1]
        one, other = (cached_volume([each], kind, SETTINGS, tmp_path) for each in (case.source, source_of(path)))
        difference = np.abs(np.load(one.path).astype(int) - np.load(other.path))
        assert one.shape == other.shape and np.median(difference) == 0 and one.statistics["case"] is not None


def test_a_run_is_trained_and_its_volumes_are_listed_and_audited(export, small_config, tmp_path, capsys):
    config = replace(small_config, output=tmp_path / "run", steps=2, data=data_of(export, mr_series="T1*"))
    train(replace(config, audit="warn"))
    assert (tmp_path / "run" / "last.pt").exists()
    words = ["--data.mr", str(export), "--data.ct", str(export), "--data.mr_series", "T1*"]
    assert main(["audit", *words, "--output", str(tmp_path / "audit")]) in (0, 2)
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
    pairs = find_pairs(tmp_path, "--data.pairs")
    assert [pair.subject for pair in pairs] == [case.subject for case in found.cases][:2]
    assert all(subject in pair.mr.path.as_posix() for pair, subject in zip(pairs, "12", strict=True))


def test_the_series_of_a_patient_make_a_pair(export):
    with pytest.raises(UserError, match="2 MRs of its PatientID"):
        find_pairs(export / "patient2", "--data.pairs")
    [pair] = find_pairs(export / "patient2", "--data.pairs", mr_series="T1*")
    assert (pair.mr.path.name, pair.ct.path.name) == ("1", "4")
    volume = read_pair(*pair.sources)
    assert volume.array.shape == volume.further[-1].shape and volume.further[-1].min() < -900
    with pytest.raises(UserError, match="not on the grid of its MR"):
        find_pairs(export / "patient1", "--data.pairs", mr_series="T1*")
