from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from cyclegan_gc.config import DataConfig, PreprocessConfig, SliceAxis
from cyclegan_gc.data.cache import OUTSIDE, SliceStack, cached_stacks, fingerprint
from cyclegan_gc.data.slices import UnpairedSlices, awaited, load_slice, slice_loader
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.prepare.body import relative_depth

SETTINGS = PreprocessConfig(spacing_mm=4.0)
CONFIG = DataConfig("", "", crop=(48, 40))


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def stacks(phantoms, cache) -> dict[str, list[SliceStack]]:
    return {
        modality: [
            stack
            for path in sorted((phantoms / modality).iterdir())
            for stack in cached_stacks([path], modality, SETTINGS, ["axial"], cache)
        ]
        for modality in ("mr", "ct")
    }


def dataset(stacks: dict[str, list[SliceStack]], config: DataConfig = CONFIG, seed: int = 0) -> UnpairedSlices:
    return UnpairedSlices(stacks["mr"], stacks["ct"], config, seed, 64)


def test_a_sample_depends_only_on_the_seed_and_its_index(stacks):
    one, other = dataset(stacks), dataset(stacks)
    [other[n] for n in (3, 60, 2)]
    assert all(torch.equal(one[17][key], other[17][key]) for key in ("mr", "ct", "mr_mask", "ct_mask"))
    assert not torch.equal(one[17]["mr"], one[18]["mr"])
    assert not torch.equal(one[17]["mr"], dataset(stacks, seed=1)[17]["mr"])


def test_another_stream_of_the_same_seed_gives_other_samples(stacks):
    first, second = (UnpairedSlices(stacks["mr"], stacks["ct"], CONFIG, 0, 64, stream) for stream in (0, 1))
    again = UnpairedSlices(stacks["mr"], stacks["ct"], CONFIG, 0, 64, 1)
    assert all(torch.equal(second[n]["mr"], again[n]["mr"]) for n in range(4))
    assert not any(torch.equal(first[n]["mr"], second[k]["mr"]) for n in range(4) for k in range(4))


def test_the_depth_is_rotated_with_its_slice_and_changes_nothing_else_in_a_sample(stacks):
    plain = dataset(stacks)
    deep = UnpairedSlices(stacks["mr"], stacks["ct"], CONFIG, 0, 64, depths=True)
    whole = 0
    for n in range(16):
        assert all(torch.equal(plain[n][key], deep[n][key]) for key in plain[n])
        for modality in ("mr", "ct"):
            depth, mask = deep[n][f"{modality}_depth"], deep[n][f"{modality}_mask"]
            assert not depth[~mask].any() and depth.max() <= 1
            # Of a slice that lies wholly in the crop the depth of the changed mask is the changed depth, to a pixel.
            if not (mask[:, [0, -1]].any() or mask[:, :, [0, -1]].any()) and mask.sum() > 300:
                whole += 1
                again = torch.from_numpy(relative_depth(mask.numpy()))
                assert (depth - again)[mask].abs().mean() < 0.05
    assert whole


def test_other_grey_values_of_the_mr_change_nothing_else_of_a_sample(stacks):
    plain, varied = dataset(stacks), dataset(stacks, replace(CONFIG, mr_intensity=0.5))
    for n in range(8):
        assert all(torch.equal(plain[n][key], varied[n][key]) for key in ("ct", "ct_mask", "mr_mask"))
        assert not torch.equal(plain[n]["mr"], varied[n]["mr"])
        assert torch.equal(varied[n]["mr"], dataset(stacks, replace(CONFIG, mr_intensity=0.5))[n]["mr"])
        assert (varied[n]["mr"][~varied[n]["mr_mask"]] == -1).all()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_started_later_continues_the_same_stream(stacks, workers):
    whole = list(slice_loader(dataset(stacks), batch_size=4, first_step=0, workers=0))
    later = list(slice_loader(dataset(stacks), batch_size=4, first_step=10, workers=workers))
    assert len(whole) == 16 and len(later) == 6
    assert all(torch.equal(a["ct"], b["ct"]) for a, b in zip(whole[10:], later, strict=True))


def test_two_ranks_see_together_what_one_sees(stacks):
    whole = next(iter(slice_loader(dataset(stacks), batch_size=4, first_step=0, workers=0)))
    halves = [torch.stack([dataset(stacks)[n]["mr"] for n in part]) for part in ((0, 1), (2, 3))]
    assert torch.equal(torch.cat(halves), whole["mr"])


def test_samples_are_plain_tensors_in_the_unit_range_with_air_outside_the_body(stacks):
    for sample in (dataset(stacks)[n] for n in range(8)):
        for image, mask in ((sample["mr"], sample["mr_mask"]), (sample["ct"], sample["ct_mask"])):
            assert type(image) is torch.Tensor and image.shape == (1, 48, 40) and mask.dtype == torch.bool
            assert image.min() >= -1 and image.max() <= 1
            assert mask.any() and (image[~mask] == -1).all()


def test_matched_slices_lie_at_a_similar_relative_height(stacks):
    flat = DataConfig("", "", crop=(48, 40), rotate_degrees=0, scale=0, flip=False, match_position=True)
    heights = [_drawn_heights(stacks, replace(flat, match_position=match)) for match in (True, False)]
    matched, free = (np.abs(np.subtract(*pair)).mean() for pair in heights)
    assert matched < 0.08 < 0.2 < free


def _drawn_heights(stacks: dict[str, list[SliceStack]], config: DataConfig) -> tuple[list[float], list[float]]:
    """Heights of the slices behind 64 samples, told from the pictures themselves."""
    samples = [dataset(stacks, config)[n] for n in range(64)]
    return tuple([_height_of(sample[key], stacks[key]) for sample in samples] for key in ("mr", "ct"))  # pyright: ignore


def _height_of(image: torch.Tensor, stacks: list[SliceStack]) -> float:
    histogram = torch.histc(image[image > -1], 64, -1, 1)
    every = [(stack, n) for stack in stacks for n in range(len(stack.heights))]
    distances = [
        (torch.histc(x[x > -1], 64, -1, 1) - histogram).abs().sum() for x in (load_slice(s, n)[0] for s, n in every)
    ]
    stack, index = every[int(torch.stack(distances).argmin())]
    return stack.heights[index]


def test_a_prepared_volume_is_found_again_and_other_settings_are_prepared_anew(phantoms, cache, stacks):
    path = sorted((phantoms / "mr").iterdir())[0]
    before = stacks["mr"][0].path.stat().st_mtime_ns
    [again] = cached_stacks([path], "mr", SETTINGS, ["axial"], cache)
    assert again.path.stat().st_mtime_ns == before
    [other] = cached_stacks([path], "mr", PreprocessConfig(spacing_mm=5.0), ["axial"], cache)
    assert other.path != stacks["mr"][0].path


def test_a_copy_under_another_name_shares_the_prepared_slices(phantoms, cache, stacks, tmp_path):
    path = sorted((phantoms / "mr").iterdir())[0]
    copy = tmp_path / "DOE_JOHN.nii.gz"
    copy.write_bytes(path.read_bytes())
    assert cached_stacks([copy], "mr", SETTINGS, ["axial"], cache) == [stacks["mr"][0]]
    assert not [file for file in cache.iterdir() if b"DOE_JOHN" in file.name.encode() + file.read_bytes()]


def test_blank_slices_are_left_out(stacks):
    for stack in stacks["mr"] + stacks["ct"]:
        body = (np.load(stack.path) != OUTSIDE).sum(axis=(1, 2, 3))
        assert body.min() >= 0.1 * body.max()
        assert (stack.heights[0], stack.heights[-1]) == (0, 1)


def test_the_fingerprint_describes_both_sets_in_plain_numbers(stacks):
    known = fingerprint(stacks["mr"], stacks["ct"], SETTINGS)
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
        cached_stacks([path], "mr", SETTINGS, ["axial"], cache)


def test_with_several_planes_both_slices_of_a_sample_are_of_one_plane_and_all_planes_are_drawn(phantoms, cache):
    axes: tuple[SliceAxis, ...] = ("axial", "coronal", "sagittal")
    stacks = [cached_stacks([next((phantoms / m).iterdir())], m, SETTINGS, axes, cache) for m in ("mr", "ct")]
    assert [stack.axis for stack in stacks[0]] == list(axes)
    # Each plane of a stack gets a grey value of its own, by which a sample tells where it comes from.
    marked = [[replace(s, path=mark(s.path, n)) for n, s in enumerate(each)] for each in stacks]
    config = replace(CONFIG, slice_axes=axes, rotate_degrees=0.0, scale=0.0)
    slices = UnpairedSlices(marked[0], marked[1], config, seed=0, length=64)
    samples = [slices[n] for n in range(24)]
    drawn = [(float(s["mr"][s["mr_mask"]].max()), float(s["ct"][s["ct_mask"]].max())) for s in samples]
    assert all(mr == ct for mr, ct in drawn) and len(set(drawn)) == 3


def mark(path: Path, number: int) -> Path:
    pixels = np.load(path)
    marked = path.with_name(f"marked_{path.name}")
    np.save(marked, np.where(pixels == OUTSIDE, OUTSIDE, 1000 * (number + 1)).astype(np.int16))
    return marked


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), EOFError()])
def test_a_loader_process_that_dies_while_it_hands_over_is_told_as_the_loaders(stacks, error):
    class Dying(DataLoader):
        def __iter__(self):
            yield from ()
            raise error

    with pytest.raises(RuntimeError, match=r"^DataLoader: \S"):
        next(awaited(Dying(dataset(stacks)), seconds=60))
