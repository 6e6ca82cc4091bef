"""Training on registered pairs, alone and beside unpaired volumes."""

import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cyclegan_gc.checkpoint import load_checkpoint, save_checkpoint
from cyclegan_gc.cli import main
from cyclegan_gc.config import ConvertConfig, PairedConfig, TrainConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.errors import TrainingStoppedError, UserError
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.phantom.subject import write_phantoms
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model

STATE = ("networks", "ema", "optimizers", "schedulers", "pools", "rng", "best_score", "meter", "fingerprint")
TERMS = ("paired_adversarial", "paired_l1", "paired_gradient", "paired_discriminator")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory) -> Path:
    """Three pairs of other heads than the unpaired ones."""
    folder = tmp_path_factory.mktemp("pairs")
    write_phantoms(folder, subjects=1, test_subjects=3, seed=8)
    for path in [path for side in ("mr", "ct") for path in (folder / "test" / side).iterdir()]:
        path.rename(path.with_name(path.name.replace("head", "pair")))
    return folder / "test"


@pytest.fixture(scope="module")
def few(small_config, pairs, tmp_path_factory) -> TrainConfig:
    """Unpaired, with pairs in every third step."""
    data = replace(small_config.data, pairs=str(pairs))
    paired, network = PairedConfig(every=3), replace(small_config.network, dropout=0.5)
    output = tmp_path_factory.mktemp("few") / "whole"
    return replace(small_config, output=output, data=data, paired=paired, network=network, steps=12, validate_every=6)


@pytest.fixture(scope="module")
def alone(few) -> TrainConfig:
    """The paired objective."""
    return replace(
        few, output=few.output.with_name("alone"), objective="paired", data=replace(few.data, mr=None, ct=None)
    )


@pytest.fixture(scope="module")
def few_trained(few) -> Path:
    return train(few)


@pytest.fixture(scope="module")
def alone_trained(alone) -> Path:
    return train(alone)


@pytest.mark.parametrize("objective", ["few", "alone"])
def test_a_run_with_pairs_and_noise_stopped_at_4_and_resumed_equals_the_whole_one(objective, request, same):
    config, whole = request.getfixturevalue(objective), request.getfixturevalue(f"{objective}_trained")
    parted = replace(config, output=config.output.with_name(f"{objective}_resumed"))
    train(replace(parted, stop_at=4))
    resumed = load_checkpoint(train(replace(parted, resume="auto", data=replace(parted.data, workers=1))))
    uninterrupted = load_checkpoint(whole)
    assert [part for part in STATE if not same(resumed[part], uninterrupted[part])] == []


def test_pairs_come_every_third_step_beside_the_unpaired_terms(few_trained, logged):
    lines = [line for line in logged(few_trained.parent) if "generator" in line]
    assert [line["step"] for line in lines if "paired_l1" in line] == [1, 4, 7, 10]
    for line in lines:
        unpaired = line["adversarial_ct"] + line["adversarial_mr"] + 3 * (line["cycle_mr"] + line["cycle_ct"])
        total = unpaired + 0.3 * (line["gradient_mr"] + line["gradient_ct"]) / 2
        if "paired_l1" in line:
            total += line["paired_adversarial"] + 100 * line["paired_l1"] + 0.3 * line["paired_gradient"]
            assert set(TERMS) <= line.keys()
        assert line["generator"] == pytest.approx(total, rel=1e-4)


def test_means_of_a_log_line_count_the_steps_that_have_the_term(few, few_trained, logged):
    coarse = replace(few, output=few.output.with_name("coarse"), log_every=6)
    lines = [line for line in logged(train(coarse).parent) if "generator" in line]
    fine = {line["step"]: line for line in logged(few_trained.parent) if "paired_l1" in line}
    assert lines[0]["paired_l1"] == pytest.approx((fine[1]["paired_l1"] + fine[4]["paired_l1"]) / 2, rel=1e-5)


def test_the_paired_objective_has_one_generator_and_no_unpaired_term(alone_trained, logged):
    saved = load_checkpoint(alone_trained)
    assert set(saved["networks"]) == {"mr_to_ct", "pair_discriminator"} and set(saved["ema"]) == {"mr_to_ct"}
    assert saved["pools"] == [{}]
    line = next(line for line in logged(alone_trained.parent) if "generator" in line)
    assert set(TERMS) <= line.keys() and not {"cycle_mr", "adversarial_ct", "discriminator_mr"} & line.keys()


def test_best_has_the_lowest_error_of_the_held_out_pair(alone, alone_trained, logged, cases_of):
    scores = {
        line["step"]: line["validation/score"] for line in logged(alone_trained.parent) if "validation/score" in line
    }
    assert sorted(scores) == [6, 12]
    assert load_checkpoint(alone_trained.with_name("best.pt"))["step"] == min(scores, key=lambda step: scores[step])
    cases = cases_of(alone)
    held_out, trained = {pair.name for pair in cases.judges}, {Path(s.source).name for s in cases.pairs}
    assert len(held_out) == 1 and len(trained) == 2 and not any(name.startswith(tuple(held_out)) for name in trained)


def test_the_held_out_error_is_that_of_an_evaluation(alone, alone_trained, logged, tmp_path, cases_of):
    """Without noise: the written volume, against the true CT, in the CT's body."""
    [pair] = cases_of(alone).judges
    convert(ConvertConfig(alone_trained, str(pair.mr.path), tmp_path, device="cpu"))
    sct = np.asarray(nib.Nifti1Image.from_filename(next(tmp_path.glob("*_sct.nii.gz"))).dataobj)
    truth = read_volume(pair.ct.path)
    body = ct_body_mask(truth.array, truth.spacing_mm)
    last = [line for line in logged(alone_trained.parent) if "validation/score" in line][-1]
    assert last["validation/mae_body_hu"] == pytest.approx(np.abs(sct - truth.array)[body].mean(), rel=1e-6)


def test_a_validation_that_is_not_finite_stops_the_run(alone):
    config = replace(alone, output=alone.output.with_name("broken"))
    last = train(replace(config, stop_at=5))
    saved = load_checkpoint(last)
    saved["ema"]["mr_to_ct"] = {name: each * torch.nan for name, each in saved["ema"]["mr_to_ct"].items()}
    save_checkpoint(last, saved)
    with pytest.raises(TrainingStoppedError, match=r"step 6: a synthetic CT of validation not finite; .*lower optimi"):
        train(replace(config, resume="auto"))


def test_a_paired_model_converts_without_a_cycle_error_and_not_from_ct(alone_trained, phantoms, tmp_path, capsys):
    [mr] = (phantoms / "test" / "mr").iterdir()
    notes: list[str] = []
    config = ConvertConfig(alone_trained, str(mr), tmp_path, device="cpu")
    [case] = convert(config, started=lambda jobs, said: notes.extend(said))
    assert case.quality is not None and "cycle_error" not in case.quality.figures and "gc" in case.quality.figures
    assert [note for note in notes if "no generator back" in note]
    words = ["convert", str(mr), str(tmp_path / "back"), "--checkpoint", str(alone_trained), "--device", "cpu"]
    assert main([*words, "--direction", "ct_to_mr"]) == 2
    assert "trained with objective paired, from MR to CT only" in capsys.readouterr().err


def test_conversion_draws_no_noise(alone_trained):
    generator, image = load_model(alone_trained).translator.generator, torch.rand(1, 1, 32, 24)
    assert torch.equal(generator(image), generator(image))


def test_a_subject_is_never_trained_on_and_judged_by(few, alone, pairs, tmp_path):
    both = replace(alone, output=tmp_path, data=replace(alone.data, validation_pairs=str(pairs)))
    with pytest.raises(UserError, match=r"this subject is among --data.validation_pairs too"):
        train(both)
    renamed = tmp_path / "renamed"
    for side in ("mr", "ct"):
        (renamed / side).mkdir(parents=True)
        shutil.copy(sorted((pairs / side).iterdir())[0], renamed / side / "another.nii.gz")
    with pytest.raises(UserError, match=r"this subject is among --data.validation_pairs too"):
        train(replace(both, data=replace(alone.data, validation_pairs=str(renamed))))


def test_a_pair_of_a_subject_of_the_unpaired_volumes_keeps_it_out_of_validation(few, phantoms, tmp_path, cases_of):
    """Each unpaired MR is a pair too, so none is left to validate on but the training cases."""
    for side in ("mr", "ct"):
        (tmp_path / side).mkdir()
        for path in (phantoms / "mr").iterdir():
            [source] = (phantoms / "test" / side).iterdir()
            (tmp_path / side / path.name).symlink_to(source)
    cases = cases_of(replace(few, output=tmp_path, data=replace(few.data, pairs=str(tmp_path))))
    assert len(cases.mr) == 2 and {s.path for s in cases.validation_mr} == {s.path for s in cases.mr}


@pytest.mark.parametrize("endings", [(), ("_a", "_b")])
def test_a_copy_of_a_pair_is_not_validated_on_whatever_it_is_called(few, phantoms, tmp_path, endings, cases_of):
    """Each unpaired MR is one, in its last contrast, so none is left to validate on but the training cases."""
    [mr], [ct] = ((phantoms / "test" / side).iterdir() for side in ("mr", "ct"))
    files = {"pairs/ct/head": ct}
    for ending in endings or ("",):
        files |= {f"{case}{ending}": mr for case in ("pairs/mr/head", "mr/one", "mr/another")}
    for name, source in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tmp_path / f"{name}.nii.gz")
    for path in (tmp_path / f"mr/{case}{ending}.nii.gz" for case in ("one", "another") for ending in endings[:-1]):
        image = nib.Nifti1Image.from_filename(path)
        nib.save(nib.Nifti1Image(2 * np.asarray(image.dataobj), image.affine), path)  # pyright: ignore
    data = replace(few.data, mr=str(tmp_path / "mr"), pairs=str(tmp_path / "pairs"), contrasts=endings)
    cases = cases_of(replace(few, output=tmp_path, data=data))
    assert len(cases.mr) == 2 and {s.path for s in cases.validation_mr} == {s.path for s in cases.mr}


def test_a_displaced_pair_stops_the_run_by_name(few, pairs, tmp_path):
    for side in ("mr", "ct"):
        shutil.copytree(pairs / side, tmp_path / side)
    path = sorted((tmp_path / "ct").iterdir())[0]
    image = nib.Nifti1Image.from_filename(path)
    voxels = round(12 / float(image.header.get_zooms()[0]))
    nib.save(nib.Nifti1Image(np.roll(np.asarray(image.dataobj), voxels, 0), image.affine), path)  # pyright: ignore
    moved = replace(few, output=tmp_path / "run", data=replace(few.data, pairs=str(tmp_path)))
    with pytest.raises(UserError, match=r"audit: pairs/pair_2000: pair: .*register them again.*--audit warn"):
        train(moved)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--objective", "paired"], "--data.pairs is missing: --objective paired needs a folder"),
        (
            ["--objective", "paired", "--data.pairs", "P", "--data.mr", "A"],
            "--data.mr and --data.ct are not for --objective paired",
        ),
        (["--data.mr", "A"], "--data.ct is missing"),
        (["--data.mr", "A", "--data.ct", "B", "--network.dropout", "1"], "network.dropout must be below 1"),
        (["--objective", "paired", "--data.pairs", "NOWHERE"], "NOWHERE: no such file or folder"),
    ],
)
def test_settings_that_do_not_fit_are_told_in_one_line(words, told, tmp_path, capsys):
    assert main(["train", "--output", str(tmp_path / "run"), "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_run_without_its_pairs_is_not_the_same_run(few, few_trained, tmp_path):
    without = replace(few, output=tmp_path, resume=str(few_trained), data=replace(few.data, pairs=None))
    with pytest.raises(UserError, match="other training volumes"):
        train(without)


def test_a_paired_run_can_begin_with_an_unpaired_model_but_not_the_other_way(few, alone, few_trained, alone_trained):
    more_noise = replace(alone.network, dropout=0.4)  # dropout has no weights
    begun = replace(alone, output=alone.output.with_name("begun"), network=more_noise, init_from=few_trained, stop_at=1)
    assert load_checkpoint(train(begun))["step"] == 1
    back = replace(few, output=few.output.with_name("back"), init_from=alone_trained, stop_at=1)
    with pytest.raises(UserError, match="has no generator from CT to MR"):
        train(back)
