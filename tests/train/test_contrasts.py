"""Several MR contrasts of a subject as channels: found, prepared, trained on and converted together."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cyclegan_gc.checkpoint import load_checkpoint
from cyclegan_gc.config import ConvertConfig, DataConfig, LossConfig, TrainConfig
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.convert.plan import plan
from cyclegan_gc.convert.single import convert_volume
from cyclegan_gc.data.cache import cached_volume
from cyclegan_gc.data.cases import find_files
from cyclegan_gc.data.planes import Stack, upright
from cyclegan_gc.data.reading import read
from cyclegan_gc.data.subjects import subjects_of
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.sources import find_sources, source_of
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.model.cyclegan import Batch, Translations, air_outside, consistency_losses
from cyclegan_gc.train.loop import train
from cyclegan_gc.trained_model import load_model

ENDINGS = ("_T1w", "_T2w")


def write_contrasts(source: Path, folder: Path, case: str) -> list[Path]:
    """A head as it is and with bright and dark exchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image.from_filename(source)
    values = np.asarray(image.dataobj, dtype=np.float32)
    paths = [folder / f"{case}{ending}.nii.gz" for ending in ENDINGS]
    for path, array in zip(paths, (values, np.where(values > 50, 1200 - values, values)), strict=True):
        nib.Nifti1Image(array, image.affine).to_filename(path)
    return paths


@pytest.fixture(scope="module")
def heads(phantoms, tmp_path_factory) -> Path:
    """Two subjects to train on and one to convert, each in two contrasts."""
    folder = tmp_path_factory.mktemp("contrasts")
    for number, path in enumerate(sorted((phantoms / "mr").iterdir()), start=1):
        write_contrasts(path, folder / "mr", f"sub-{number:02d}")
    write_contrasts(next((phantoms / "test" / "mr").iterdir()), folder / "new" / "scan", "sub-09")
    return folder


@pytest.fixture(scope="module")
def contrasted(small_config, heads) -> TrainConfig:
    return replace(small_config, data=replace(small_config.data, mr=str(heads / "mr"), contrasts=ENDINGS))


@pytest.fixture(scope="module", params=[0, 1], ids=["2-D", "2.5-D"])
def run(request, contrasted, tmp_path_factory) -> Path:
    data = replace(contrasted.data, context_slices=request.param)
    return train(replace(contrasted, data=data, output=tmp_path_factory.mktemp("run")))


def test_files_are_joined_by_folder_and_name(heads):
    cases, left_out = find_sources(heads / "mr", ENDINGS)
    assert {case.name: case.files for case in cases} == {
        f"sub-0{n}": tuple(heads / "mr" / f"sub-0{n}{ending}.nii.gz" for ending in ENDINGS) for n in (1, 2)
    }
    assert left_out == []


def test_a_name_that_is_all_ending_takes_its_folders_and_the_longest_ending_counts(tmp_path):
    for name in ("p1/T1.nii", "p1/T2.nii", "p2/T1.nii", "p2/T2.nii", "p2/other.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    cases, left_out = find_sources(tmp_path, ("T1", "T2"))
    assert [case.name for case in cases] == ["p1", "p2"] == subjects_of(cases)
    assert left_out == [("p2/other.nii", "file without one of the endings T1, T2")]
    for name in ("a_T1w.nii", "a_ce_T1w.nii"):
        (tmp_path / "p3").mkdir(exist_ok=True)
        (tmp_path / "p3" / name).write_bytes(b"")
    assert [case.name for case in find_sources(tmp_path / "p3", ("_T1w", "_ce_T1w"))[0]] == ["a"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sub-07_T1w.nii.gz", r"sub-07_T1w\.nii\.gz: has no _T2w; add or remove it"),
        ("sub-01_T1w.nii", r"sub-01_T1w\.nii\S*: second file of this case and contrast, beside sub-01_T1w\.nii"),
    ],
)
def test_a_missing_or_second_contrast_is_named(heads, tmp_path, name, message):
    for path in (heads / "mr").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=message):
        [case.readable_files() for case in find_sources(tmp_path, ENDINGS)[0]]


def test_a_ct_beside_the_contrasts_is_none_of_them(heads, phantoms, tmp_path):
    """Contrasts as nnU-Net names them, and the CT of each subject in the same folder, named in both ways."""
    for number, ct in enumerate(("sub1_ct", "sub2_ct_0000"), start=1):
        mrs = sorted((heads / "mr").glob(f"sub-0{number}*"))
        names = (f"sub{number}_0000", f"sub{number}_0001", ct)
        for source, name in zip((*mrs, next((phantoms / "test" / "ct").iterdir())), names, strict=True):
            (tmp_path / f"{name}.nii.gz").symlink_to(source)
    endings = ("_0000", "_0001")
    found = find_files(DataConfig(str(tmp_path), str(tmp_path), contrasts=endings))
    assert [case.source.name for case in found.cases] == ["sub1", "sub2", "sub1_ct", "sub2_ct_0000"]
    jobs, left_out = plan(ConvertConfig(Path("last.pt"), str(tmp_path), tmp_path / "out"), endings)
    assert [job.stem for job in jobs] == ["sub1_sct", "sub2_sct"]
    assert sorted(each.label for each in left_out) == ["sub1_ct.nii.gz", "sub2_ct_0000.nii.gz"]


def test_a_folder_without_such_endings_is_refused(phantoms):
    with pytest.raises(UserError, match="no name ends in _T1w or _T2w"):
        find_sources(phantoms / "mr", ENDINGS)


def test_contrasts_of_two_grids_are_refused(phantoms, small_config, tmp_path):
    one, other = write_contrasts(sorted((phantoms / "mr").iterdir())[0], tmp_path, "sub-01")
    image = nib.Nifti1Image.from_filename(other)
    nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine).to_filename(other)
    with pytest.raises(VolumeError, match=r"sub-01_T2w\.nii\.gz: not on the grid of sub-01_T1w\.nii\.gz"):
        cached_volume([source_of(one, other)], "mr", small_config.preprocess, tmp_path / "cache")


def test_each_contrast_is_what_it_would_be_alone_within_the_body_of_the_first(heads, contrasted, tmp_path):
    settings = replace(contrasted.preprocess, spacing_mm=None)
    one, other = sorted((heads / "mr").glob("sub-01*"))
    both = cached_volume([source_of(one, other)], "mr", settings, tmp_path)
    first = cached_volume([source_of(one)], "mr", settings, tmp_path)
    (image, alone), (mask, body) = (
        [vars(read([upright(Stack(volume, "axial"), 20, context=1)]))[name][0] for volume in (both, first)]
        for name in ("image", "mask")
    )
    assert image.shape[0] == 6 and mask.shape[0] == 3
    assert torch.equal(image[::2], alone) and torch.equal(mask, body)
    assert both.spans == first.spans and both.statistics == first.statistics
    inside = mask[1]
    assert np.corrcoef(image[2][inside], image[3][inside])[0, 1] < -0.5
    assert (image[3][~inside] == -1).all()


def test_a_ct_is_held_against_every_contrast():
    random = torch.Generator().manual_seed(0)
    mr = torch.rand(2, 6, 12, 12, generator=random)  # three slices of two contrasts
    ct, mask = torch.rand(2, 3, 12, 12, generator=random), torch.rand(2, 3, 12, 12, generator=random) > 0.1

    def loss(contrasts: torch.Tensor) -> torch.Tensor:
        images = Translations(ct, contrasts, contrasts, ct)
        return consistency_losses(Batch(contrasts, ct, mask, mask), images)["gradient_mr"]

    torch.testing.assert_close(loss(mr), (loss(mr[:, ::2]) + loss(mr[:, 1::2])) / 2)
    outside = air_outside(mr, mask)
    for contrast in (0, 1):
        assert (outside[:, contrast::2][~mask] == -1).all()
        assert torch.equal(outside[:, contrast::2][mask], mr[:, contrast::2][mask])


def test_a_run_of_two_contrasts_is_resumed_bit_for_bit(contrasted, tmp_path, same):
    states = []
    for name, stop in (("whole", None), ("parted", 9)):
        config = replace(contrasted, output=tmp_path / name)
        train(replace(config, stop_at=stop))
        states.append(load_checkpoint(train(replace(config, resume="auto")) if stop else config.output / "last.pt"))
    assert all(same(*(state[part] for state in states)) for part in ("networks", "ema", "pools", "best_score"))


def test_a_folder_is_converted_case_by_case_and_a_case_as_in_a_folder(run, heads, tmp_path):
    assert load_model(run).translator.contrasts == ENDINGS
    outcomes = convert(ConvertConfig(run, str(heads / "new"), tmp_path / "out", device="cpu"))
    assert [(case.failure, case.result) for case in outcomes] == [
        (None, tmp_path / "out" / "scan" / "sub-09_sct.nii.gz")
    ]
    result = nib.Nifti1Image.from_filename(outcomes[0].result)
    one, other = sorted((heads / "new" / "scan").iterdir())
    assert read_volume(outcomes[0].result).affine == pytest.approx(read_volume(one).affine)
    convert_volume(run, [one, other], tmp_path / "alone.nii.gz", device="cpu")
    alone = np.asarray(nib.Nifti1Image.from_filename(tmp_path / "alone.nii.gz").dataobj)
    assert np.array_equal(np.asarray(result.dataobj), alone)
    assert len(np.unique(alone)) > 10
    (again,) = convert(ConvertConfig(run, str(heads / "new"), tmp_path / "out", device="cpu"))
    assert again.outcome == "skipped"


def test_a_case_that_lacks_a_contrast_fails_and_the_others_are_converted(run, heads, tmp_path):
    source = tmp_path / "DOE"
    for case in ("sub-01", "sub-02"):
        write_contrasts(sorted((heads / "new" / "scan").iterdir())[0], source, case)
    (source / "sub-02_T2w.nii.gz").unlink()
    image = nib.Nifti1Image.from_filename(source / "sub-01_T2w.nii.gz")
    nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine).to_filename(source / "sub-03_T2w.nii.gz")
    (source / "sub-03_T1w.nii.gz").write_bytes((source / "sub-01_T1w.nii.gz").read_bytes())
    outcomes = convert(ConvertConfig(run, str(source), tmp_path / "out", device="cpu"))
    assert [case.outcome for case in outcomes] == ["converted", "failed", "failed"]
    assert outcomes[1].failure == f"{source / 'sub-02_T1w.nii.gz'}: has no _T2w; add or remove it"
    assert str(tmp_path) not in (tmp_path / "out" / "manifest.json").read_text()


def test_the_results_name_keeps_the_session(run, heads, tmp_path):
    write_contrasts(sorted((heads / "new" / "scan").iterdir())[0], tmp_path / "in", "sub-01_ses-2")
    jobs, _ = plan(ConvertConfig(run, str(tmp_path / "in"), tmp_path / "out", naming="bids"), ENDINGS)
    name = "sub-01/ses-2/ct/sub-01_ses-2_space-MR_desc-synthetic_ct.nii.gz"
    assert [job.result for job in jobs] == [tmp_path / "out" / name]


def test_both_contrasts_reach_the_result(run, heads, tmp_path):
    one, other = sorted((heads / "new" / "scan").iterdir())
    results = []
    for name, contrasts in (("both", (one, other)), ("twice", (one, one))):
        path = convert_volume(run, contrasts, tmp_path / f"{name}.nii.gz", device="cpu").result
        results.append(np.asarray(nib.Nifti1Image.from_filename(path).dataobj))
    assert not np.array_equal(*results)


def test_a_ct_becomes_the_first_contrast(run, phantoms, tmp_path):
    source = next((phantoms / "test" / "ct").iterdir())
    path = convert_volume(run, source, tmp_path / "smr.nii.gz", direction="ct_to_mr", device="cpu").result
    assert nib.Nifti1Image.from_filename(path).shape == nib.Nifti1Image.from_filename(source).shape


def test_a_model_of_two_contrasts_refuses_one(run, heads, phantoms, tmp_path):
    one, _ = sorted((heads / "new" / "scan").iterdir())
    with pytest.raises(UserError, match="give one of each"):
        convert_volume(run, one, tmp_path / "x.nii.gz", device="cpu")
    with pytest.raises(UserError, match="no name ends in _T1w or _T2w"):
        convert(ConvertConfig(run, str(phantoms / "mr"), tmp_path / "out", device="cpu"))


def test_what_one_ct_cannot_stand_for_is_refused(contrasted):
    with pytest.raises(UserError, match=r"--loss\.identity must be 0 with --data\.contrasts"):
        replace(contrasted, loss=LossConfig(identity=0.5))
    with pytest.raises(UserError, match=r"data\.contrasts must be two or more endings"):
        replace(contrasted.data, contrasts=("_T1w",))
