"""The measurements of one case, a row for each method."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.device import one_torch_thread, usable_cpus
from cyclegan_gc.evaluate.baselines import HistogramModel, histogram_match
from cyclegan_gc.evaluate.loading import Case
from cyclegan_gc.evaluate.measures import SCT, Row
from cyclegan_gc.metrics import case_metrics, dice, label_overlaps
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.preprocess import AIR_HU


def measured_rows(case: Case, model: HistogramModel | None) -> list[Row]:
    """The rows that need no other case: of the synthetic CT, a compared one and, with a model, histogram matching."""
    measures: list[Callable[[Case, str, NDArray], Row]] = [basic_row, _label_columns, _outline_columns]
    judged = case.judged.items()
    with one_torch_thread(), ThreadPoolExecutor(usable_cpus()) as pool:
        jobs = [pool.submit(measure, case, method, image) for measure in measures for method, image in judged]
        if case.mr is not None:
            jobs.append(pool.submit(_aim_columns, case, case.mr))
            if model is not None:
                jobs.append(pool.submit(_matched_row, case, case.mr, model))
    by_method: dict[str | float | None, Row] = {}
    for job in jobs:
        columns = job.result()
        by_method.setdefault(columns["method"], {}).update(columns)
    return list(by_method.values())


def basic_row(case: Case, method: str, image_hu: NDArray) -> Row:
    """What can be said of any image, a baseline too, which has the mask as its outline and no labels."""
    voxels = int(np.count_nonzero(case.mask))
    row: Row = {"case": case.id, "method": method, "resampled": case.resampled, "voxels": voxels}
    row |= case_metrics(image_hu, case.ct, case.mask, case.spacing_mm)
    if case.mr is not None:
        row["gc"] = mr_gradient_correlation(image_hu, case.mr, case.mask, case.affine)
    return row


def _matched_row(case: Case, mr: NDArray, model: HistogramModel) -> Row:
    matched = histogram_match(model.normalise_mr(mr, case.spacing_mm), model.mr, model.ct)
    return basic_row(case, "histogram_match", np.where(case.mask, matched, np.float32(AIR_HU)))


def _aim_columns(case: Case, mr: NDArray) -> Row:
    """What a perfect synthetic CT would reach."""
    return {"method": SCT, "gc_reference": mr_gradient_correlation(case.ct, mr, case.mask, case.affine)}


def _outline_columns(case: Case, method: str, image_hu: NDArray) -> Row:
    """Dice of the image's body and the true CT's, each found in its own HU, where both are covered."""
    body = ct_body_mask(image_hu, case.spacing_mm)
    return {"method": method, "body_dice": dice(body & case.covered, case.body & case.covered)}


def _label_columns(case: Case, method: str, image_hu: NDArray) -> Row:
    """Every label's overlap where all images have voxels, and the means over the labels; nothing without label maps.

    A distance to a label that was not found is none, and neither is a mean over it: missing an organ is no gain.
    """
    columns: Row = {"method": method}
    if case.labels is None or method not in case.predicted_labels:
        return columns
    predicted, truth = (labels * case.covered for labels in (case.predicted_labels[method], case.labels))
    overlaps = label_overlaps(predicted, truth, case.spacing_mm)
    for name in ("dice", "hd95"):
        values = [value for overlap in overlaps.values() if (value := overlap[name]) is not None]
        columns[f"labels_{name}"] = fmean(values) if values and len(values) == len(overlaps) else None
        columns |= {f"{name}_label_{label}": overlap[name] for label, overlap in overlaps.items()}
    return columns
