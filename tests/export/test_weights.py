import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from cyclegan_gc import convert_volume, load_model
from cyclegan_gc.cli import main
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.volumes import read_volume


@pytest.fixture(scope="session")
def weights(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    assert main(["export", str(run), "--format", "weights", "--output", str(folder)]) == 0
    return folder / "model.safetensors"


def test_weights_convert_as_their_checkpoint_does_with_the_same_verdict(run, weights, source, tmp_path):
    whole = convert_volume(run, source, tmp_path / "a.nii.gz", device="cpu")
    words = ["convert", str(source), str(tmp_path / "b"), "--checkpoint", str(weights), "--device", "cpu"]
    assert main(words) == 0
    [result] = (tmp_path / "b").glob("*_sct.nii.gz")
    assert np.array_equal(read_volume(whole.result).array, read_volume(result).array)
    known = json.loads(result.with_name(result.name.replace(".nii.gz", ".json")).read_text())
    assert whole.quality and known["quality"]["verdict"] == whole.quality.verdict
    assert known["quality"]["figures"]["cycle_error"] == whole.quality.figures["cycle_error"]
    assert load_model(weights, direction="ct_to_mr", device="cpu").members


def test_weights_hold_the_generators_and_settings_and_nothing_of_the_people(run, weights, phantoms):
    with safe_open(weights, framework="np") as file:
        names, facts = set(file.keys()), json.loads(file.metadata()["cyclegan_gc"])
    assert {name.split(".")[0] for name in names} == {"mr_to_ct", "ct_to_mr"}
    assert facts == json.loads(weights.with_suffix(".json").read_text())
    assert set(facts["config"]["data"]) == {"slice_axes", "crop", "context_slices", "contrasts"}
    for file in (weights, weights.with_suffix(".json")):
        content = file.read_bytes()
        assert not any(word in content for word in (b"Doe", b"head_7", str(phantoms).encode(), b".nii"))
    assert weights.stat().st_size < (run / "last.pt").stat().st_size / 3


def test_info_describes_weights(weights, capsys):
    assert main(["info", str(weights)]) == 0
    assert "model.safetensors: checkpoint at step 3 of 20" in capsys.readouterr().out


def test_damaged_foreign_and_edited_weights_are_refused_in_one_line(weights, tmp_path):
    flipped = bytearray(weights.read_bytes())
    flipped[-5] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(flipped)
    (tmp_path / "cut.safetensors").write_bytes(flipped[:-5])
    save_file(load_file(weights), tmp_path / "foreign.safetensors")
    with safe_open(weights, framework="np") as file:
        facts = file.metadata()["cyclegan_gc"]
    edited = facts.replace('"blocks": 1', '"blocks": 1000000')
    save_file(load_file(weights), tmp_path / "edited.safetensors", {"cyclegan_gc": edited})
    unnumbered = facts.replace('"format": "1"', '"kind": "1"')
    save_file(load_file(weights), tmp_path / "unnumbered.safetensors", {"cyclegan_gc": unnumbered})
    for name, said in (
        ("flipped", "damaged"), ("cut", "not a weights file"), ("foreign", "not a weights file"),
        ("edited", "is not what cyclegan-gc writes there"), ("none", "no such weights file"),
        ("unnumbered", "weights of format None, not '1'"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=rf"{name}\.safetensors: .*{said}") as caught:
            load_model(tmp_path / f"{name}.safetensors", device="cpu")
        assert "\n" not in str(caught.value)


def test_weights_from_before_a_setting_are_read_with_the_value_it_had(weights, tmp_path):
    with safe_open(weights, framework="np") as file:
        facts = json.loads(file.metadata()["cyclegan_gc"])
    del facts["config"]["preprocess"]["soft_tissue_hu"]
    save_file(load_file(weights), tmp_path / "old.safetensors", {"cyclegan_gc": json.dumps(facts)})
    [member] = load_model(tmp_path / "old.safetensors", planes=("axial",), device="cpu").members
    assert member.translator.preprocess.soft_tissue_hu is None
