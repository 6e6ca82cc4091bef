"""Training samples: pure functions of seed and index, and the cache that they are read from."""

import threading
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from cyclegan_gc.config import DataConfig, PreprocessConfig
from cyclegan_gc.data.cache import OUTSIDE, PreparedVolume, cached_volume, fingerprint
from cyclegan_gc.data.planes import Stack, upright
from cyclegan_gc.data.reading import read
from cyclegan_gc.data.samples import UnpairedSamples
from cyclegan_gc.errors import TrainingStoppedError, VolumeError
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.model.cyclegan import Batch
from cyclegan_gc.train import batches

SETTINGS = PreprocessConfig(spacing_mm=4.0)
CONFIG = DataConfig("", "", crop=(48, 40), tilt_degrees=10.0)

Volumes = dict[str, list[PreparedVolume]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def volumes(phantoms, cache) -> Volumes:
    return {
        modality: [
            cached_volume([source_of(path)], modality, SETTINGS, cache)
            for path in sorted((phantoms / modality).iterdir())
        ]
        for modality in ("mr", "ct")
    }


def samples(volumes: Volumes, config: DataConfig = CONFIG, seed: int = 0, *, depths: bool = False) -> UnpairedSamples:
    return UnpairedSamples(volumes["mr"], volumes["ct"], config, seed, depths)


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(one_part, vars(other)[name]) for name, one_part in vars(one).items() if one_part is not None)


def test_a_sample_depends_only_on_the_seed_its_index_and_the_stream(volumes):
    one, other = samples(volumes), samples(volumes)
    [other.batch([n]) for n in (3, 60, 2)]
    assert equal(one.batch([17]), other.batch([17]))
    assert not torch.equal(one.batch([17]).real_mr, one.batch([18]).real_mr)
    assert not torch.equal(one.batch([17]).real_mr, samples(volumes, seed=1).batch([17]).real_mr)
    assert equal(one.batch([17], 1), other.batch([17], 1)) and not equal(one.batch([17]), one.batch([17], 1))


@pytest.mark.parametrize("crop", [(48, 40), (36, 44)])
def test_a_batch_holds_the_same_bits_however_it_is_cut(volumes, crop):
    config = replace(CONFIG, crop=crop, mr_intensity=0.5, context_slices=1, slice_axes=("axial", "coronal"))
    stream = samples(volumes, config, depths=True)
    whole, parts = stream.batch(range(5)), [stream.batch([0]), stream.batch([1, 2]), stream.batch([3, 4])]
    for name, tensor in vars(whole).items():
        assert torch.equal(tensor, torch.cat([vars(part)[name] for part in parts])), name


def test_depth_and_grey_values_change_nothing_else_of_a_sample(volumes):
    plain, varied = samples(volumes), samples(volumes, replace(CONFIG, mr_intensity=0.5), depths=True)
    for n in range(8):
        one, other = plain.batch([n]), varied.batch([n])
        assert all(torch.equal(vars(one)[key], vars(other)[key]) for key in ("real_ct", "ct_mask", "mr_mask"))
        assert not torch.equal(one.real_mr, other.real_mr)
        assert (other.real_mr[~other.mr_mask] == -1).all()
        for depth, mask in ((other.mr_depth, other.mr_mask), (other.ct_depth, other.ct_mask)):
            assert depth is not None and not depth[~mask].any() and depth[mask].min() > 0 and depth.max() <= 1


def test_samples_lie_in_the_unit_range_with_air_outside_the_body(volumes):
    batch = samples(volumes).batch(range(16))
    for image, mask in ((batch.real_mr, batch.mr_mask), (batch.real_ct, batch.ct_mask)):
        assert image.shape == mask.shape == (16, 1, 48, 40) and mask.dtype == torch.bool
        assert image.min() >= -1 and image.max() <= 1
        assert mask.flatten(1).any(1).all() and (image[~mask] == -1).all()


def test_matched_planes_lie_at_a_similar_relative_height(volumes):
    drawn = {}
    for match in (True, False):
        stream = samples(volumes, replace(CONFIG, match_position=match, tilt_degrees=0))
        planes = [stream._draw(index, 0)[:2] for index in range(64)]
        drawn[match] = np.mean([abs(_height_of(mr) - _height_of(ct)) for mr, ct in planes])
    assert drawn[True] < 0.08 < 0.2 < drawn[False]


def _height_of(plane) -> float:
    """Relative height of an axial plane's middle in its volume."""
    first, last = plane.volume.spans["axial"]
    middle = plane.affine @ [0, (plane.size[0] - 1) / 2, (plane.size[1] - 1) / 2, 1]
    return float(middle[0] - first) / (last - first)


def test_a_prepared_volume_is_found_again_and_other_settings_are_prepared_anew(phantoms, cache, volumes):
    path = sorted((phantoms / "mr").iterdir())[0]
    before = volumes["mr"][0].path.stat().st_mtime_ns
    again = cached_volume([source_of(path)], "mr", SETTINGS, cache)
    assert again == volumes["mr"][0] and again.path.stat().st_mtime_ns == before
    other = cached_volume([source_of(path)], "mr", PreprocessConfig(spacing_mm=5.0), cache)
    assert other.path != volumes["mr"][0].path


def test_a_copy_under_another_name_shares_the_prepared_volume(phantoms, cache, volumes, tmp_path):
    path = sorted((phantoms / "mr").iterdir())[0]
    copy = tmp_path / "DOE_JOHN.nii.gz"
    copy.write_bytes(path.read_bytes())
    assert cached_volume([source_of(copy)], "mr", SETTINGS, cache) == volumes["mr"][0]
    assert not [file for file in cache.iterdir() if b"DOE_JOHN" in file.name.encode() + file.read_bytes()]


def test_blank_slices_are_left_out_in_every_plane(volumes):
    for volume in volumes["mr"] + volumes["ct"]:
        body = np.load(volume.path)[1:-1, 1:-1, 1:-1, 0] != OUTSIDE
        for axis, along, order in (("axial", 0, 1), ("coronal", 1, -1), ("sagittal", 2, 1)):
            area = np.moveaxis(body, along, 0)[::order].sum(axis=(1, 2))
            first, last = volume.spans[axis]
            assert area[[first, last]].min() >= 0.1 * area.max()
            assert not (area[:first] >= 0.1 * area.max()).any() and not (area[last + 1 :] >= 0.1 * area.max()).any()


def test_the_fingerprint_describes_both_sets_in_plain_numbers(volumes):
    known = fingerprint(volumes["mr"], volumes["ct"], SETTINGS)
    for name in ("mr_histogram", "ct_histogram"):
        assert sum(known[name]["counts"]) == pytest.approx(1)
        assert len(known[name]["edges"]) == len(known[name]["counts"]) + 1
    edges, counts = (np.array(known["ct_histogram"][key]) for key in ("edges", "counts"))
    bone = counts[edges[:-1] > 250].sum()
    assert 0.02 < bone < 0.3
    assert len(known["mr"][0]["spacing_mm"]) == 3


def test_a_volume_that_cannot_be_used_is_named(tmp_path, cache):
    path = tmp_path / "empty.nii.gz"
    path.write_bytes(b"")
    with pytest.raises(VolumeError, match=r"empty\.nii\.gz"):
        cached_volume([source_of(path)], "mr", SETTINGS, cache)


def test_both_planes_of_a_sample_are_of_one_kind_and_all_kinds_are_drawn(volumes):
    stream = samples(volumes, replace(CONFIG, slice_axes=("axial", "coronal", "sagittal"), tilt_degrees=0))
    across = [[int(np.abs(plane.affine[:, 0]).argmax()) for plane in stream._draw(n, 0)[:2]] for n in range(24)]
    assert all(mr == ct for mr, ct in across) and {mr for mr, _ in across} == {0, 1, 2}


def test_a_lost_or_damaged_volume_of_the_cache_is_named(volumes, tmp_path):
    lost = replace(volumes["mr"][0], path=tmp_path / "lost.npy")
    with pytest.raises(TrainingStoppedError, match=r"lost\.npy: a prepared volume is lost or damaged .*; go on with"):
        read([upright(Stack(lost, "axial"), 3)])
    lost.path.write_bytes(volumes["mr"][0].path.read_bytes()[:5000])
    with pytest.raises(TrainingStoppedError, match="lost or damaged"):
        read([upright(Stack(lost, "axial"), 3)])


def test_a_damaged_volume_is_prepared_again(phantoms, tmp_path):
    path = sorted((phantoms / "mr").iterdir())[0]
    damaged = cached_volume([source_of(path)], "mr", SETTINGS, tmp_path)
    whole = damaged.path.read_bytes()
    damaged.path.write_bytes(whole[:5000])
    with pytest.raises(TrainingStoppedError, match="lost or damaged"):
        read([upright(Stack(damaged, "axial"), 3)])
    assert cached_volume([source_of(path)], "mr", SETTINGS, tmp_path).path.read_bytes() == whole


@pytest.mark.parametrize("turned", ["RAS", "SPL"])
def test_a_volume_is_mapped_and_not_copied_however_it_was_stored(phantoms, tmp_path, turned):
    image = nib.Nifti1Image.from_filename(sorted((phantoms / "mr").iterdir())[0])
    nib.as_closest_canonical(image).as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(turned))
    ).to_filename(tmp_path / "turned.nii")
    volume = cached_volume([source_of(tmp_path / "turned.nii")], "mr", PreprocessConfig(), tmp_path)
    assert np.load(volume.path, mmap_mode="r").flags.c_contiguous


def test_threads_end_with_an_error_and_give_it_as_it_was():
    def read_step(step: int) -> tuple[None, None]:
        if step == 5:
            raise TrainingStoppedError("lost")
        return None, None

    found = batches._ahead(read_step, range(100), 2)
    with pytest.raises(TrainingStoppedError, match="lost"):
        list(found)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("samples")]
