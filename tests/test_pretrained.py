"""The trained models of the package."""

import re
from pathlib import Path

import numpy as np
import pytest

from cyclegan_gc import load_model
from cyclegan_gc.cli import main
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.metrics.skull import skull
from cyclegan_gc.metrics.voxelwise import BONE_ABOVE_HU
from cyclegan_gc.model_files import PRETRAINED, checkpoint_in
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.voxels import dice
from cyclegan_gc.weights import load_weights

NAMES = sorted(path.stem for path in PRETRAINED.glob("*.safetensors"))


def test_the_card_names_every_model_and_no_other():
    card = (PRETRAINED / "README.md").read_text()
    assert NAMES and re.findall(r"^## `(.+)`", card, flags=re.M) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_small_and_holds_generators_and_settings_alone(name):
    path = PRETRAINED / f"{name}.safetensors"
    tensors, facts = load_weights(path)
    assert path.stat().st_size < 2e6 and {key.partition(".")[0] for key in tensors} == {"mr_to_ct", "ct_to_mr"}
    assert facts.keys() == {"config", "fingerprint", "step", "checkpoint_sha256", "format", "weights_sha256"}
    assert not re.search(rb"/home|/work|/tmp|\.nii", path.read_bytes())


def test_a_file_or_folder_of_the_same_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checkpoint_in(Path(NAMES[0])) == PRETRAINED / f"{NAMES[0]}.safetensors"
    (tmp_path / NAMES[0]).mkdir()
    (tmp_path / NAMES[0] / "last.pt").touch()
    assert checkpoint_in(Path(NAMES[0])) == Path(NAMES[0], "last.pt")
    assert checkpoint_in(Path("other", NAMES[0])) == Path("other", NAMES[0])


def test_the_command_and_python_take_a_model_by_its_name(phantoms, tmp_path, capsys):
    source = next((phantoms / "test" / "mr").iterdir())
    assert main(["convert", str(source), str(tmp_path), "--checkpoint", "head-t1", "--device", "cpu"]) == 0
    written = read_volume(next(tmp_path.glob("*_sct.nii.gz"))).array
    again = load_model("head-t1", device="cpu").convert(read_volume(source).array, read_volume(source).affine)
    assert np.abs(np.asarray(again.image) - written).max() <= 1
    capsys.readouterr()
    assert main(["info", "head-t1"]) == 0
    assert capsys.readouterr().out.startswith("head-t1.safetensors: checkpoint at step 3000")


def test_a_training_begins_with_a_model_by_its_name(phantoms, tmp_path):
    words = ["train", "--config", "head", "--data.mr", phantoms / "mr", "--data.ct", phantoms / "ct", "--steps", "2"]
    words += ["--output", tmp_path, "--device", "cpu", "--wandb.mode", "disabled", "--init_from", "head-t1"]
    assert main([*map(str, words)]) == 0
    assert (tmp_path / "last.pt").exists()


def test_a_head_that_no_training_has_seen_becomes_a_believable_ct(real_data):
    """The figures that the card quotes."""
    pair = real_data / "pairs" / "colin27_phantom"
    mr, true = (read_volume(pair / f"{name}.nii.gz") for name in ("mr_colin27_t1", "ct_synthetic_hu_DERIVED"))
    result = load_model("head-t1", device="cpu").convert(mr.array, mr.affine)
    hu, body = np.asarray(result.image), ct_body_mask(true.array, (1.0, 1.0, 1.0))
    bone, true_bone = ((image > BONE_ABOVE_HU) & body for image in (hu, true.array))
    vault, true_vault = (skull(image, body, mr.affine) for image in (hu, true.array))
    assert vault and true_vault and result.verdict != "implausible"
    assert (dice(bone, true_bone) or 0) >= 0.72 and np.abs(hu - true.array)[body].mean() < 139
    assert abs(vault.thickness_mm - true_vault.thickness_mm) <= 1.5
    assert vault.holes < 0.03 and vault.specks_ml <= 0.5
