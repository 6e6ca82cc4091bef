from pathlib import Path
from typing import get_args

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from cyclegan_gc.config import Scanner
from cyclegan_gc.errors import UserError
from cyclegan_gc.model.losses import gradient_correlation
from cyclegan_gc.phantom.subject import LABELS, Kind, Subject, make_subject, write_phantoms

BONE_HU = 250
SEEDS = range(5)
KINDS = pytest.mark.parametrize("kind", get_args(Kind))


@pytest.fixture(scope="module")
def cohort() -> dict[str, list[Subject]]:
    return {kind: [make_subject(seed, kind) for seed in SEEDS] for kind in get_args(Kind)}


def axial(subject: Subject, array: np.ndarray) -> np.ndarray:
    """The array with its axes turned to right, anterior, superior."""
    return nib.orientations.apply_orientation(array, nib.orientations.io_orientation(subject.affine))


def axial_spacing_mm(subject: Subject) -> np.ndarray:
    order = nib.orientations.io_orientation(subject.affine)[:, 0].astype(int)
    return np.linalg.norm(subject.affine[:3, :3], axis=0)[np.argsort(order)]


def decreasing_or_increasing_fit(values: np.ndarray, weights: np.ndarray, sign: int) -> np.ndarray:
    """Least-squares monotone fit of the bin means, by pooling adjacent violators."""
    pools: list[list[float]] = []
    for value, weight in zip(sign * values, weights, strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            (a, m, i), (b, n, j) = pools[-2:]
            pools[-2:] = [[(a * m + b * n) / (m + n), m + n, i + j]]
    return sign * np.concatenate([np.full(int(count), value) for value, _, count in pools])


def best_monotone_bone_dice(mr: np.ndarray, ct: np.ndarray) -> float:
    edges = np.unique(np.quantile(mr, np.linspace(0, 1, 257)[1:-1]))
    bins = np.searchsorted(edges, mr, side="right")
    weights = np.maximum(np.bincount(bins, minlength=len(edges) + 1), 1e-9)
    means = np.bincount(bins, ct, len(edges) + 1) / weights
    bone = ct > BONE_HU
    mapped = [decreasing_or_increasing_fit(means, weights, sign)[bins] > BONE_HU for sign in (-1, 1)]
    return max(2 * (found & bone).sum() / (found.sum() + bone.sum()) for found in mapped)


def inside(subject: Subject) -> tuple[np.ndarray, np.ndarray]:
    body = subject.labels > 0
    return subject.mr[body] / np.percentile(subject.mr[body], 99), subject.ct[body].astype(float)


def mean_gc(mr: np.ndarray, ct_hu: np.ndarray) -> float:
    pair = [2 * np.clip(mr / np.percentile(mr[mr > 0], 99.5), 0, 1) - 1, 2 * np.clip((ct_hu + 1000) / 2400, 0, 1) - 1]
    slices = [torch.from_numpy(np.moveaxis(x, 2, 0)[:, None].astype(np.float32)) for x in pair]
    return float(gradient_correlation(slices[0], slices[1], mode="absolute", operator="central").mean())


def test_the_monotone_fit_is_exact_on_monotone_bins_and_pools_violators():
    means, weights = np.array([1.0, 3.0, 2.0, 4.0]), np.array([1.0, 1.0, 3.0, 1.0])
    np.testing.assert_allclose(decreasing_or_increasing_fit(means, weights, 1), [1, 2.25, 2.25, 4])
    np.testing.assert_allclose(decreasing_or_increasing_fit(-means, weights, -1), [-1, -2.25, -2.25, -4])


@KINDS
def test_no_monotone_map_of_the_brightness_finds_the_bone(cohort: dict[str, list[Subject]], kind: str):
    inner = [inside(subject) for subject in cohort[kind]]
    assert max(best_monotone_bone_dice(mr, ct) for mr, ct in inner) < 0.3
    assert best_monotone_bone_dice(*(np.concatenate(x) for x in zip(*inner, strict=True))) < 0.3


@pytest.mark.parametrize("scanner", get_args(Scanner)[1:])
def test_no_monotone_map_finds_the_bone_on_another_scanner(scanner: Scanner):
    subject = make_subject(0, "head", scanner)
    cortical, muscle = (np.median(subject.mr[subject.labels == LABELS[name]]) for name in ("cortical", "muscle"))
    assert cortical < 0.8 * muscle
    assert best_monotone_bone_dice(*inside(subject)) < 0.3


@KINDS
def test_bone_is_a_believable_part_of_the_body(cohort: dict[str, list[Subject]], kind: str):
    for subject in cohort[kind]:
        assert 0.05 < (subject.ct[subject.labels > 0] > BONE_HU).mean() < 0.25


@KINDS
@pytest.mark.parametrize("seed", SEEDS)
def test_gradient_correlation_prefers_the_true_ct(cohort: dict[str, list[Subject]], kind: str, seed: int):
    subject = cohort[kind][seed]
    mr, ct, labels = (axial(subject, x) for x in (subject.mr, subject.ct.astype(np.float32), subject.labels))
    body, truth = labels > 0, mean_gc(mr, ct)
    # The mirror image of HU in the window [-1000, 1400].
    assert truth > mean_gc(mr, np.where(body, 400 - ct, ct)) + 0.01
    assert truth > mean_gc(mr, np.where(body, 40, ct)) + 0.05
    for axis in (0, 1):
        shift = np.eye(3)[axis] * 8 / axial_spacing_mm(subject)
        assert truth > mean_gc(mr, ndimage.shift(ct, shift, order=1, mode="nearest")) + 0.05


@KINDS
def test_the_same_seed_gives_the_same_subject_bit_for_bit(cohort: dict[str, list[Subject]], kind: Kind):
    again = make_subject(SEEDS[1], kind)
    for name in ("mr", "ct", "labels", "affine"):
        np.testing.assert_array_equal(getattr(again, name), getattr(cohort[kind][1], name), strict=True)


@KINDS
def test_different_seeds_give_different_people(cohort: dict[str, list[Subject]], kind: str):
    counts = {tuple(np.bincount(s.labels.ravel(), minlength=len(LABELS))) for s in cohort[kind]}
    assert len(counts) == len(SEEDS)


@KINDS
def test_affines_are_rigid_with_voxel_sizes_and_orientations_that_vary(cohort: dict[str, list[Subject]], kind: str):
    for subject in cohort[kind]:
        assert subject.mr.shape == subject.ct.shape == subject.labels.shape
        gram = subject.affine[:3, :3].T @ subject.affine[:3, :3]
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9)
        assert np.all((np.sqrt(np.diag(gram)) > 2) & (np.sqrt(np.diag(gram)) < 6))
    assert len({nib.orientations.aff2axcodes(s.affine) for s in cohort[kind]}) > 1
    assert len({s.mr.shape for s in cohort[kind]}) > 1


def test_the_affine_says_which_way_is_up_whatever_the_axis_order(cohort: dict[str, list[Subject]]):
    for subject in cohort["head"]:
        brain, sinuses = (
            np.argwhere(axial(subject, subject.labels == LABELS[name])).mean(axis=0) for name in ("white", "cavity")
        )
        assert brain[2] > sinuses[2] + 10 and sinuses[1] > brain[1] + 10


@KINDS
def test_labels_explain_the_ct(cohort: dict[str, list[Subject]], kind: str):
    expected = {"air": -1000, "fat": -100, "muscle": 55, "organ": 45, "fluid": 8, "cavity": -985}
    for subject in cohort[kind]:
        hu = {name: np.median(subject.ct[subject.labels == LABELS[name]]) for name in (*expected, "cortical", "marrow")}
        assert all(abs(hu[name] - value) < 80 for name, value in expected.items()), hu
        assert 600 < hu["cortical"] < 1400 and 200 < hu["marrow"] < 600, hu


@KINDS
def test_cortical_bone_is_dark_and_marrow_as_bright_as_fat(cohort: dict[str, list[Subject]], kind: str):
    for subject in cohort[kind]:
        names = ("fat", "muscle", "cavity", "cortical", "marrow")
        mr = {name: np.median(subject.mr[subject.labels == LABELS[name]]) for name in names}
        assert mr["cavity"] < 0.4 * mr["muscle"]
        assert mr["cortical"] < 0.7 * mr["muscle"]
        assert 0.5 < mr["marrow"] / mr["fat"] < 1.5


def test_a_head_holds_every_tissue_and_keeps_clear_of_the_couch(cohort: dict[str, list[Subject]]):
    for subject in cohort["head"]:
        assert set(np.unique(subject.labels)) == set(LABELS.values())
        from_body = np.asarray(ndimage.distance_transform_edt(subject.labels == 0))
        assert subject.ct[(from_body > 2) & (from_body < 3)].max() < -700
    assert any((subject.ct[subject.labels == 0] > -700).mean() > 0.005 for subject in cohort["head"])


@pytest.mark.parametrize(("seed", "kind"), [(-1, "head"), (0, "hand")])
def test_an_impossible_subject_is_refused(seed: int, kind: Kind):
    with pytest.raises(ValueError, match="seed >= 0"):
        make_subject(seed, kind)


def test_written_files_follow_the_layout_and_hold_what_was_made(tmp_path: Path):
    write_phantoms(tmp_path / "out", subjects=2, seed=3, kind="pelvis", test_subjects=1)
    names = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    training = {f"mr/pelvis_000{k}.nii.gz" for k in range(2)} | {f"ct/pelvis_100{k}.nii.gz" for k in range(2)}
    assert names == training | {f"test/{folder}/pelvis_2000.nii.gz" for folder in ("mr", "ct", "labels")}
    images = [
        nib.Nifti1Image.from_filename(tmp_path / "out/test" / folder / "pelvis_2000.nii.gz")
        for folder in ("mr", "ct", "labels")
    ]
    for image, dtype in zip(images, (np.int16, np.int16, np.uint8), strict=True):
        assert image.get_data_dtype() == dtype and image.header.get_xyzt_units()[0] == "mm"
        assert int(image.header["sform_code"]) == int(image.header["qform_code"]) == 1
        np.testing.assert_allclose(image.get_qform(), images[0].get_sform(), atol=1e-3)
    assert np.asarray(images[1].dataobj).min() < -900


def test_no_person_is_in_two_parts_and_the_test_set_does_not_depend_on_the_training_size(tmp_path: Path):
    for subjects in (1, 2):
        write_phantoms(tmp_path / str(subjects), subjects=subjects, seed=0, kind="pelvis", test_subjects=1)
    small, large = (
        {p.relative_to(r): p.read_bytes() for p in r.rglob("*.gz")} for r in (tmp_path / "1", tmp_path / "2")
    )
    assert small.items() <= large.items() and len(large) == len(small) + 2
    affines = {nib.Nifti1Image.from_filename(tmp_path / "2" / name).get_sform().tobytes() for name in large}
    assert len(affines) == 5


def test_an_output_that_is_a_file_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="out: phantoms cannot be written"):
        write_phantoms(tmp_path / "out", subjects=1, seed=0)
    with pytest.raises(UserError, match="got 0, 4 and 0"):
        write_phantoms(tmp_path / "other", subjects=0, seed=0)
