import json
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
import torch
from processes import Program

from cyclegan_gc.checkpoint import load_checkpoint, save_checkpoint
from cyclegan_gc.cli import main
from cyclegan_gc.config import ConvertConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.convert.outcome import NO_MAP
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.volumes import read_volume

MANY = 10**9


@pytest.fixture
def folder(phantoms, tmp_path) -> Path:
    """Two heads."""
    for name in ("a.nii.gz", "deep/b.nii.gz"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next((phantoms / "test" / "mr").iterdir()), tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def series(phantoms, slices_of, write_series, tmp_path) -> Path:
    """A head as an oblique DICOM series."""
    array = read_volume(next((phantoms / "test" / "mr").iterdir())).array
    pixels = np.clip(array * 900 / array.max(), 0, 900).astype(np.int16).transpose(1, 0, 2)
    write_series(tmp_path / "dicom" / "T1", slices_of(pixels, "axial", (2.7, 2.7, 2.7)))
    return tmp_path / "dicom"


def run(checkpoint: Path, source: Path, output: Path, **settings) -> list[str]:
    return [case.outcome for case in convert(ConvertConfig(checkpoint, str(source), output, device="cpu", **settings))]


def test_a_second_run_converts_only_cases_without_an_intact_result(checkpoint, folder, tmp_path):
    out = tmp_path / "out"
    assert run(checkpoint, folder, out) == ["converted"] * 2
    assert run(checkpoint, folder, out) == ["skipped"] * 2
    (out / "a_sct.nii.gz").write_bytes((out / "a_sct.nii.gz").read_bytes()[:-3])
    assert run(checkpoint, folder, out) == ["converted", "skipped"]
    (out / "deep" / "b_sct.json").unlink()
    assert run(checkpoint, folder, out) == ["skipped", "converted"]
    assert run(checkpoint, folder, out, mirror=True) == ["converted"] * 2
    assert run(checkpoint, folder, out, mirror=True, overwrite=True) == ["converted"] * 2
    image = nib.Nifti1Image.from_filename(folder / "a.nii.gz")
    nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1), image.affine).to_filename(folder / "a.nii.gz")
    assert run(checkpoint, folder, out, mirror=True) == ["converted", "skipped"]


def test_an_mr_whose_voxels_lie_apart_from_its_header_is_converted_again_if_they_changed(checkpoint, source, tmp_path):
    voxels = read_volume(source).array.T
    for changed, outcome in ((0, "converted"), (1, "converted"), (1, "skipped")):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels + np.float32(changed)), str(tmp_path / "a.mhd"))
        assert run(checkpoint, tmp_path / "a.mhd", tmp_path / "out") == [outcome]


def test_the_sidecar_says_how_the_result_was_made_and_holds_no_path(checkpoint, folder, tmp_path):
    run(checkpoint, folder, tmp_path / "out")
    text = (tmp_path / "out" / "deep" / "b_sct.json").read_text()
    known = json.loads(text)
    assert known["source"]["name"] == "b.nii.gz" and known["result"]["name"] == "b_sct.nii.gz"
    assert "not a medical device" in known["disclaimer"] and len(known["settings"]["models"][0]) == 64
    assert "went through the network at 4" in known["warnings"][0]
    assert set(known["slice_discontinuity"]) == {"source", "single", "fused"}
    assert known["quality"]["verdict"] in ("pass", "warn", "implausible") and known["quality"]["figures"]["gc"] <= 1
    for file in (tmp_path / "out").rglob("*.*"):
        assert str(tmp_path).encode() not in file.read_bytes(), file


def test_the_manifest_and_the_page_name_every_case(checkpoint, folder, tmp_path):
    (folder / "broken.nii.gz").write_bytes(b"")
    assert run(checkpoint, folder, tmp_path / "out") == ["converted", "failed", "converted"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["converted"] == 2 and manifest["counts"]["failed"] == 1
    [failed] = [case for case in manifest["cases"] if case["failure"]]
    assert failed["failure"].startswith("broken.nii.gz: the file is empty")
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.index("broken.nii.gz") < page.index("deep/b.nii.gz")
    assert 'src="deep/b_sct.png"' in page and (tmp_path / "out" / "deep" / "b_sct.png").is_file()


def test_shards_are_joined_and_a_missing_one_is_named(checkpoint, folder, tmp_path, capsys):
    out = tmp_path / "out"
    run(checkpoint, folder, out, shard="1/2")
    assert main(["manifest", "merge", str(out)]) == 2 and "[2] of 2 are missing" in capsys.readouterr().err
    run(checkpoint, folder, out, shard="2/2")
    assert main(["manifest", "merge", str(out)]) == 0
    assert [case["source"] for case in json.loads((out / "manifest.json").read_text())["cases"]] == [
        *("a.nii.gz", "deep/b.nii.gz"),
    ]


def test_planes_are_fused_and_their_differences_are_written(checkpoint, folder, tmp_path):
    words = ["convert", str(folder / "a.nii.gz"), str(tmp_path / "out"), "--checkpoint", str(checkpoint)]
    assert main([*words, "--planes", "axial", "coronal", "sagittal", "--uncertainty", "true", "--device", "cpu"]) == 0
    known = json.loads((tmp_path / "out" / "a_sct.json").read_text())
    assert known["settings"]["planes"] == ["axial", "coronal", "sagittal"]
    assert set(known["slice_discontinuity"]) == {"source", "single", "fused"}
    spread = read_volume(tmp_path / "out" / "a_sct_uncertainty.nii.gz")
    source = read_volume(folder / "a.nii.gz")
    assert spread.array.min() == 0 < spread.array.max() and np.array_equal(spread.affine, source.affine)


def test_uncertainty_of_one_translation_and_planes_never_trained_are_refused(checkpoint, folder, tmp_path):
    with pytest.raises(UserError, match="several translations"):
        run(checkpoint, folder, tmp_path / "out", uncertainty=True, planes=("axial",))


def test_a_case_with_one_translation_left_says_why_it_has_no_map_and_is_not_converted_again(
    checkpoint, thick_slices, folder, tmp_path
):
    shutil.copy(thick_slices, folder / "thick.nii.gz")
    out = tmp_path / "out"
    assert run(checkpoint, folder, out, uncertainty=True) == ["converted"] * 3
    assert not (out / "thick_sct_uncertainty.nii.gz").exists() and (out / "a_sct_uncertainty.nii.gz").exists()
    known = [json.loads((out / f"{name}_sct.json").read_text())["warnings"] for name in ("thick", "a")]
    assert [NO_MAP in each for each in known] == [True, False]
    assert run(checkpoint, folder, out, uncertainty=True) == ["skipped"] * 3


def test_an_ensemble_of_one_model_twice_is_that_model(checkpoint, folder, tmp_path):
    run(checkpoint, folder, tmp_path / "one")
    run(checkpoint, folder, tmp_path / "two", ensemble=(checkpoint,), uncertainty=True)
    one, two = (read_volume(tmp_path / name / "a_sct.nii.gz").array for name in ("one", "two"))
    assert np.array_equal(one, two)


def test_a_series_becomes_a_volume_or_a_series_on_its_own_grid(checkpoint, series, tmp_path):
    assert run(checkpoint, series, tmp_path / "nifti") == ["converted"]
    assert run(checkpoint, series, tmp_path / "dicom_out", format="dicom") == ["converted"]
    source = read_series(sorted((series / "T1").iterdir()), MANY)
    volume = read_volume(tmp_path / "nifti" / "T1_sct.nii.gz")
    written = read_series(sorted((tmp_path / "dicom_out" / "T1_sct").iterdir()), MANY)
    assert np.allclose(volume.affine, source.affine, atol=1e-4) and np.allclose(written.affine, source.affine)
    assert np.array_equal(written.array, volume.array)
    assert run(checkpoint, series, tmp_path / "dicom_out", format="dicom") == ["skipped"]


def test_a_nifti_file_becomes_a_series_only_beside_the_one_it_was_made_from(checkpoint, series, tmp_path, capsys):
    source = read_series(sorted((series / "T1").iterdir()), MANY)
    nib.Nifti1Image(source.array.astype(np.int16), source.affine).to_filename(tmp_path / "head.nii.gz")
    words = ["convert", str(tmp_path / "head.nii.gz"), str(tmp_path / "out"), "--checkpoint", str(checkpoint)]
    words += ["--format", "dicom", "--device", "cpu"]
    assert main(words) == 3 and "--reference_dicom" in capsys.readouterr().err
    assert main([*words, "--reference-dicom", str(series)]) == 0
    [uid] = {pydicom.dcmread(path).StudyInstanceUID for path in (tmp_path / "out" / "head_sct").iterdir()}
    assert uid == "1.2.826.0.1.1"


def test_one_of_two_series_can_be_chosen(checkpoint, series, slices_of, write_series, tmp_path):
    other = list(slices_of(np.zeros((20, 20, 3), np.int16)))
    for number, dataset in enumerate(other, start=900):
        dataset.SeriesInstanceUID, dataset.SeriesNumber, dataset.InstanceNumber = "1.2.826.0.1.9", 8, number
    write_series(series / "T1", other)
    assert sorted(run(checkpoint, series, tmp_path / "both")) == ["converted", "failed"]
    assert run(checkpoint, series, tmp_path / "one", series="1.2.826.0.1.2") == ["converted"]
    assert (tmp_path / "one" / "T1_series4_sct.nii.gz").is_file()
    with pytest.raises(UserError, match="no such series"):
        run(checkpoint, series, tmp_path / "none", series="1.2.3")


def test_force_converts_a_ct_given_as_mr_with_a_warning(checkpoint, phantoms, tmp_path):
    ct = next((phantoms / "test" / "ct").iterdir())
    [refused] = convert(ConvertConfig(checkpoint, str(ct), tmp_path / "a", device="cpu"))
    [forced] = convert(ConvertConfig(checkpoint, str(ct), tmp_path / "b", device="cpu", force=True))
    assert refused.failure and "--force" in refused.failure
    assert forced.outcome == "converted" and "--force" in forced.warnings[0]


def test_a_case_whose_values_are_not_finite_has_no_result(checkpoint, folder, tmp_path):
    state = load_checkpoint(checkpoint)
    state["ema"]["mr_to_ct"] = {name: each * torch.nan for name, each in state["ema"]["mr_to_ct"].items()}
    save_checkpoint(tmp_path / "broken.pt", state)
    cases = convert(ConvertConfig(tmp_path / "broken.pt", str(folder), tmp_path / "out", device="cpu"))
    for case in cases:
        assert case.failure and case.failure.startswith(f"{case.source}: the network gave values that are not finite")
    assert len(cases) == 2 and not list((tmp_path / "out").rglob("*_sct*"))


def test_after_a_kill_only_the_rest_is_converted_and_no_partial_file_stays(checkpoint, folder, tmp_path):
    for n in range(6):
        shutil.copy(folder / "a.nii.gz", folder / f"c{n}.nii.gz")
    out = tmp_path / "out"
    words = ["convert", str(folder), str(out), "--checkpoint", str(checkpoint), "--device", "cpu"]
    process = Program(partial(main, words))
    deadline = time.monotonic() + 120
    while len(list(out.glob("*_sct.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send(signal.SIGKILL)
    process.finish()
    for path in out.rglob("*_sct.nii.gz"):
        read_volume(path)
    finished = len(list(out.rglob("*_sct.json")))
    assert 2 <= finished < 8
    outcomes = run(checkpoint, folder, out)
    assert outcomes.count("skipped") == finished and outcomes.count("converted") == 8 - finished
    assert not list(out.rglob(".*.part"))


def test_a_full_disk_leaves_no_half_file_and_is_named(checkpoint, folder, tmp_path):
    words = ["convert", str(folder), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    status, _, errors = Program(partial(main, words), file_limit=5000).finish()
    assert status == 3 and errors.count("cannot be written (File too large)") == 2
    assert not list((tmp_path / "out").rglob("*_sct*")) and not list((tmp_path / "out").rglob(".*"))
