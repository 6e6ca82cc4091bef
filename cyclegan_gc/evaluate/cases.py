"""Evaluate synthetic CTs: every case against its true CT, beside the baselines that any network has to beat."""

import csv
import io
import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.atomic import write_text
from cyclegan_gc.consistency import mr_gradient_correlation
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.baselines import (
    AIR_HU,
    HistogramModel,
    best_constant_hu,
    constant_ct,
    count_hu,
    histogram_match,
)
from cyclegan_gc.evaluate.matching import Case, load_case, match_cases
from cyclegan_gc.evaluate.panels import case_panel
from cyclegan_gc.evaluate.report import worst_first, write_report
from cyclegan_gc.evaluate.summary import METHOD_LABELS, METRICS, SCT, Evaluation, Row, summarise
from cyclegan_gc.metrics import case_metrics

MAX_PICTURES = 8


def evaluate(
    predicted: str,
    reference: str,
    output: Path,
    *,
    mr: str | None = None,
    mask: str | None = None,
    model: HistogramModel | None = None,
) -> Evaluation:
    """Measure synthetic CTs and trivial baselines on the same voxels; write the results into a folder.

    Sources are a file, a folder, a glob or a text list; files of one case have one name but for ``_sct``. A bad case is
    named in ``failures`` and the others go on. Written are ``cases.csv`` (one row per case and method),
    ``evaluation.json`` (those rows and the summary) and ``report.html`` with pictures of the worst cases.

    Args:
        predicted: synthetic CTs in HU.
        reference: true CTs in HU; on another grid they are resampled to the synthetic CT's.
        output: folder, made if missing.
        mr: the MRs that were converted; adds the gradient correlation with them.
        mask: body masks, not 0 inside; without them the body is found in the true CT.
        model: adds the baseline of histogram matching, which needs ``mr`` too.

    Raises:
        UserError: if a source holds nothing, nothing matches or the folder cannot be written.
    """
    files, failures, unmatched = match_cases(predicted, reference, mr, mask)
    _make_folder(output)
    rows, shares, warnings = [], {}, []
    for case_files in files:
        with _named(case_files.id, failures):
            case = load_case(case_files)
            rows += _measured_rows(case, model)
            shares[case.id] = count_hu(case.ct, case.mask)
            warnings += [f"{case.id}: {warning}" for warning in case.warnings]

    constant_hu = best_constant_hu(shares.values()) if shares else math.nan
    worst = worst_first(rows)[:MAX_PICTURES]
    pictures = {}
    # Read again rather than kept: a hospital's hundred volumes do not fit into memory.
    for case_files in (found for found in files if found.id in shares):
        with _named(case_files.id, failures):
            case = load_case(case_files)
            rows.append(_row(case, "constant", constant_ct(constant_hu, case.mask)))
            if case.id in worst:
                pictures[case.id] = case_panel(case.mr, case.sct, case.ct, case.mask, case.affine)

    rows.sort(key=lambda row: (str(row["case"]), list(METHOD_LABELS).index(str(row["method"]))))
    notes = _notes(rows, constant_hu, unmatched, mr=mr, mask=mask, model=model) + warnings
    ordered = {case: pictures[case] for case in worst if case in pictures}
    evaluation = Evaluation(rows, summarise(rows), failures, notes, ordered)
    _write(evaluation, output)
    return evaluation


def _measured_rows(case: Case, model: HistogramModel | None) -> list[Row]:
    """The rows that need no other case: the synthetic CT's and, with a model, histogram matching's."""
    row = _row(case, SCT, case.sct)
    if case.mr is None:
        return [row]
    row["gc_reference"] = mr_gradient_correlation(case.ct, case.mr, case.mask, case.affine)
    if model is None:
        return [row]
    matched = histogram_match(model.normalise_mr(case.mr, case.spacing_mm), model.mr, model.ct)
    return [row, _row(case, "histogram_match", np.where(case.mask, matched, np.float32(AIR_HU)))]


def _row(case: Case, method: str, image_hu: NDArray) -> Row:
    row: Row = {"case": case.id, "method": method, "resampled": case.resampled}
    row |= case_metrics(image_hu, case.ct, case.mask, case.spacing_mm)
    if case.mr is not None:
        row["gc"] = mr_gradient_correlation(image_hu, case.mr, case.mask, case.affine)
    return row


def _notes(
    rows: list[Row],
    constant_hu: float,
    unmatched: list[str],
    *,
    mr: str | None,
    mask: str | None,
    model: HistogramModel | None,
) -> list[str]:
    cases = worst_first(rows)
    notes = [
        "Measured inside the given masks." if mask else "Measured inside the body found in the true CT (no mask given)."
    ]
    if rows:
        notes.append(f"Constant: {constant_hu:.0f} HU everywhere, the best single value over these very cases.")
    if mr and model:
        notes.append("Histogram match: the monotone map of the training MR's intensities onto the training CT's HU.")
    else:
        notes.append("Histogram matching was left out: it needs a checkpoint and the MRs.")
    resampled = sorted(
        f"{row['case']} ({row['resampled']})" for row in rows if row["method"] == SCT and row["resampled"]
    )
    if resampled:
        notes.append(f"Resampled to the synthetic CT's grid: {', '.join(resampled)}.")
    if unmatched:
        notes.append(f"True CTs without a synthetic one, left out: {', '.join(unmatched)}.")
    if len(cases) > MAX_PICTURES:
        notes.append(f"Pictures show the {MAX_PICTURES} worst of {len(cases)} cases by MAE.")
    return notes


def _write(evaluation: Evaluation, output: Path) -> None:
    results = {
        "summary": evaluation.summary,
        "cases": evaluation.rows,
        "failures": evaluation.failures,
        "notes": evaluation.notes,
    }
    try:
        write_text(output / "cases.csv", _csv(evaluation.rows))
        write_text(output / "evaluation.json", json.dumps(_json_ready(results), indent=2, allow_nan=False) + "\n")
        write_report(
            output / "report.html", title="Synthetic CT evaluation", evaluation=evaluation, panels=evaluation.pictures
        )
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); free or choose a disk") from error


def _csv(rows: list[Row]) -> str:
    """One row per case and method; empty where there is no value, ``inf`` for the PSNR of equal images."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", "method", "resampled", *METRICS])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _json_ready(value: object) -> object:
    """JSON knows no infinity: null."""
    if isinstance(value, dict):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_ready(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); give another --output") from error


@contextmanager
def _named(case: str, failures: list[str]) -> Iterator[None]:
    """One bad case is named and the others go on."""
    try:
        yield
    except (UserError, ValueError, OSError) as error:
        failures.append(f"{case}: {error}")
