"""The measurements of one case, a row for each method."""

from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.consistency import mr_gradient_correlation
from cyclegan_gc.data.body import ct_body_mask
from cyclegan_gc.evaluate.baselines import AIR_HU, HistogramModel, histogram_match
from cyclegan_gc.evaluate.loading import Case
from cyclegan_gc.evaluate.measures import Row
from cyclegan_gc.metrics import case_metrics, dice, label_overlaps


def measured_rows(case: Case, model: HistogramModel | None) -> list[Row]:
    """The rows that need no other case: of the synthetic CT, a compared one and, with a model, histogram matching."""
    rows = [judged_row(case, method, image) for method, image in case.judged.items()]
    if case.mr is None:
        return rows
    rows[0]["gc_reference"] = mr_gradient_correlation(case.ct, case.mr, case.mask, case.affine)
    if model is None:
        return rows
    matched = histogram_match(model.normalise_mr(case.mr, case.spacing_mm), model.mr, model.ct)
    return [*rows, basic_row(case, "histogram_match", np.where(case.mask, matched, np.float32(AIR_HU)))]


def judged_row(case: Case, method: str, image_hu: NDArray) -> Row:
    """All that can be said of a synthetic CT, its body's outline and labels too."""
    row = basic_row(case, method, image_hu)
    row["body_dice"] = dice(ct_body_mask(image_hu, case.spacing_mm) & case.covered, case.body & case.covered)
    if case.labels is not None and method in case.predicted_labels:
        row |= _label_columns(case.predicted_labels[method], case.labels, case.spacing_mm)
    return row


def basic_row(case: Case, method: str, image_hu: NDArray) -> Row:
    """What can be said of any image, a baseline too, which has the mask as its outline and no labels."""
    voxels = int(np.count_nonzero(case.mask))
    row: Row = {"case": case.id, "method": method, "resampled": case.resampled, "voxels": voxels}
    row |= case_metrics(image_hu, case.ct, case.mask, case.spacing_mm)
    if case.mr is not None:
        row["gc"] = mr_gradient_correlation(image_hu, case.mr, case.mask, case.affine)
    return row


def _label_columns(predicted: NDArray, truth: NDArray, spacing_mm: tuple[float, float, float]) -> Row:
    """Every label's overlap, and the means over the labels that have one."""
    overlaps = label_overlaps(predicted, truth, spacing_mm)
    columns: Row = {}
    for name in ("dice", "hd95"):
        known = [overlap[name] for overlap in overlaps.values()]
        values = [value for value in known if value is not None]
        columns[f"labels_{name}"] = fmean(values) if values else None
        columns |= {f"{name}_label_{label}": overlap[name] for label, overlap in overlaps.items()}
    return columns
