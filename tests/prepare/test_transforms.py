"""The MONAI pipeline that begins with LoadImaged and our reader."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms.io.dictionary import LoadImaged

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.dicom.read import read_series
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume, read_contrasts, read_volume
from cyclegan_gc.prepare.preprocess import Prepared, load_prepared, load_volume, prepare, turn_back
from cyclegan_gc.prepare.transforms import volume_transforms

SETTINGS = PreprocessConfig()


@pytest.fixture(scope="module")
def mr(phantoms) -> Path:
    return next((phantoms / "test" / "mr").iterdir())


def equal(one: Prepared, other: Prepared) -> bool:
    return torch.equal(one.image, other.image) and torch.equal(one.mask, other.mask)


def same_volume(one: Volume, other: Volume) -> bool:
    arrays = zip(one.contrasts, other.contrasts, strict=True)
    return np.array_equal(one.affine, other.affine) and all(np.array_equal(a, b) for a, b in arrays)


@pytest.mark.parametrize("contrasts", [1, 2])
def test_the_pipeline_from_files_equals_reading_and_preparing_one_after_the_other(mr, contrasts):
    files = [mr] * contrasts
    volume, case = load_prepared(files, "mr", SETTINGS)
    assert same_volume(volume, read_contrasts(files)) and same_volume(volume, load_volume(files))
    assert equal(case, prepare(volume, "mr", SETTINGS))
    assert case.image.shape[0] == contrasts and case.image.stride() == prepare(volume, "mr", SETTINGS).image.stride()


def test_a_monai_user_gives_a_path_and_gets_the_image_the_mask_and_the_volume(mr):
    transforms = volume_transforms("mr", SETTINGS)
    assert isinstance(transforms.transforms[0], LoadImaged)
    data: Any = transforms({"image": str(mr)})
    assert equal(Prepared(data["image"], data["mask"]), prepare(data["volume"], "mr", SETTINGS))
    assert same_volume(data["volume"], read_volume(mr))


def test_the_voxels_of_a_single_contrast_are_not_copied_by_loading(mr):
    data: Any = volume_transforms("mr", SETTINGS)({"image": [mr]}, end=1)
    assert np.shares_memory(data["image"].numpy(), data["volume"].array)


def test_a_dicom_series_goes_the_same_way(slices_of, write_series, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 900, (20, 24, 6)).astype(np.int16)
    files = write_series(tmp_path, slices_of(pixels))
    assert same_volume(load_volume(files), read_series(files, MAX_VOXELS))
    with pytest.raises(VolumeError, match=f"^{tmp_path}: "):
        load_volume(files, max_voxels=10)


def test_the_unit_of_the_mr_does_not_matter(mr):
    volume = read_volume(mr)
    tiny = replace(volume, array=volume.array * np.float32(2.0**-32))
    assert equal(prepare(tiny, "mr", SETTINGS), prepare(volume, "mr", SETTINGS))


def test_a_constant_background_gives_one_picture_whatever_its_value(mr):
    volume = read_volume(mr)
    case = prepare(volume, "mr", SETTINGS)
    inside = turn_back(case.mask, case)
    tissue = volume.array[inside]
    dark, grey, white = (
        prepare(replace(volume, array=np.where(inside, volume.array, value).astype(np.float32)), "mr", SETTINGS)
        for value in (tissue.min(), np.median(tissue), 2 * tissue.max())
    )
    for other in (grey, white):
        assert float((other.image - dark.image).abs().mean()) < 0.01


def refused(path: Path, modality: Any = "mr") -> str:
    with pytest.raises(VolumeError) as caught:
        load_prepared([path], modality, SETTINGS)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_each_fault_is_one_line_that_names_the_file_whichever_step_finds_it(mr, phantoms, tmp_path):
    ct = next((phantoms / "test" / "ct").iterdir())
    damaged, empty = tmp_path / "damaged.nii.gz", tmp_path / "empty.nii.gz"
    damaged.write_bytes(mr.read_bytes()[:2000])
    air = np.full((20, 20, 20), -1000, np.int16)
    air[0, 0, 0], air[1, 1, 1] = -1001, -999
    nib.save(nib.Nifti1Image(air, np.eye(4)), empty)
    faults = {
        damaged: (refused(damaged), "cut off"),
        tmp_path / "none.nii": (refused(tmp_path / "none.nii"), "no such file"),
        ct: (refused(ct), "look like CT"),
        empty: (refused(empty, "ct"), "no body found"),
    }
    for path, (message, cause) in faults.items():
        assert message.startswith(f"{path}: ") and message.count(str(path)) == 1 and cause in message
        assert "\n" not in message


def test_a_volume_above_the_limit_is_refused_before_it_is_read(mr):
    with pytest.raises(VolumeError, match=f"^{mr}: "):
        load_volume([mr], max_voxels=1000)


def test_loading_prints_nothing(mr):
    """MONAI's loader builds a reader that complains about a missing GPU decoder."""
    code = "import sys; from pathlib import Path; from cyclegan_gc.prepare.preprocess import load_volume; "
    run = subprocess.run([sys.executable, "-c", f"{code}load_volume([Path(sys.argv[1])])", mr], capture_output=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
