import numpy as np
import pytest
from scipy import ndimage

from cyclegan_gc.formats.geometry import resample
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.prepare.body import mr_body_mask
from cyclegan_gc.prepare.stripped import is_stripped

REAL = ("mr01_vsseg001_t1c", "mr04_niivue_t1head", "mr05_brainchop_t1", "mr12_fnndsc_adi_t1")


def found(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> bool:
    return is_stripped(array, mr_body_mask(array, spacing_mm), spacing_mm)


def without_rim(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """What lies 16 mm below the skin, in a constant background."""
    depth_mm = np.asarray(ndimage.distance_transform_edt(mr_body_mask(array, spacing_mm), spacing_mm))
    return np.where(depth_mm < 16, array.min(), array)


def test_a_phantoms_head_has_a_skull_and_without_its_rim_it_has_none(phantoms):
    volume = read_volume(next((phantoms / "test" / "mr").iterdir()))
    array, spacing_mm = volume.array, volume.spacing_mm
    cut_out = np.where(mr_body_mask(array, spacing_mm), array, array.min())
    assert not found(array, spacing_mm) and not found(cut_out, spacing_mm)
    assert found(without_rim(array, spacing_mm), spacing_mm)


@pytest.mark.parametrize("name", REAL)
def test_real_heads_have_a_skull_and_without_their_rim_they_have_none(real_data, name):
    volume = read_volume(real_data / "mr" / f"{name}.nii.gz")
    apart = tuple(slice(None, None, max(1, round(2 / mm))) for mm in volume.spacing_mm)
    x, y, z = (mm * each.step for mm, each in zip(volume.spacing_mm, apart, strict=True))
    array = volume.array[apart]
    assert not found(array, (x, y, z)) and found(without_rim(array, (x, y, z)), (x, y, z))


def test_a_t2_brain_is_one_but_no_t2_head_and_no_pelvis(real_data):
    labels = read_volume(real_data / "pairs" / "colin27_phantom" / "labels_clean_DERIVED.nii.gz")
    head = read_volume(real_data / "pairs" / "mni2mm_template" / "mr_avg152T2.nii.gz")
    brain = resample(labels.array, labels.affine, head.array.shape, head.affine, outside=0, order=0) >= 3
    assert found(np.where(brain, head.array, 0), head.spacing_mm)
    others = [real_data / "mr" / "mr07_niivue_t2w.nii.gz", *(real_data / "pairs" / "twod_pelvis").glob("*_t2.nii.gz")]
    for volume in (head, *map(read_volume, others)):
        cut_out = np.where(mr_body_mask(volume.array, volume.spacing_mm), volume.array, volume.array.min())
        assert not found(cut_out, volume.spacing_mm)
