import json
import re

from cyclegan_gc.cli import main


def test_the_page_links_the_files_of_a_case_and_names_the_model_but_no_path(checkpoint, source, tmp_path):
    words = ["convert", str(source), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--mirror", "true"]
    assert main([*words, "--uncertainty", "true", "--device", "cpu"]) == 0
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(.*?)">(.*?)</a>', page)
    assert [kind for _, kind in links] == ["CT", "JSON", "preview", "uncertainty"]
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
