import json
import os
import re
import shutil

import numpy as np
import pydicom

from cyclegan_gc.cli import main


def test_the_page_links_the_files_of_a_case_and_names_the_model_but_no_path(checkpoint, source, tmp_path):
    words = ["convert", str(source), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--mirror", "true"]
    assert main([*words, "--uncertainty", "true", "--device", "cpu"]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(.*?)">(.*?)</a>', page)
    assert [kind for _, kind in links[:-1]] == ["CT", "JSON", "preview", "slices", "uncertainty"]
    assert "<img" in links[-1][1] and links[-1][0] == links[3][0]
    assert all((tmp_path / "out" / name).is_file() for name, _ in links)
    name = f"{checkpoint.parent.name}/{checkpoint.name}"
    assert f"Model: {name}, step 3" in page and str(checkpoint.parent.parent) not in page
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    [model] = manifest["models"]
    assert (model["name"], model["step"]) == (name, 3) and manifest["settings"]["models"] == [model["sha256"]]
    sidecar = json.loads(next((tmp_path / "out").glob("*_sct.json")).read_text())
    assert sidecar["models"] == manifest["models"]


def test_a_result_stays_finished_when_the_same_model_has_another_name(checkpoint, source, tmp_path):
    renamed = tmp_path / "other" / "copy.pt"
    renamed.parent.mkdir()
    renamed.write_bytes(checkpoint.read_bytes())
    (renamed.parent / "config.json").write_text("{}")  # as in a run folder: its name is kept
    for path, outcome in ((checkpoint, "converted"), (renamed, "skipped")):
        words = ["convert", str(source), str(tmp_path / "out"), "--checkpoint", str(path), "--device", "cpu"]
        assert main(words) == 0
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert [case["outcome"] for case in manifest["cases"]] == [outcome]
    assert manifest["models"][0]["name"] == "other/copy.pt"


def test_odd_names_are_escaped_wherever_they_are_written(checkpoint, source, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in (b"M\xfcller.nii.gz", b"red\x1b[31m.nii.gz", b"x\nfailed: y.nii.gz"):
        shutil.copy(source, folder / os.fsdecode(name))
    (tmp_path / "in" / "bad\nfailed: z.nii.gz").write_bytes(b"")
    words = ["convert", str(tmp_path / "in"), str(out), "--checkpoint", str(checkpoint), "--device", "cpu"]
    assert main(words) == 3
    said = capsys.readouterr()
    assert "M\\xfcller.nii.gz" in said.out.encode().decode() and "M\\xfcller" in said.err.encode().decode()
    assert "\x1b" not in said.out + said.err and sum(line.startswith("failed: ") for line in said.err.splitlines()) == 1
    page = (out / "index.html").read_text(encoding="utf-8")
    assert (
        "\x1b" not in page
        and "x\\nfailed: y.nii.gz" in page
        and "M%FCller_sct.png" in page
        and "M%FCller_sct.html" in page
    )
    views = {path.name: path.read_text(encoding="utf-8") for path in out.glob("*_sct.html")}
    assert len(views) == 3 and not any("\x1b" in text or str(tmp_path) in text for text in views.values())
    assert any("M\\xfcller.nii.gz" in text for text in views.values())
    for case in json.loads((out / "manifest.json").read_text())["cases"]:
        assert case["source"].isprintable() and (case["failure"] or "").isprintable()
    assert len(list(out.glob("*_sct.nii.gz"))) == 3


def test_the_pictures_of_a_series_have_lines_of_their_own(
    checkpoint, series, slices_of, write_series, tmp_path, capsys
):
    water = [pydicom.dcmread(path).pixel_array for path in (series / "T1").iterdir()]
    fat = list(slices_of(np.zeros_like(np.dstack(water)), "axial", (2.7, 2.7, 2.7)))
    for dataset in fat:
        dataset.ImageType, dataset.SOPInstanceUID = ["ORIGINAL", "PRIMARY", "F"], f"{dataset.SOPInstanceUID}.2"
        dataset.InstanceNumber += 1000
    write_series(series / "T1", fat)
    words = ["convert", str(series), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    assert main(words) == 3
    lines = [line for line in capsys.readouterr().err.splitlines() if "T1" in line]
    assert sorted(re.findall(r": (T1\w*)", " ".join(lines))) == ["T1_F", "T1_M"]


def test_the_last_line_and_the_manifest_account_for_the_whole_input(checkpoint, source, tmp_path, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "z.nii.gz").write_bytes(b"")
    words = ["convert", str(tmp_path / "in"), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--device", "cpu"]
    assert main([*words, "--shard", "1/2"]) == 0
    assert (
        "4 found = 2 converted + 0 already there + 0 failed + 0 left out + 2 in other shards" in capsys.readouterr().out
    )
    shutil.copytree(tmp_path / "out", tmp_path / "in" / "sct")
    assert main(words) == 3
    line = capsys.readouterr().out.splitlines()[-1]
    assert "6 found = 1 converted + 2 already there + 1 failed + 2 left out; implausible results: 3" in line
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["found"] == 6 and manifest["counts"]["implausible"] == 3
    assert [each["reason"] for each in manifest["left_out"]] == ["result of a conversion"] * 2
    (tmp_path / "in" / "z.nii.gz").unlink()
    assert main(words) == 0 and main([*words, "--strict"]) == 3
