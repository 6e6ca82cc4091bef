"""Evaluate synthetic CTs: measure every case against its true CT, and the baselines on the same voxels."""

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.config import Preview
from cyclegan_gc.device import one_torch_thread, usable_cpus
from cyclegan_gc.errors import UserError, VolumeError, labelled
from cyclegan_gc.evaluate.baselines import HistogramModel, best_constant_hu, count_hu, histogram_match
from cyclegan_gc.evaluate.loading import Case, load_case
from cyclegan_gc.evaluate.matching import CaseFiles, Sources, match_cases, sidecar_of
from cyclegan_gc.evaluate.measures import SCT, Row, place_of
from cyclegan_gc.evaluate.report import write_results
from cyclegan_gc.evaluate.segment import find_segmenter, with_label_maps
from cyclegan_gc.evaluate.statistics import Counts, count_agreement
from cyclegan_gc.evaluate.summary import Evaluation, summarise, worst_first
from cyclegan_gc.evaluate.views import remove_views, write_view
from cyclegan_gc.formats.files import make_folder
from cyclegan_gc.formats.nifti import geometry_header
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.metrics import case_metrics, dice, label_overlaps
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.metrics.skull import Skull, skull
from cyclegan_gc.pictures.truth import case_panel
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.preprocess import AIR_HU, prepare, turn_back

MAX_PICTURES = 8
HASH_LETTERS = 12


def evaluate(
    sources: Sources,
    output: Path,
    *,
    model: HistogramModel | None = None,
    segment: Literal["totalsegmentator"] | None = None,
    preview: Preview = "interactive",
) -> Evaluation:
    """Measure synthetic CTs and simple baselines on the same voxels; write the results into a folder.

    A case that cannot be evaluated is listed in ``failures``, and the others go on. The files of the folder are those
    of :func:`cyclegan_gc.evaluate.report.write_results`.

    Args:
        sources: the files of all cases. A true CT on another grid is resampled to the synthetic CT's. Without masks
            the body is found in the true CT. MRs add the gradient correlation with them, label maps Dice and HD95.
        output: folder, made if missing.
        model: adds the baseline of histogram matching, which needs the MRs too.
        segment: makes all label maps, in place of given ones.
        preview: png draws the worst cases; interactive also writes a page for each case to scroll through.

    Raises:
        UserError: if a source is empty, no case matches, the folder cannot be written or ``segment`` is not installed.
    """
    files, failures, left_out = match_cases(sources)
    segmenter = find_segmenter() if segment else None
    make_folder(output)
    remove_views(output)
    rows, shares, warnings = [], {}, []
    counts: dict[str, Counts] = {}
    for case_files in files:
        with _listed(case_files.id, failures):
            if segmenter:
                case_files = with_label_maps(case_files, segmenter, output / "labels")
            case = load_case(case_files)
            rows += measured_rows(case, model)
            shares[case.id] = count_hu(case.ct, case.mask)
            warnings += [f"{case.id}: {warning}" for warning in case.warnings]
            for method, image in case.images.items():
                counts[method] = counts.get(method, 0) + count_agreement(image, case.ct, case.mask)

    constant_hu = best_constant_hu(shares.values()) if shares else math.nan
    worst = [] if preview == "none" else worst_first(rows)[:MAX_PICTURES]
    again = [found for found in files if found.id in shares]
    viewed = output if preview == "interactive" else None
    rows_of_constant, pictures, views = _second_look(again, constant_hu, worst, viewed, failures)
    rows = sorted(rows + rows_of_constant, key=lambda row: (str(row["case"]), place_of(str(row["method"]))))
    labels = {each.path: each.label for case_files in files for each in case_files.sources}
    labels |= {f"{path.parent}{os.sep}": "" for path in list(labels)} | {f"{output}{os.sep}": ""}
    failures = [labelled(failure, labels) for failure in failures]
    notes = _notes(rows, constant_hu, sources, model, segment, preview) + left_out + warnings
    evaluation = Evaluation(rows, summarise(rows), failures, notes, pictures, views, counts, _models(files, model))
    write_results(evaluation, output)
    return evaluation


def measured_rows(case: Case, model: HistogramModel | None) -> list[Row]:
    """The rows of the synthetic CT, the compared ones and, with a model, histogram matching."""
    true_skull = skull(case.ct, case.mask, case.affine)
    measures: list[Callable[[Case, str, NDArray], Row]] = [_basic_row, _label_columns, _outline_columns]
    if true_skull:
        measures.append(partial(_skull_columns, true_skull))
    images = case.images.items()
    with one_torch_thread(), ThreadPoolExecutor(usable_cpus()) as pool:
        jobs = [pool.submit(measure, case, method, image) for measure in measures for method, image in images]
        if case.mr is not None:
            jobs.append(pool.submit(_true_ct_columns, case, case.mr))
            if model is not None:
                jobs.append(pool.submit(_matched_row, case, case.mr, model))
    by_method: dict[str | float | None, Row] = {}
    for job in jobs:
        columns = job.result()
        by_method.setdefault(columns["method"], {}).update(columns)
    return list(by_method.values())


def _second_look(
    files: list[CaseFiles], constant_hu: float, worst: list[str], viewed: Path | None, failures: list[str]
) -> tuple[list[Row], dict[str, bytes], dict[str, str]]:
    """The rows of the constant, which is known only after all cases, the pictures of the worst cases in order, and the
    pages of slices, if there is a folder for them."""
    rows, pictures, views = [], {}, {}
    # Read again and not kept: a hundred volumes do not fit into memory.
    for number, case_files in enumerate(files, start=1):
        with _listed(case_files.id, failures), one_torch_thread(), ThreadPoolExecutor(1) as beside:
            case = load_case(replace(case_files, labels=None))
            if case.id in worst:
                drawn = beside.submit(case_panel, case.mr, case.sct, case.ct, case.mask, case.affine, case.compared)
            constant = np.where(case.mask, np.float32(constant_hu), np.float32(AIR_HU))
            rows.append(_basic_row(case, "constant", constant))
            if case.id in worst:
                pictures[case.id] = drawn.result()
            if viewed:
                views[case.id] = write_view(viewed, number, case)
    return rows, {case: pictures[case] for case in worst if case in pictures}, views


def _basic_row(case: Case, method: str, image_hu: NDArray) -> Row:
    """The metrics of any image, baselines included, which have no body outline and no labels of their own."""
    voxels = int(np.count_nonzero(case.mask))
    row: Row = {"case": case.id, "method": method, "resampled": case.resampled, "voxels": voxels}
    row |= case_metrics(image_hu, case.ct, case.mask, case.spacing_mm)
    if case.mr is not None:
        row["gc"] = mr_gradient_correlation(image_hu, case.mr, case.mask, case.affine)
    return row


def _matched_row(case: Case, mr: NDArray, model: HistogramModel) -> Row:
    try:
        prepared = prepare(Volume(mr, case.affine, geometry_header(case.affine)), "mr", model.settings)
        normalised = turn_back(prepared.image, prepared)
    except VolumeError:  # an MR without a body is air everywhere; the case's other rows still count
        normalised = np.full(mr.shape, -1, np.float32)
    matched = histogram_match(normalised, model.mr, model.ct)
    return _basic_row(case, "histogram_match", np.where(case.mask, matched, np.float32(AIR_HU)))


def _true_ct_columns(case: Case, mr: NDArray) -> Row:
    """GC of the true CT, the value that a perfect synthetic CT reaches."""
    return {"method": SCT, "gc_reference": mr_gradient_correlation(case.ct, mr, case.mask, case.affine)}


def _outline_columns(case: Case, method: str, image_hu: NDArray) -> Row:
    """Dice of the image's body and the true CT's, each found in its own HU, where both are covered."""
    body = ct_body_mask(image_hu, case.spacing_mm)
    return {"method": method, "body_dice": dice(body & case.covered, case.body & case.covered)}


def _skull_columns(true: Skull, case: Case, method: str, image_hu: NDArray) -> Row:
    """Measures of a head's vault beside the true thickness."""
    own = skull(image_hu, case.mask, case.affine)
    return {
        "method": method,
        "vault_mm": own and own.thickness_mm,
        "vault_mm_reference": true.thickness_mm,
        "vault_holes": own.holes if own else 1.0,
        "specks_ml": own and own.specks_ml,
    }


def _label_columns(case: Case, method: str, image_hu: NDArray) -> Row:
    """Overlap of every label where all images have voxels, and the means over labels; empty without label maps.

    A label that was not found has no distance. The mean distance is then None too, so that missing an organ is no gain.
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


def _models(files: list[CaseFiles], model: HistogramModel | None) -> list[str]:
    """The models that made the synthetic CTs, from the sidecars beside them; else the one of the baseline."""
    found: dict[str, str] = {}
    for sidecar in (sidecar_of(each.sct) for each in files):
        hashes = sidecar.get("settings", {}).get("models", [])
        found |= {sha256: f"SHA-256 {sha256[:HASH_LETTERS]}" for sha256 in hashes}
        found |= {each["sha256"]: f"{each['name']}, step {each['step']}" for each in sidecar.get("models", [])}
    if not found and model and model.name:
        return [f"{model.name} (of --checkpoint; the synthetic CTs have no sidecar)"]
    return list(found.values())


def _notes(
    rows: list[Row],
    constant_hu: float,
    sources: Sources,
    model: HistogramModel | None,
    segment: str | None,
    preview: Preview,
) -> list[str]:
    measured = "the given masks" if sources.mask else "the body found in the true CT (no mask given)"
    notes = [f"Measured inside {measured}{', the same voxels for all' if sources.compare else ''}."]
    if rows:
        notes.append(f"Constant: {constant_hu:.0f} HU everywhere, the best single value for these cases.")
    if sources.mr and model:
        notes.append("Histogram match: the monotone map from the training MR's intensities to the training CT's HU.")
    else:
        notes.append("Histogram matching was left out: it needs a checkpoint and the MRs.")
    if segment:
        notes.append("Label maps were made by TotalSegmentator (--fast) and are kept in labels/.")
    resampled = sorted(
        f"{row['case']} ({row['resampled']})" for row in rows if row["method"] == SCT and row["resampled"]
    )
    if resampled:
        notes.append(f"Resampled to the synthetic CT's grid: {', '.join(resampled)}.")
    if (cases := len(worst_first(rows))) > MAX_PICTURES and preview != "none":
        notes.append(f"Pictures show the {MAX_PICTURES} worst of {cases} cases by MAE.")
    return notes


@contextmanager
def _listed(case: str, failures: list[str]) -> Iterator[None]:
    """Adds the error of a bad case to ``failures``, so that the others go on."""
    try:
        yield
    except (UserError, ValueError, OSError) as error:
        failures.append(f"{case}: {error}")
