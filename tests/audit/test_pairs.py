"""Registered pairs: finding, checking, preparing and sampling."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cyclegan_gc.audit.pairs import check_alignment, measure_pair
from cyclegan_gc.config import DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import PreparedVolume, cached_volume
from cyclegan_gc.data.pairs import find_pairs, prepare_pair, read_pair
from cyclegan_gc.data.samples import PairedSamples
from cyclegan_gc.errors import UserError, VolumeError
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.formats.volumes import Volume, read_contrasts, read_volume
from cyclegan_gc.prepare.preprocess import prepare

SETTINGS = PreprocessConfig()
CONFIG = DataConfig(pairs="", crop=(48, 40))


@pytest.fixture(scope="module")
def files(phantoms) -> tuple[Path, Path]:
    [pair], _ = find_pairs(phantoms / "test", "--data.pairs")
    return pair.mr.path, pair.ct.path


@pytest.fixture(scope="module")
def pair(files) -> Volume:
    """MR with the CT as its last contrast."""
    return read_contrasts(files)


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory) -> PreparedVolume:
    return cached_volume(
        [source_of(path) for path in files], "pair", PreprocessConfig(spacing_mm=4.0), tmp_path_factory.mktemp("cache")
    )


def displaced(pair: Volume, millimetres: float, axis: int) -> Volume:
    voxels = round(millimetres / pair.spacing_mm[axis])
    return replace(pair, further=(np.roll(pair.further[-1], voxels, axis),))


def levels(pair: Volume) -> set[str]:
    return {level for level, _, _ in check_alignment(measure_pair(pair))}


def test_an_aligned_pair_is_accepted(pair):
    facts = measure_pair(pair)
    assert facts["outline_dice"] > 0.98 and facts["shift_mm"] == 0 and not levels(pair)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_pair_displaced_by_10_mm_fails_and_one_by_3_mm_gives_a_warning(pair, axis):
    assert "fail" in levels(displaced(pair, 10, axis))
    assert levels(displaced(pair, 3, axis)) == {"warn"}


def test_the_pair_of_a_real_head_passes_and_fails_when_displaced_by_10_mm(real_data):
    folder = real_data / "pairs" / "colin27_phantom"
    mr, ct = (read_volume(folder / name) for name in ("mr_colin27_t1.nii.gz", "ct_synthetic_hu_DERIVED.nii.gz"))
    pair = replace(mr, further=(ct.array,))
    assert not levels(pair) and "fail" in levels(displaced(pair, 10, 1))


def test_mr_and_ct_are_prepared_as_each_is_alone_but_inside_the_mrs_body(pair, files):
    both = prepare_pair(pair, SETTINGS)
    mr, ct = prepare(read_volume(files[0]), "mr", SETTINGS), prepare(read_volume(files[1]), "ct", SETTINGS)
    assert torch.equal(both.mask, mr.mask) and torch.equal(both.image[:1], mr.image)
    shared, alone = both.mask & ct.mask, both.mask & ~ct.mask
    assert torch.equal(both.image[1:][shared], ct.image[shared])
    assert (both.image[1:][~both.mask] == -1).all() and float(alone.sum()) < 0.02 * float(both.mask.sum())


def test_a_pair_whose_sides_are_swapped_is_named(files):
    mr, ct = map(source_of, files)
    with pytest.raises(VolumeError, match=f"{re.escape(str(ct.path))}: .*look like CT"):
        read_pair(ct, mr)


def test_a_sample_of_a_pair_shows_one_place_in_both_modalities(prepared):
    """The CT slice is the MR slice's: with the same turn, scale and crop the body's edge and the bone lie alike."""
    flat = replace(CONFIG, rotate_degrees=0, scale=0, flip=False)
    for config in (flat, replace(CONFIG, tilt_degrees=10)):
        batch = PairedSamples([prepared], config, 0).batch([5])
        assert batch.real_mr.shape == batch.real_ct.shape == (1, 1, 48, 40)
        assert torch.equal(batch.mr_mask, batch.ct_mask)
        for image in (batch.real_mr, batch.real_ct):
            assert image.min() >= -1 and image.max() <= 1 and (image[~batch.mr_mask] == -1).all()
    # Of an image paired with itself every plane must give the same picture twice.
    twin = PairedSamples([replace(prepared, path=doubled(prepared))], replace(CONFIG, tilt_degrees=10), 0)
    batch = twin.batch(range(6))
    assert torch.equal(batch.real_mr, batch.real_ct)


def doubled(volume: PreparedVolume) -> Path:
    """The pair with its MR in place of its CT."""
    raw = np.load(volume.path)
    raw[..., 1] = raw[..., 0]
    path = volume.path.with_name("twin.npy")
    np.save(path, raw)
    return path


def test_a_sample_depends_only_on_the_seed_its_index_and_the_stream(prepared):
    one, other = (PairedSamples([prepared], CONFIG, 0) for _ in range(2))
    [other.batch([n]) for n in (9, 2)]
    first, again = one.batch([7]), other.batch([7])
    assert all(torch.equal(vars(first)[key], vars(again)[key]) for key in ("real_mr", "real_ct", "mr_mask"))
    others = [one.batch([8]), PairedSamples([prepared], CONFIG, 1).batch([7]), one.batch([7], 1)]
    assert not any(torch.equal(first.real_mr, each.real_mr) for each in others)


def test_several_contrasts_and_neighbours_keep_their_order(files, tmp_path):
    """With one MR as both contrasts, the two of each slice are equal and the CT stands apart."""
    volume = cached_volume(
        [source_of(files[0], files[0]), source_of(files[1])], "pair", PreprocessConfig(spacing_mm=4.0), tmp_path
    )
    batch = PairedSamples([volume], replace(CONFIG, context_slices=1, contrasts=("_a", "_b")), 0).batch([2])
    real_mr, real_ct = batch.real_mr[0], batch.real_ct[0]
    assert real_mr.shape == (6, 48, 40) and real_ct.shape == (3, 48, 40) == batch.mr_mask[0].shape
    assert torch.equal(real_mr[0::2], real_mr[1::2]) and not torch.equal(real_mr[0::2], real_ct)


def linked(folder: Path, **sides: list[Path]) -> Path:
    for side, paths in sides.items():
        (folder / side).mkdir(parents=True)
        for path in paths:
            (folder / side / path.name).symlink_to(path)
    return folder


def test_a_name_without_a_partner_and_another_grid_are_refused_in_one_line(files, phantoms, tmp_path):
    mr, ct = files
    other = sorted((phantoms / "ct").iterdir())[0]
    cases = {
        "no CT of its": {"mr": [mr], "ct": [other]},
        "no MR of its": {"mr": [mr], "ct": [ct, other]},
    }
    for number, (message, sides) in enumerate(cases.items()):
        with pytest.raises(UserError, match=rf"{message} .* in --data.pairs"):
            find_pairs(linked(tmp_path / str(number), **sides), "--data.pairs")
    folder = linked(tmp_path / "grid", mr=[mr], ct=[])
    (folder / "ct" / mr.name).symlink_to(other)
    with pytest.raises(UserError, match=rf"{re.escape(str(folder / 'ct' / mr.name))}: not on the grid of its MR"):
        find_pairs(folder, "--data.pairs")
