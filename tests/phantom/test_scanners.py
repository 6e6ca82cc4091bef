from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from cyclegan_gc.config import Scanner
from cyclegan_gc.phantom.subject import LABELS, Subject, make_subject, write_phantoms

SEEDS = (0, 1)
SCANNERS = get_args(Scanner)
OTHERS = pytest.mark.parametrize("scanner", SCANNERS[1:])


@pytest.fixture(scope="module")
def seen() -> dict[str, list[Subject]]:
    return {scanner: [make_subject(seed, "head", scanner) for seed in SEEDS] for scanner in SCANNERS}


def brightness(subject: Subject, tissue: str) -> float:
    """Median of a tissue between the dimmest and the brightest percentile of the body."""
    low, high = np.percentile(subject.mr[subject.labels > 0], (0.5, 99.5))
    return float((np.median(subject.mr[subject.labels == LABELS[tissue]]) - low) / (high - low))


def sharpness(subject: Subject) -> float:
    """Change from voxel to voxel, from side to side and from slice to slice, as a ratio."""
    order = np.argmax(np.abs(subject.affine[:3, :3]), axis=1)
    mr = subject.mr.transpose(order)
    return float(np.abs(np.diff(mr, axis=2)).mean() / np.abs(np.diff(mr, axis=0)).mean())


def test_the_usual_scanner_is_the_one_that_published_figures_were_measured_with():
    head, pelvis = make_subject(0, "head"), make_subject(0, "pelvis")
    measured = [[s.mr.mean(dtype=float), s.ct.mean(dtype=float), (s.labels > 0).sum()] for s in (head, pelvis)]
    np.testing.assert_allclose(
        measured, [[57.614203, -607.838522, 168579], [385.735275, -474.207938, 140176]], rtol=1e-5
    )


@OTHERS
def test_another_scanner_changes_only_the_mr_of_a_subject(seen: dict[str, list[Subject]], scanner: Scanner):
    for usual, other in zip(seen["spgr"], seen[scanner], strict=True):
        for name in ("ct", "labels", "affine"):
            np.testing.assert_array_equal(getattr(other, name), getattr(usual, name), strict=True)
        changes = [brightness(other, name) - brightness(usual, name) for name in ("fat", "muscle", "white", "grey")]
        assert np.abs(changes).max() > 0.05


def test_each_scanner_has_its_typical_contrast(seen: dict[str, list[Subject]]):
    for usual, mprage, spin_echo, gadolinium in zip(*(seen[name] for name in SCANNERS), strict=True):
        contrast = [brightness(s, "white") / brightness(s, "grey") for s in (usual, mprage, spin_echo)]
        assert contrast[1] > contrast[0] > contrast[2]
        assert brightness(mprage, "fluid") < brightness(usual, "fluid")
        assert sharpness(spin_echo) < sharpness(usual)
        assert brightness(gadolinium, "vessel") > brightness(gadolinium, "muscle") > brightness(usual, "vessel")


def test_written_sets_of_two_scanners_differ_only_in_the_mr(tmp_path: Path):
    for scanner in ("spgr", "mprage"):
        write_phantoms(tmp_path / scanner, subjects=1, seed=0, kind="pelvis", test_subjects=1, scanner=scanner)
    for path in (tmp_path / "spgr").rglob("*.gz"):
        name = path.relative_to(tmp_path / "spgr")
        same = path.read_bytes() == (tmp_path / "mprage" / name).read_bytes()
        assert same == ("mr" not in name.parts)


def test_an_unknown_scanner_is_refused_by_name():
    with pytest.raises(ValueError, match=r"a scanner of .*'spgr'.*, got 'flair'"):
        make_subject(0, "head", "flair")  # pyright: ignore[reportArgumentType]
