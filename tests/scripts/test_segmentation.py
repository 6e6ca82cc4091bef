"""The segmentation experiment: labels and slices agree, and the network learns the classes."""

import json

import ablation
import nibabel as nib
import numpy as np
import pytest
import segmentation
import torch
from study_volumes import volumes_of

from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.files import case_id
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.phantom.subject import LABELS

BONE = list(segmentation.GROUPS).index("bone") + 1


@pytest.fixture(scope="module")
def head(phantoms) -> segmentation.Labelled:
    """A held-out phantom."""
    (ct,), (labels,) = (volumes_of(phantoms / "test" / kind) for kind in ("ct", "labels"))
    return segmentation.labelled(read_volume(ct), read_volume(labels))


def test_every_tissue_except_the_surrounding_air_belongs_to_one_group():
    named = [tissue for tissues in segmentation.GROUPS.values() for tissue in tissues]
    assert sorted([*named, "air"]) == sorted(LABELS)
    assert [int(segmentation.group_of()[LABELS[name]]) for name in ("air", "fat", "white", "marrow", "cavity")] == [
        0, 1, 2, 3, 4,
    ]  # fmt: skip


def test_labels_are_turned_like_the_slices(head):
    hu = (head.images + 1) / 2 * 2500 - 1000
    assert hu.shape == head.groups.shape and hu.shape[1:] == (1, *segmentation.SIZE)
    mean = [float(hu[head.groups == group].mean()) for group in range(5)]
    assert mean[0] < -950 and -150 < mean[1] < 100 and -20 < mean[2] < 80 and mean[3] > 400 and mean[4] < -600
    moved = hu.roll(3, dims=2)[head.groups == BONE].mean()
    assert float(moved) < mean[3] - 200


def test_a_short_training_segments_bone(head):
    torch.manual_seed(0)
    network = segmentation.build()
    segmentation.fit(network, [head], steps=60)
    found = segmentation.segment(network.eval(), head.images)
    overlap = segmentation.dice((found == BONE).numpy(), (head.groups == BONE).numpy())
    assert overlap is not None and overlap > 0.6


def test_a_missing_study_and_a_study_without_labels_are_refused(tmp_path, capsys):
    words = [str(tmp_path / "out"), "--ablation", str(tmp_path)]
    assert segmentation.main(words) == 2
    assert "run scripts/ablation.py gradient" in capsys.readouterr().err
    (tmp_path / "gradient").mkdir()
    file = tmp_path / "gradient" / "table.json"
    file.write_text(json.dumps({"test": {"mask": None}}))
    assert segmentation.main(words) == 2
    assert "volumes of your own, whose labels are not known" in capsys.readouterr().err
    file.write_text(json.dumps({"test": {"mask": "data/test_seed_2000/test/labels"}}))
    assert segmentation.main(words) == 2
    assert "--seed 2000: the tested heads have this seed; give another" in capsys.readouterr().err


def test_a_synthetic_ct_without_a_body_has_no_overlap_and_results_of_another_test_set_are_refused(phantoms, tmp_path):
    truth = phantoms / "test"
    (labels,) = volumes_of(truth / "labels")
    (tmp_path / "run" / "sct").mkdir(parents=True)
    air = nib.Nifti1Image.from_filename(labels)
    noise = np.random.default_rng(0).integers(-1010, -990, air.shape)
    air = nib.Nifti1Image(noise.astype(np.int16), air.affine)
    nib.save(air, tmp_path / "run" / "sct" / f"{case_id(labels)}_sct.nii.gz")
    run = {"arm": "off", "volumes": 2, "seed": 0, "folder": "run"}
    study = {"study": "gradient", "test": {"mr": "data/test/mr", "mask": str(truth / "labels")}}
    done = {"subjects": [case_id(labels)], "commands": ["cyclegan-gc convert DIR/data/test/mr DIR/run/sct"]}
    (tmp_path / "run" / "done.json").write_text(json.dumps(done))
    (result,) = segmentation.results_of(run, segmentation.build(), study, tmp_path)
    assert set(result.values.values()) == {0.0}
    sct = tmp_path / "run" / "sct" / f"{case_id(labels)}_sct.nii.gz"
    sct.write_bytes(sct.read_bytes()[:2000])
    with pytest.raises(VolumeError, match=sct.name):  # a damaged file must not count as a bad result
        segmentation.results_of(run, segmentation.build(), study, tmp_path)
    done["commands"] = ["cyclegan-gc convert DIR/data/other/mr DIR/run/sct"]
    (tmp_path / "run" / "done.json").write_text(json.dumps(done))
    with pytest.raises(UserError, match="its converted heads are of another test set"):
        segmentation.results_of(run, segmentation.build(), study, tmp_path)


@pytest.mark.slow
def test_the_synthetic_cts_of_a_study_and_its_true_cts_are_segmented(tmp_path):
    little = ["--volumes", "2", "--seeds", "0", "--test-subjects", "2", "--wandb-mode", "disabled", "--steps", "4"]
    arms = ["--arms", "off", "absolute"]
    assert ablation.main(["gradient", str(tmp_path / "study"), *little, *arms, "--", "--device=cpu"]) == 0
    words = ["--ablation", str(tmp_path / "study"), "--steps", "120", "--subjects", "3"]
    for output in ("one", "other"):
        assert segmentation.main([str(tmp_path / output), *words]) == 0
    assert segmentation.main([str(tmp_path / "one"), *words]) == 0  # with the kept network
    one, other = ((tmp_path / name / "runs.csv").read_text() for name in ("one", "other"))
    assert one == other and len(one.splitlines()) == 1 + 3 * 2
    lines = json.loads((tmp_path / "one" / "table.json").read_text())["lines"]
    bone = {line["arm"]: line["described"]["mean"] for line in lines if line["metric"] == "bone"}
    assert bone["true CT"] > 0.7 and bone["true CT"] > max(bone["off"], bone["absolute"])
