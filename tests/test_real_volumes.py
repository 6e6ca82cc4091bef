"""On public MR and CT volumes, where they lie beside the checkout; few steps, to test the road alone."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cyclegan_gc import gradient_correlation
from cyclegan_gc.cli import main
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.prepare.grid import mask_to_network, network_grid, to_network, to_source
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.preprocess import prepare

CONFIGS = Path(__file__).parents[1] / "configs"


def prepared(path: Path, modality: Modality) -> torch.Tensor:
    return prepare(read_volume(path), modality, PreprocessConfig()).image.as_tensor()[None].float()


def test_on_a_real_head_signed_correlation_prefers_a_shifted_ct_and_absolute_the_true_one(real_data):
    """The figures that the loss's description quotes."""
    pair = real_data / "pairs" / "colin27_phantom"
    mr, ct = prepared(pair / "mr_colin27_t1.nii.gz", "mr"), prepared(pair / "ct_synthetic_hu_DERIVED.nii.gz", "ct")
    shifted = torch.roll(ct, 8, dims=3)  # 8 mm
    signed = [float(gradient_correlation(mr, x, mode="signed", operator="forward")) for x in (ct, shifted)]
    absolute = [float(gradient_correlation(mr, x)) for x in (ct, shifted)]
    assert signed == pytest.approx([-0.01, 0.04], abs=0.01)
    assert absolute == pytest.approx([0.38, 0.18], abs=0.01)


@pytest.mark.parametrize(("spacing_mm", "error", "bone_error"), [(2.0, 35, 98), (1.5, 24, 67)])
def test_what_resampling_there_and_back_alone_costs(spacing_mm, error, bone_error, real_data):
    """The figures that the README quotes."""
    settings = PreprocessConfig()
    path = real_data / "pairs" / "colin27_phantom" / "ct_synthetic_hu_DERIVED.nii.gz"
    case = prepare(read_volume(path), "ct", settings)
    grid = network_grid(case, "axial", spacing_mm)
    image = case.image.as_tensor()
    back = to_source(to_network(image, grid), mask_to_network(case.mask, grid), grid)
    hu, again = (to_hu(each, settings)[case.mask] for each in (image, back))
    errors = (again - hu).abs()
    assert float(errors.mean()) == pytest.approx(error, abs=1)
    assert float(errors[hu > 250].mean()) == pytest.approx(bone_error, abs=1)


def test_real_heads_go_the_whole_road(real_data, tmp_path, capsys):
    train = tmp_path / "train"
    for modality, names in (("mr", ("mr02*", "mr04*")), ("ct", ("ct01*", "ct03*"))):
        (train / modality).mkdir(parents=True)
        for path in (found for name in names for found in (real_data / modality).glob(name)):
            (train / modality / path.name).symlink_to(path)
    words = ["--config", CONFIGS / "head.yaml", "--data.mr", train / "mr", "--data.ct", train / "ct"]
    small = ["--steps", "4", "--device", "cpu", "--network.width", "4", "--network.discriminator_width", "4"]
    pair = real_data / "pairs" / "colin27_phantom"
    mr, truth = pair / "mr_colin27_t1.nii.gz", pair / "ct_synthetic_hu_DERIVED.nii.gz"
    run, sct, result = tmp_path / "run", tmp_path / "sct", tmp_path / "evaluation"
    assert main([str(word) for word in ["train", *words, *small, "--output", run]]) == 0
    assert main([str(word) for word in ["convert", mr, sct, "--checkpoint", run / "last.pt", "--device", "cpu"]]) == 0
    judged = [
        "--predicted",
        sct / "mr_colin27_t1_sct.nii.gz",
        "--reference",
        truth,
        "--mr",
        mr,
        "--checkpoint",
        run / "last.pt",
    ]
    assert main([str(word) for word in ["evaluate", *judged, "--output", result]]) == 0

    source, converted = (nib.Nifti1Image.from_filename(x) for x in (mr, sct / "mr_colin27_t1_sct.nii.gz"))
    assert converted.shape == source.shape and converted.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(converted.affine), np.asarray(source.affine))
    assert "histogram match" in capsys.readouterr().out


def test_a_real_head_itself_is_perfect_and_moved_by_a_voxel_a_voxel_away(real_data, tmp_path):
    path = real_data / "pairs" / "mni2mm_template" / "ct_scct_hu_DERIVED.nii.gz"
    truth = nib.Nifti1Image.from_filename(path)
    for name, shift in (("same", 0), ("moved", 1)):
        moved = np.roll(np.asarray(truth.dataobj), shift, axis=2)
        nib.Nifti1Image(moved, truth.affine).to_filename(tmp_path / f"{name}.nii.gz")
    same, moved = (
        evaluate(Sources(str(tmp_path / f"{name}.nii.gz"), str(path)), tmp_path / name).rows[0]
        for name in ("same", "moved")
    )
    perfect = {"mae": 0, "ms_ssim": pytest.approx(1), "bone_dice": 1, "bone_hd95": 0, "bone_assd": 0, "body_dice": 1}
    assert {name: same[name] for name in perfect} == perfect
    assert moved["bone_hd95"] == 2 and 0 < float(moved["bone_assd"] or 0) < 2
    assert 0.9 < float(moved["body_dice"] or 0) < 1 and 0.5 < float(moved["ms_ssim"] or 0) < 1
