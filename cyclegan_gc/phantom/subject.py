"""Phantoms: procedural heads and pelves with MR, CT and true labels on one grid, for the demo and the tests.

In the MR, cortical bone is as dark as air, vessels and ligaments, and marrow is as bright as fat and white matter.
Intensity alone therefore does not identify bone; its position and surroundings do.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nibabel as nib
import numpy as np
from scipy import ndimage

from cyclegan_gc.atomic import atomic_write
from cyclegan_gc.config import Scanner
from cyclegan_gc.errors import UserError
from cyclegan_gc.phantom.head import head
from cyclegan_gc.phantom.pelvis import pelvis
from cyclegan_gc.phantom.scanners import PROTOCOLS, Protocol, scan_mr
from cyclegan_gc.phantom.shapes import Layer, Noise, rotation, smooth_noise

Kind = Literal["head", "pelvis"]

_HU: dict[str, float] = {
    "air": -1000,
    "skin": 20,
    "fat": -100,
    "muscle": 55,
    "grey": 38,
    "white": 28,
    "organ": 45,
    "fluid": 8,
    "cavity": -985,
    "tendon": 85,
    "vessel": 50,
    "cortical": 1200,
    "marrow": 300,
}

LABELS = {tissue: label for label, tissue in enumerate(_HU)}
"""Tissue name to value in the label map; ``cavity`` is air inside the body, ``air`` is everything outside it."""
# Most subjects in one part, so that the numbers of the parts do not overlap.
_MOST = 1000


@dataclass(frozen=True)
class Subject:
    """One phantom with all arrays on one grid; ``affine`` gives axis order and flips."""

    mr: np.ndarray
    """``(X, Y, Z)`` float32 in whole arbitrary units, not negative; cortical bone and air are both near zero."""
    ct: np.ndarray
    """``(X, Y, Z)`` int16 in HU."""
    labels: np.ndarray
    """``(X, Y, Z)`` uint8, values of `LABELS`; above 0 inside the body."""
    affine: np.ndarray
    """``(4, 4)`` float64, voxel index to RAS mm; its columns are orthogonal."""


# Anatomy, lower and upper end of the field of view, and voxel size in mm.
_STAGES = {
    "head": (head, (-103, -128, -117), (103, 124, 87), (2.6, 2.6, 3.0)),
    "pelvis": (pelvis, (-196, -138, -92), (196, 128, 138), (3.9, 3.9, 4.2)),
}


def make_subject(seed: int, kind: Kind = "head", scanner: Scanner = "spgr") -> Subject:
    """Make one subject; equal arguments give equal arrays.

    Shape, size, pose, tissue brightness, bias field, noise, voxel size and orientation depend on ``seed``. The
    scanner, a T1-weighted protocol of `PROTOCOLS`, changes only the MR; CT, labels and grid stay the same. A head has
    about 80 x 96 x 68 voxels, a pelvis about 100 x 68 x 55.

    Raises:
        ValueError: if the kind or the scanner is unknown or the seed negative.
    """
    if kind not in _STAGES or seed < 0:
        raise ValueError(f"a phantom needs a kind of {sorted(_STAGES)} and a seed >= 0, got {kind!r} and {seed}")
    if scanner not in PROTOCOLS:
        raise ValueError(f"a phantom needs a scanner of {sorted(PROTOCOLS)}, got {scanner!r}")
    rng = np.random.default_rng([seed, list(_STAGES).index(kind)])
    anatomy, lower_mm, upper_mm, spacing_mm = _STAGES[kind]
    spacing = np.array(spacing_mm) * rng.uniform(0.92, 1.12) * rng.uniform(0.97, 1.03, 3)
    lower, protocol = np.array(lower_mm), PROTOCOLS[scanner]
    shape = tuple(int(n) for n in np.round(np.subtract(upper_mm, lower_mm) / spacing))
    affine = _scanner_affine(spacing, lower, rng)

    def noise(scale_mm: float) -> np.ndarray:
        return smooth_noise(rng, shape, spacing, scale_mm)

    points = _anatomical_points(shape, spacing, lower, noise, rng)
    mr, ct, labels = _paint(anatomy(points, noise, rng), shape, float(spacing.mean()), protocol, rng)
    ct = _scan_ct(ct, labels, spacing, noise, rng)
    mr = scan_mr(mr, noise, protocol, rng)
    return _reoriented(mr, ct, labels, affine, rng)


def _scanner_affine(spacing: np.ndarray, lower: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    oblique = rng.random() < 0.5
    turn = rotation(rng.uniform(-8, 8, 3) * oblique)
    affine = np.eye(4)
    affine[:3, :3] = turn * spacing
    affine[:3, 3] = turn @ lower + rng.uniform(-20, 20, 3)
    return affine


def _anatomical_points(
    shape: tuple[int, ...], spacing: np.ndarray, lower: np.ndarray, noise: Noise, rng: np.random.Generator
) -> np.ndarray:
    """Atlas coordinates ``(3, X, Y, Z)`` of each voxel, after the subject's pose, size and a smooth warp."""
    grid = np.meshgrid(
        *[low + np.arange(n) * s for n, s, low in zip(shape, spacing, lower, strict=True)], indexing="ij"
    )
    pose = rotation(rng.uniform(-6, 6, 3))
    placed = np.tensordot(pose, np.stack(grid), axes=1) + rng.uniform(-4, 4, 3)[:, None, None, None]
    size = rng.uniform(0.97, 1.05) * rng.uniform(0.97, 1.03, 3)
    warp = np.stack([noise(55) for _ in range(3)]) * rng.uniform(1.5, 3)
    return (placed / size[:, None, None, None] + warp).astype(np.float32)


def _paint(
    layers: Iterator[Layer], shape: tuple[int, ...], voxel_mm: float, protocol: Protocol, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MR brightness, HU and labels, with partial volume at surfaces."""
    marrow_fat = rng.uniform(0, 1)
    mr, ct, labels = np.zeros(shape, np.float32), np.full(shape, -1000, np.float32), np.zeros(shape, np.uint8)
    person = {name: np.exp(rng.normal(0, 0.08)) for name in _HU}
    brightness = {name: value * person[name] for name, value in protocol.brightness.items()}
    hu = dict(_HU)
    # Fatty marrow is brighter in the MR and contains less bone, so the CT can be inferred from the MR.
    brightness["marrow"] = protocol.marrow[0] + protocol.marrow[1] * marrow_fat
    hu["marrow"] = 310 - 90 * marrow_fat
    hu["cortical"] *= rng.uniform(0.85, 1.15)
    for tissue, distance in layers:
        covered = np.clip(0.5 - distance / voxel_mm, 0, 1)
        mr += covered * (np.float32(brightness[tissue]) - mr)
        ct += covered * (np.float32(hu[tissue]) - ct)
        labels[covered > 0.5] = LABELS[tissue]
    return mr, ct, labels


def _scan_ct(
    ct: np.ndarray, labels: np.ndarray, spacing: np.ndarray, noise: Noise, rng: np.random.Generator
) -> np.ndarray:
    dense = ct > 150
    ct = ct + np.where(dense, ct * (0.07 * noise(18)), np.clip(ct + 1000, 0, 1000) * (0.008 * noise(12)))
    if rng.random() < 0.6:
        ct = np.where(labels == 0, np.maximum(ct, _couch(labels > 0, spacing, rng)), ct)
    ct = ndimage.gaussian_filter(ct, rng.uniform(0.15, 0.4))
    grain = ndimage.gaussian_filter(rng.standard_normal(ct.shape, np.float32), 0.5)
    ct += grain / grain.std() * rng.uniform(7, 18)
    return np.round(ct).clip(-1024, 3071).astype(np.int16)


def _couch(body: np.ndarray, spacing: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """HU of a curved couch behind the body that does not touch it; -1000 elsewhere."""
    across = (np.arange(body.shape[0]) - body.shape[0] / 2) * spacing[0]
    back = np.flatnonzero(body.any(axis=(0, 2)))[0] * spacing[1]
    height = back - rng.uniform(9, 14) - 0.0008 * (80**2 - np.minimum(np.abs(across), 80) ** 2)
    distance = np.abs(np.arange(body.shape[1]) * spacing[1] - height[:, None]) - rng.uniform(1.5, 3)
    covered = np.clip(0.5 - distance / spacing[1], 0, 1) * (np.abs(across) < rng.uniform(80, 180))[:, None]
    return (-1000 + covered * rng.uniform(200, 650)).astype(np.float32)[:, :, None]


def _reoriented(
    mr: np.ndarray, ct: np.ndarray, labels: np.ndarray, affine: np.ndarray, rng: np.random.Generator
) -> Subject:
    """The subject with a random axis order and random flips."""
    orientation = np.stack([rng.permutation(3), rng.choice([-1, 1], 3)], axis=1)
    affine = affine @ nib.orientations.inv_ornt_aff(orientation, mr.shape)
    mr, ct, labels = (
        np.ascontiguousarray(nib.orientations.apply_orientation(array, orientation)) for array in (mr, ct, labels)
    )
    return Subject(mr=mr, ct=ct, labels=labels, affine=affine)


def write_phantoms(
    output: Path,
    *,
    subjects: int,
    seed: int,
    kind: Kind = "head",
    test_subjects: int = 4,
    scanner: Scanner = "spgr",
) -> None:
    """Write an unpaired training set and a held-out paired test set; existing files are overwritten.

    ``output/mr`` and ``output/ct`` hold ``subjects`` volumes each, of different subjects. ``output/test/mr``,
    ``/ct`` and ``/labels`` hold one file each per test subject; no test subject is in the training set.
    Subjects are numbered from 0 (MR), 1000 (CT) and 2000 (test), so there are at most 1000 of each. The same seed
    writes the same bytes; the scanner changes only the MRs.

    Raises:
        UserError: if ``output`` is a file or cannot be written, or a number is out of range.
    """
    if not (1 <= subjects <= _MOST and 0 <= test_subjects <= _MOST and seed >= 0):
        raise UserError(
            f"{output}: phantoms need 1 to {_MOST} subjects, 0 to {_MOST} test subjects and a seed >= 0, "
            f"got {subjects}, {test_subjects} and {seed}"
        )
    try:
        for folder in ("mr", "ct", "test/mr", "test/ct", "test/labels"):
            (output / folder).mkdir(parents=True, exist_ok=True)
        _write_parts(output, subjects, test_subjects, seed, kind, scanner)
    except OSError as error:
        raise UserError(f"{output}: phantoms cannot be written ({error.strerror}); choose another folder") from error


def _write_parts(output: Path, subjects: int, test_subjects: int, seed: int, kind: Kind, scanner: Scanner) -> None:
    parts = {"mr": (subjects, ["mr"]), "ct": (subjects, ["ct"]), "test": (test_subjects, ["mr", "ct", "labels"])}
    for part, (name, (count, modalities)) in enumerate(parts.items()):
        folder = output / "test" if name == "test" else output
        for number in range(part * _MOST, part * _MOST + count):
            # The seed depends only on the number, so more training subjects do not change the test set.
            own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
            subject = make_subject(own_seed, kind, scanner)
            arrays = {"mr": subject.mr.astype(np.int16), "ct": subject.ct, "labels": subject.labels}
            for modality in modalities:
                _save(folder / modality / f"{kind}_{number:04d}.nii.gz", arrays[modality], subject.affine)


def _save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nib.Nifti1Image(np.asfortranarray(array), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with atomic_write(path) as file:
        file.write(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
