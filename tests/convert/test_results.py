import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK

from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.convert.outcome import Conversion, key_of
from cyclegan_gc.convert.plan import left_out_lines, plan
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.sources import find_sources, source_of
from cyclegan_gc.formats.volumes import read_volume, write_volume
from cyclegan_gc.trained_model import load_model, members_of


def run(checkpoint: Path, source: Path, output: Path, **settings) -> list[str]:
    return [case.outcome for case in convert(ConvertConfig(checkpoint, str(source), output, device="cpu", **settings))]


def inputs(source: Path, output: Path) -> tuple[list[str], list[str]]:
    jobs, left_out = plan(ConvertConfig(Path("last.pt"), str(source), output))
    return [job.source.label for job in jobs], left_out_lines(left_out)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"manifest.json", "index.html"}


def test_an_older_map_picture_and_page_are_removed_when_the_new_result_has_none(checkpoint, folder, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, folder, out, mirror=True, uncertainty=True) == ["converted"]
    assert names(out) == {"a_sct.nii.gz", "a_sct.json", "a_sct.png", "a_sct.html", "a_sct_uncertainty.nii.gz"}
    assert run(checkpoint, folder, out, mirror=True, preview="png") == ["converted"]
    assert names(out) == {"a_sct.nii.gz", "a_sct.json", "a_sct.png"}
    assert run(checkpoint, folder, out, preview="none") == ["converted"]
    assert names(out) == {"a_sct.nii.gz", "a_sct.json"}


def test_a_failed_conversion_removes_nothing_of_the_older_result(checkpoint, folder, tmp_path):
    out = tmp_path / "out"
    run(checkpoint, folder, out, mirror=True, uncertainty=True)
    before = {path: path.read_bytes() for path in out.glob("a_sct*")}
    assert run(checkpoint, folder, out, format="dicom", preview="none") == ["failed"]
    assert {path: path.read_bytes() for path in out.glob("a_sct*")} == before


def test_the_older_result_in_the_other_format_is_replaced(checkpoint, series, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, series, out) == ["converted"]
    assert run(checkpoint, series, out, format="dicom") == ["converted"]
    assert names(out) == {"T1_sct", "T1_sct.json", "T1_sct.png", "T1_sct.html"}
    assert run(checkpoint, series, out) == ["converted"]
    assert names(out) == {"T1_sct.nii.gz", "T1_sct.json", "T1_sct.png", "T1_sct.html"}


def test_a_series_that_was_changed_by_hand_is_not_removed(checkpoint, series, tmp_path):
    out = tmp_path / "out"
    run(checkpoint, series, out, format="dicom")
    (out / "T1_sct" / "notes.txt").write_text("mine")
    assert run(checkpoint, series, out) == ["converted"]
    assert (out / "T1_sct" / "notes.txt").read_text() == "mine"


def test_results_of_another_conversion_below_the_input_are_left_out_and_counted(checkpoint, folder, tmp_path):
    run(checkpoint, folder, folder / "sct", mirror=True, uncertainty=True)
    labels, [note] = inputs(folder, folder / "sct2")
    assert labels == ["a.nii.gz"] and "left out: 2 x result of a conversion" in note
    assert run(checkpoint, folder, folder / "sct2") == ["converted"]
    with pytest.raises(UserError, match="2 x result of a conversion"):
        inputs(folder / "sct", tmp_path / "out")
    with pytest.raises(UserError, match="1 x file in the output folder"):
        inputs(folder, folder.parent)


def test_results_in_bids_names_are_left_out_with_their_maps(checkpoint, folder, tmp_path):
    run(checkpoint, folder, folder / "derivatives", mirror=True, uncertainty=True, naming="bids")
    labels, [note] = inputs(folder, tmp_path / "out")
    assert labels == ["a.nii.gz"] and "left out: 2 x" in note


def test_a_synthetic_series_is_left_out_even_without_its_sidecar(checkpoint, series, tmp_path):
    run(checkpoint, series, series / "sct", format="dicom")
    (series / "sct" / "T1_sct.json").unlink()
    labels, [note] = inputs(series, tmp_path / "out")
    assert labels == ["T1"] and "left out: 1 x" in note
    reference = ConvertConfig(
        checkpoint, str(series / "T1"), tmp_path / "again", device="cpu", format="dicom", reference_dicom=series
    )
    assert [case.failure for case in convert(reference)] == [None]


def test_a_result_that_is_named_as_input_is_refused(checkpoint, folder, tmp_path):
    run(checkpoint, folder, folder / "sct")
    (tmp_path / "list.txt").write_text("in/a.nii.gz\nin/sct/a_sct.nii.gz\n")
    for source in (folder / "sct" / "a_sct.nii.gz", tmp_path / "list.txt"):
        with pytest.raises(UserError, match=r"a_sct\.nii\.gz: is the result of a conversion"):
            inputs(source, tmp_path / "out")
    (tmp_path / "folders.txt").write_text("in\n")
    assert inputs(tmp_path / "folders.txt", tmp_path / "out")[0] == ["in/a.nii.gz"]


def test_sidecars_of_other_programs_leave_a_volume_in_the_input(folder, tmp_path):
    for content in ("", "[]", "{}", json.dumps({"tool": 3}), json.dumps({"tool": "other", "result": {}})):
        (folder / "a.json").write_text(content)
        assert inputs(folder, tmp_path / "out") == (["a.nii.gz"], [])


def test_a_volume_written_into_another_study_is_converted_again(
    checkpoint, source, series, slices_of, write_series, tmp_path
):
    array = read_volume(source).array
    pixels = np.clip(array * 900 / array.max(), 0, 900).astype(np.int16).transpose(1, 0, 2)
    other = list(slices_of(pixels, "axial", (2.7, 2.7, 2.7)))
    for dataset in other:
        dataset.PatientID = "P2"
    write_series(tmp_path / "other", other)
    write_volume(
        tmp_path / "t1.nii.gz", pixels.transpose(1, 0, 2), read_series(sorted((series / "T1").iterdir()), 10**9)
    )
    for reference, patient, outcome in (
        (series, "P1", "converted"),
        (tmp_path / "other", "P2", "converted"),
        (tmp_path / "other", "P2", "skipped"),
    ):
        again = {"format": "dicom", "reference_dicom": reference}
        assert run(checkpoint, tmp_path / "t1.nii.gz", tmp_path / "out", **again) == [outcome]
        assert pydicom.dcmread(tmp_path / "out" / "t1_sct" / "0001.dcm").PatientID == patient


def test_a_missing_map_picture_or_page_is_made_again(checkpoint, folder, tmp_path):
    settings = {"mirror": True, "uncertainty": True}
    run(checkpoint, folder, tmp_path / "out", **settings)
    for name in ("a_sct_uncertainty.nii.gz", "a_sct.png", "a_sct.html"):
        (tmp_path / "out" / name).unlink()
        assert run(checkpoint, folder, tmp_path / "out", **settings) == ["converted"]


def test_results_keep_the_format_of_their_sources(checkpoint, source, series, tmp_path):
    voxels = SimpleITK.GetImageFromArray(np.ascontiguousarray(read_volume(source).array.T))
    for name in ("a.mha", "b.nrrd"):
        SimpleITK.WriteImage(voxels, str(series / name))
    shutil.copy(source, series / "c.nii.gz")
    out = tmp_path / "out"
    assert run(checkpoint, series, out, format="same", preview="none") == ["converted"] * 4
    assert names(out) - {"a_sct.json", "b_sct.json", "c_sct.json", "T1_sct.json"} == {
        *("a_sct.mha", "b_sct.nrrd", "c_sct.nii.gz", "T1_sct"),
    }
    ours, nifti = read_volume(out / "a_sct.mha"), read_volume(series / "a.mha")
    assert ours.array.shape == nifti.array.shape and np.allclose(ours.affine, nifti.affine)
    assert run(checkpoint, series, out, format="same", preview="none") == ["skipped"] * 4
    with pytest.raises(UserError, match="4 x result of a conversion"):
        inputs(out, tmp_path / "other")


def test_everything_that_shapes_a_result_belongs_to_its_key(
    checkpoint, source, slices_of, write_series, enhanced, tmp_path
):
    slices = [*slices_of(np.zeros((20, 20, 4), np.int16)), *slices_of(np.ones((20, 20, 4), np.int16))]
    dataset = enhanced(slices)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.MRImageFrameTypeSequence = [pydicom.Dataset()]
        group.MRImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY", "DIXON", "WF"[number // 4]]
    water, fat = find_sources(write_series(tmp_path, [dataset])[0])[0]
    model, volume = load_model(checkpoint), source_of(source)

    def key(case=volume, models=1, reference=None, **settings) -> str:
        config = ConvertConfig(checkpoint, "in", Path("out"), **settings)
        members = members_of([model.translator] * models, config.planes, mirror=config.mirror)
        conversion = Conversion(config, [model] * models, members, reference)
        return key_of(case, "sha256", conversion.settings)

    settings = [
        *({"fusion": "median"}, {"mirror": True}, {"uncertainty": True}, {"planes": ("coronal",)}),
        *({"format": "dicom"}, {"format": "dicom", "resample": "axial"}, {"direction": "ct_to_mr"}, {"models": 2}),
        *({"case": water}, {"case": fat}, {"reference": volume}, {"reference": water}, {"reference": fat}),
    ]
    assert water.files == fat.files and len({key(), *(key(**each) for each in settings)}) == len(settings) + 1
    assert key(batch_size=1, preview="none", overwrite=True, strict=True) == key()


def test_a_sagittal_series_is_warned_of_or_resampled_to_axial_slices(
    checkpoint, source, slices_of, write_series, tmp_path
):
    array = read_volume(source).array
    pixels = np.clip(array * 900 / array.max(), 0, 900).astype(np.int16).transpose(2, 1, 0)[::-1, ::-1, ::-1]
    write_series(tmp_path / "T1", slices_of(pixels, "sagittal", (2.7, 2.7, 2.7)))
    for settings, start in (({}, "The CT series is sagittal"), ({"resample": "axial"}, "Resampled linearly")):
        config = ConvertConfig(checkpoint, str(tmp_path / "T1"), tmp_path / "out", device="cpu", format="dicom")
        [case] = convert(replace(config, **settings))
        told = [each for each in case.warnings if each.startswith(start)]
        assert case.outcome == "converted" and len(told) == 1
        assert told[0] in json.loads((tmp_path / "out" / "T1_sct.json").read_text())["warnings"]
        assert told[0] in (tmp_path / "out" / "index.html").read_text()
    slices = [pydicom.dcmread(path) for path in sorted((tmp_path / "out" / "T1_sct").iterdir())]
    assert len(slices) == pixels.shape[0] and {each.PatientID for each in slices} == {"P1"}
    assert {tuple(each.ImageOrientationPatient) for each in slices} == {(1, 0, 0, 0, 1, 0)}
    with pytest.raises(UserError, match="--resample axial is for DICOM series"):
        ConvertConfig(checkpoint, "in", tmp_path / "out", resample="axial")


def test_a_forced_result_does_not_pass_for_one_that_was_accepted(checkpoint, phantoms, tmp_path):
    ct, out = next((phantoms / "test" / "ct").iterdir()), tmp_path / "out"
    assert [run(checkpoint, ct, out, force=force) for force in (False, True, True, False)] == [
        ["failed"], ["converted"], ["skipped"], ["failed"],
    ]  # fmt: skip


def test_the_pictures_of_one_series_become_series_that_a_viewer_tells_apart(checkpoint, series, tmp_path):
    for number, path in enumerate(sorted((series / "T1").iterdir())):
        dataset = pydicom.dcmread(path)
        for kind in ("W", "F"):
            dataset.ImageType, dataset.SOPInstanceUID = (
                ["DERIVED", "PRIMARY", kind],
                f"1.2.826.0.1.{number}.{ord(kind)}",
            )
            dataset.save_as(path.with_name(f"{kind}{path.name}"))
        path.unlink()
    assert run(checkpoint, series, tmp_path / "out", format="dicom") == ["converted"] * 2
    first = {kind: pydicom.dcmread(tmp_path / "out" / f"T1_{kind}_sct" / "0001.dcm") for kind in "WF"}
    for kind, dataset in first.items():
        assert dataset.SeriesDescription.startswith(f"Synthetic CT, research only, {kind}")
    assert {dataset.SeriesNumber for dataset in first.values()} == {9004, 10004}
    assert len({dataset.SeriesInstanceUID for dataset in first.values()}) == 2
