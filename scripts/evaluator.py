#!/usr/bin/env python3
"""Measures how long an evaluation takes, in seconds of CPU time and of wall time.

    python scripts/evaluator.py

The case is a resampled phantom of 256 x 256 x 128 voxels with MR, mask and label maps. Each metric, each further step
and the whole command are timed.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from cyclegan_gc import metrics
from cyclegan_gc.cli import main as command
from cyclegan_gc.evaluate.loading import Case, load_case
from cyclegan_gc.evaluate.matching import CaseFiles
from cyclegan_gc.evaluate.statistics import count_agreement
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.phantom.subject import make_subject
from cyclegan_gc.pictures.truth import case_panel
from cyclegan_gc.prepare.body import ct_body_mask

SHAPE = (256, 256, 128)
Result = TypeVar("Result")


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(f"{'':28s}{'CPU s':>8s}{'wall s':>8s}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_case(folder)
        case = timed("read and bring together", partial(load_case, files))
        time_metrics(case)
        options = ("predicted", "reference", "mr", "mask", "labels", "predicted_labels")
        given = (files.sct, files.ct, files.mr, files.mask, files.labels, files.sct_labels)
        words = [f"--{name}={each.path}" for name, each in zip(options, given, strict=True) if each]
        words += ["--output", str(folder / "out")]
        timed("cyclegan-gc evaluate", lambda: command(["evaluate", *words]))


def write_case(folder: Path) -> CaseFiles:
    """Write a phantom head at about 0.9 mm, with a blurred and noisy CT and a shifted label map as predictions."""
    subject = make_subject(3)
    factors = [wanted / own for wanted, own in zip(SHAPE, subject.ct.shape, strict=True)]
    affine = subject.affine @ np.diag([*(1 / factor for factor in factors), 1])
    ct, mr = (np.asarray(zoom(image.astype(np.float32), factors, order=1)) for image in (subject.ct, subject.mr))
    labels = np.asarray(zoom(subject.labels, factors, order=0))
    noise = np.random.default_rng(0).normal(0, 20, SHAPE)
    sct = gaussian_filter(ct, 1) + noise
    arrays = {"sct": sct.astype(np.int16), "ct": ct.astype(np.int16), "mr": mr.astype(np.int16)}
    arrays |= {"mask": (labels > 0).astype(np.uint8), "labels": labels, "sct_labels": np.roll(labels, 1, axis=0)}
    for name, array in arrays.items():
        nib.save(nib.Nifti1Image(np.asfortranarray(array), affine), folder / f"{name}.nii.gz")
    sources: dict[str, Any] = {name: source_of(folder / f"{name}.nii.gz") for name in arrays}
    return CaseFiles("case", **sources)


def time_metrics(case: Case) -> None:
    images = case.sct, case.ct, case.mask
    assert case.mr is not None and case.labels is not None
    for metric in (metrics.mae, metrics.me, metrics.error_sd, metrics.mae_by_tissue, metrics.psnr, metrics.bone_dice):
        timed(metric.__name__, partial(metric, *images))
    timed("ssim", partial(metrics.ssim, *images))
    timed("ms_ssim", partial(metrics.ms_ssim, *images))
    timed("bone_distances", partial(metrics.bone_distances, *images, case.spacing_mm))
    timed("case_metrics, all of these", partial(metrics.case_metrics, *images, case.spacing_mm))
    timed("body", partial(ct_body_mask, case.sct, case.spacing_mm))
    timed("gc", partial(mr_gradient_correlation, case.sct, case.mr, case.mask, case.affine))
    timed("labels", partial(metrics.label_overlaps, case.predicted_labels["sct"], case.labels, case.spacing_mm))
    timed("agreement", partial(count_agreement, *images))
    timed("picture", partial(case_panel, case.mr, *images, case.affine))


def timed(name: str, function: Callable[[], Result]) -> Result:
    """Call the function, print its seconds and return its result."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(f"{name:28s}{cpu:8.2f}{wall:8.2f}", flush=True)
    return result


if __name__ == "__main__":
    main()
