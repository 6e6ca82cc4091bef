from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.funcs import as_closest_canonical

from cyclegan_gc import convert_volume
from cyclegan_gc.cli import main
from cyclegan_gc.config import (
    ConvertConfig,
)
from cyclegan_gc.convert.batch import convert
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.volumes import Volume, read_volume
from cyclegan_gc.inference import translate_volume
from cyclegan_gc.trained_model import Member, Translator


def hu_of(translator: Translator, volume: Volume, batch_size: int = 8) -> np.ndarray:
    return translate_volume([Member(translator, "axial")], volume, batch_size=batch_size).array


def test_the_result_lies_on_the_sources_exact_grid(checkpoint, source, tmp_path):
    case = convert_volume(str(checkpoint), str(source), str(tmp_path / "x_sct.nii.gz"), device="cpu")
    before, after = nib.Nifti1Image.from_filename(source), nib.Nifti1Image.from_filename(case.result)
    assert after.shape == before.shape and after.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(after.affine), np.asarray(before.affine))
    for field in ("sform_code", "qform_code", "xyzt_units", "srow_x", "quatern_b", "qoffset_z"):
        assert np.array_equal(after.header[field], before.header[field])


def test_air_outside_the_body_and_hu_inside_the_window(translator, source):
    hu = hu_of(translator, read_volume(source))
    low, high = translator.preprocess.ct_window_hu
    assert hu.dtype == np.int16 and low <= hu.min() and hu.max() <= high
    assert (hu[0] == -1000).all() or (hu[:, 0] == -1000).all() or (hu[..., 0] == -1000).all()


def test_one_slice_at_a_time_gives_the_same_as_a_batch(translator, source):
    volume = read_volume(source)
    one, many = (hu_of(translator, volume, batch_size=size).astype(int) for size in (1, 7))
    assert np.abs(one - many).max() <= 1


def test_a_stored_slope_changes_nothing(translator, source):
    volume = read_volume(source)
    scaled = replace(volume, array=volume.array * 4)
    assert np.abs(hu_of(translator, volume).astype(int) - hu_of(translator, scaled)).max() <= 1


def test_at_the_trained_pixel_size_a_slice_is_the_network_of_that_slice(translator, source):
    """An independent road: crop, pad and translate one slice by hand."""
    own = replace(translator, preprocess=replace(translator.preprocess, spacing_mm=None))
    volume = read_volume(source)
    from cyclegan_gc.prepare.hu import to_hu
    from cyclegan_gc.prepare.preprocess import prepare, turn_back

    case = prepare(volume, "mr", own.preprocess)
    mask = case.mask[0].numpy()
    rows, columns, depth = (np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    middle = depth[len(depth) // 2]
    inner = case.image.as_tensor()[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, middle]
    height, width = (max(-(-n // 4) * 4, least) for n, least in zip(inner.shape[1:], own.crop, strict=True))
    top, left = (height - inner.shape[1]) // 2, (width - inner.shape[2]) // 2
    padded = torch.full((1, 1, height, width), -1.0)
    padded[0, :, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    with torch.inference_mode():
        translated = own.generator(padded)[0, :, top : top + inner.shape[1], left : left + inner.shape[2]]
    expected = torch.full(case.image.shape, -1000.0)
    expected[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, middle] = to_hu(translated, own.preprocess)
    by_hand = turn_back(torch.where(case.mask, expected, -1000.0), case)
    here = turn_back(torch.zeros_like(case.mask).index_fill_(3, torch.tensor([middle]), True), case)
    assert np.abs(hu_of(own, volume) - by_hand)[here.astype(bool)].max() <= 1


def test_the_other_direction_writes_a_synthetic_mr(checkpoint, phantoms, tmp_path):
    [case] = convert(ConvertConfig(checkpoint, str(phantoms / "test" / "ct"), tmp_path, "ct_to_mr", device="cpu"))
    assert case.failure is None and case.result.name.endswith("_smr.nii.gz")
    values = read_volume(case.result).array
    assert values.min() == 0 and 0 < values.max() <= 1000


def test_a_bad_case_is_named_and_the_others_go_on(checkpoint, phantoms, source, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "good.nii.gz").write_bytes(source.read_bytes())
    (folder / "cut.nii.gz").write_bytes(source.read_bytes()[:9000])
    (folder / "really_ct.nii.gz").write_bytes(next((phantoms / "test" / "ct").iterdir()).read_bytes())
    code = main(["convert", str(folder), str(tmp_path / "out"), "--checkpoint", str(checkpoint), "--device", "cpu"])
    errors = capsys.readouterr().err
    assert code == 3
    assert "cut.nii.gz" in errors and "really_ct.nii.gz" in errors and "look like CT" in errors
    written = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")}
    assert written == {
        *(f"deep/good_sct.{kind}" for kind in ("nii.gz", "json", "png", "html")),
        *("manifest.json", "index.html"),
    }


def test_two_sources_for_one_result_are_refused_before_anything_is_written(checkpoint, source, tmp_path):
    for name in ("a.nii.gz", "a.nii"):
        (tmp_path / name).write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="would both be written"):
        convert(ConvertConfig(checkpoint, str(tmp_path), tmp_path / "out", device="cpu"))
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(checkpoint, source, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(UserError, match="out"):
        convert(ConvertConfig(checkpoint, str(source), tmp_path / "out", device="cpu"))


def test_an_output_that_is_named_like_a_volume_is_refused(checkpoint, source, tmp_path):
    with pytest.raises(UserError, match="give a folder; each result in it is named after its source"):
        convert(ConvertConfig(checkpoint, str(source), tmp_path / "sct.nii.gz", device="cpu"))


def test_a_file_in_the_way_of_a_folder_fails_that_case_alone(checkpoint, source, tmp_path):
    for name in ("a/x.nii.gz", "b/x.nii.gz"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        (tmp_path / "in" / name).write_bytes(source.read_bytes())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("in the way")
    outcomes = convert(ConvertConfig(checkpoint, str(tmp_path / "in"), tmp_path / "out", device="cpu"))
    assert [bool(case.failure) for case in outcomes] == [True, False]


def test_a_volume_without_a_body_is_named(checkpoint, source, tmp_path):
    image = nib.Nifti1Image.from_filename(source)
    speck = np.zeros(image.shape, np.int16)
    speck[0, 0, :2] = 1, 2
    nib.Nifti1Image(speck, image.affine).to_filename(tmp_path / "speck.nii.gz")
    with pytest.raises(VolumeError, match=r"speck\.nii\.gz: no body"):
        convert_volume(checkpoint, tmp_path / "speck.nii.gz", tmp_path / "out.nii.gz", device="cpu")


def test_all_axis_orders_of_a_real_volume_give_one_picture_on_their_own_grids(checkpoint, real_data, tmp_path):
    sources = sorted((real_data / "odd").glob("orient_*.nii.gz"))
    outcomes = convert(ConvertConfig(checkpoint, str(real_data / "odd" / "orient_*.nii.gz"), tmp_path, device="cpu"))
    assert [case.failure for case in outcomes] == [None] * len(sources) and len(sources) == 16
    pictures = []
    for case in outcomes:
        before, after = nib.Nifti1Image.from_filename(case.source), nib.Nifti1Image.from_filename(case.result)
        assert after.shape == before.shape and np.array_equal(np.asarray(after.affine), np.asarray(before.affine))
        pictures.append(np.asarray(as_closest_canonical(after).dataobj))
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
