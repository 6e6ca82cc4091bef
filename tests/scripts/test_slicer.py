"""The module for 3D Slicer, without Slicer: its description, and a conversion as Slicer starts it."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import SimpleITK
from slicer import synthetic_ct

import cyclegan_gc
from cyclegan_gc.train.loop import train

SCRIPT = Path(synthetic_ct.__file__)
DESCRIPTION = ElementTree.parse(SCRIPT.with_suffix(".xml")).getroot()
HEAD = ["category", "title", "description", "version", "documentation-url", "license", "contributor"]
INDEXED, NAMED = {"name", "label", "description"} | {"channel", "index"}, {"name", "label", "description", "longflag"}


@pytest.fixture(scope="module")
def checkpoint(small_config, tmp_path_factory) -> Path:
    return train(replace(small_config, output=tmp_path_factory.mktemp("run"), stop_at=3))


@pytest.fixture(scope="module")
def volume(phantoms, tmp_path_factory) -> Path:
    """An MR as Slicer hands it over: NRRD, the slices along its first axis."""
    image = SimpleITK.ReadImage(str(next((phantoms / "test" / "mr").iterdir())))
    path = tmp_path_factory.mktemp("slicer") / "vtkMRMLScalarVolumeNode1.nrrd"
    SimpleITK.WriteImage(SimpleITK.DICOMOrient(image, "SAR"), str(path))
    return path


def parameters() -> list[ElementTree.Element]:
    """The described parameters of all groups."""
    return [each for group in DESCRIPTION.iter("parameters") for each in group if len(each)]


def test_the_description_has_slicers_elements_in_their_order():
    tags = [each.tag for each in DESCRIPTION]
    assert DESCRIPTION.tag == "executable" and tags[: len(HEAD)] == HEAD and set(tags[len(HEAD) :]) == {"parameters"}
    assert DESCRIPTION.findtext("version") == cyclegan_gc.__version__
    for each in parameters():
        assert {part.tag for part in each} - {"default"} == (NAMED if each.find("index") is None else INDEXED)
        assert re.fullmatch(r"[A-Za-z_]\w*", each.findtext("name", ""))


def test_the_description_and_the_script_have_the_same_options():
    actions = [each for each in synthetic_ct.parser()._actions if each.dest != "help"]
    positional = [each.dest for each in actions if not each.option_strings]
    indexed = sorted(
        (int(each.findtext("index", "")), each.findtext("name")) for each in parameters() if "--" not in flag(each)
    )
    assert indexed == list(enumerate(positional))
    flags = {each.option_strings[0]: str(each.default).lower() for each in actions if each.option_strings}
    assert {flag(each): each.findtext("default") for each in parameters() if flag(each)} == flags


def flag(parameter: ElementTree.Element) -> str:
    return parameter.findtext("longflag", "")


def test_slicer_takes_it_for_a_script_and_knows_the_volumes_it_reads_and_writes():
    assert SCRIPT.read_text().startswith("#!")
    images = {each.findtext("name"): each for each in parameters() if each.tag == "image"}
    assert {name: each.findtext("channel") for name, each in images.items()} == {"input": "input", "output": "output"}
    assert images["output"].get("reference") == "input"


def test_a_volume_becomes_the_ct_of_the_command_line_with_progress(checkpoint, volume, tmp_path):
    words = [sys.executable, SCRIPT, "--device", "cpu", checkpoint, volume, tmp_path / "out.nrrd"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    parts = [float(part) for part in re.findall("<filter-progress>(.*?)</filter-progress>", done.stdout)]
    assert parts == sorted(parts) and parts[0] == 0.1 and parts[-1] == 1 and len(parts) > 5
    assert done.stdout.startswith("<filter-start>") and done.stdout.endswith("</filter-end>\n")
    quality = cyclegan_gc.convert_volume(checkpoint, volume, tmp_path / "same.nrrd", device="cpu").quality
    assert quality and f"<filter-comment>verdict: {quality.verdict}</filter-comment>" in done.stdout
    assert ("verdict" in done.stderr) == (quality.verdict != "pass")
    made, same = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("out.nrrd", "same.nrrd"))
    assert made.GetOrigin() == same.GetOrigin() and made.GetDirection() == same.GetDirection()
    assert np.array_equal(SimpleITK.GetArrayFromImage(made), SimpleITK.GetArrayFromImage(same))


def test_what_cannot_be_converted_is_one_line_of_error(checkpoint, volume, tmp_path, capsys):
    empty = SimpleITK.ReadImage(str(volume)) * 0
    SimpleITK.WriteImage(empty, str(tmp_path / "empty.nrrd"))
    for model, source, result, said in (
        (checkpoint, tmp_path / "empty.nrrd", "out.nrrd", "empty.nrrd: "),
        (checkpoint, tmp_path / "none.nrrd", "out.nrrd", "none.nrrd"),
        (checkpoint, volume, "none/out.nrrd", "none/out.nrrd"),
        (tmp_path, volume, "out.nrrd", f"{tmp_path}: "),
    ):
        assert synthetic_ct.main([str(model), str(source), str(tmp_path / result), "--device", "cpu"]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out.nrrd").exists()
