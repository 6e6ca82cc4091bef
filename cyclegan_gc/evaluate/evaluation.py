"""Evaluate synthetic CTs: every case against its true CT, beside the baselines that any network has to beat."""

import math
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cyclegan_gc.device import one_torch_thread
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.agreement import Counts, count_agreement
from cyclegan_gc.evaluate.baselines import HistogramModel, best_constant_hu, constant_ct, count_hu
from cyclegan_gc.evaluate.loading import load_case
from cyclegan_gc.evaluate.matching import CaseFiles, Sources, match_cases
from cyclegan_gc.evaluate.measures import METHOD_LABELS, SCT, Row
from cyclegan_gc.evaluate.rows import basic_row, measured_rows
from cyclegan_gc.evaluate.segment import find_segmenter, with_label_maps
from cyclegan_gc.evaluate.summary import Evaluation, summarise, worst_first
from cyclegan_gc.evaluate.tables import write_results
from cyclegan_gc.pictures.truth import case_panel

MAX_PICTURES = 8


def evaluate(
    predicted: str,
    reference: str,
    output: Path,
    *,
    mr: str | None = None,
    mask: str | None = None,
    model: HistogramModel | None = None,
    compare: str | None = None,
    labels: str | None = None,
    predicted_labels: str | None = None,
    compared_labels: str | None = None,
    segment: Literal["totalsegmentator"] | None = None,
) -> Evaluation:
    """Measure synthetic CTs and trivial baselines on the same voxels; write the results into a folder.

    Sources are a file, a folder, a glob or a text list; files of one case have one name but for ``_sct``. A bad case is
    named in ``failures`` and the others go on. Written are ``cases.csv`` (one row per case and method),
    ``evaluation.json`` (those rows and the summary) and ``report.html`` with plots and pictures of the worst cases.

    Args:
        predicted: synthetic CTs in HU, made by anything.
        reference: true CTs in HU; on another grid they are resampled to the synthetic CT's.
        output: folder, made if missing.
        mr: the MRs that were converted; adds the gradient correlation with them.
        mask: body masks, not 0 inside; without them the body is found in the true CT.
        model: adds the baseline of histogram matching, which needs ``mr`` too.
        compare: another method's synthetic CTs of the same cases.
        labels: label maps of the true CTs, adds Dice and HD95 of every label that they hold.
        predicted_labels: label maps of the synthetic CTs.
        compared_labels: label maps of the other method's.
        segment: makes all label maps, in place of given ones.

    Raises:
        UserError: if a source holds nothing, nothing matches, the folder cannot be written or ``segment`` is not
            installed.
    """
    sources = Sources(predicted, reference, mr, mask, compare, labels, predicted_labels, compared_labels)
    files, failures, unmatched = match_cases(sources)
    segmenter = find_segmenter() if segment else None
    _make_folder(output)
    rows, shares, warnings = [], {}, []
    counts: dict[str, Counts] = {}
    for case_files in files:
        with _named(case_files.id, failures):
            if segmenter:
                case_files = with_label_maps(case_files, segmenter, output / "labels")
            case = load_case(case_files)
            rows += measured_rows(case, model)
            shares[case.id] = count_hu(case.ct, case.mask)
            warnings += [f"{case.id}: {warning}" for warning in case.warnings]
            for method, image in case.judged.items():
                counts[method] = counts.get(method, 0) + count_agreement(image, case.ct, case.mask)

    constant_hu = best_constant_hu(shares.values()) if shares else math.nan
    worst = worst_first(rows)[:MAX_PICTURES]
    again = [found for found in files if found.id in shares]
    rows_of_constant, pictures = _second_look(again, constant_hu, worst, failures)
    rows = sorted(rows + rows_of_constant, key=_by_case_and_method)
    notes = _notes(rows, constant_hu, unmatched, sources, model, segment) + warnings
    evaluation = Evaluation(rows, summarise(rows), failures, notes, pictures, counts)
    write_results(evaluation, output)
    return evaluation


def _second_look(
    files: list[CaseFiles], constant_hu: float, worst: list[str], failures: list[str]
) -> tuple[list[Row], dict[str, bytes]]:
    """The rows of the constant, which all cases together give, and the pictures of the worst cases, in that order."""
    rows, pictures = [], {}
    # Read again rather than kept: a hospital's hundred volumes do not fit into memory.
    for case_files in files:
        with _named(case_files.id, failures), one_torch_thread(), ThreadPoolExecutor(1) as beside:
            case = load_case(replace(case_files, labels=None))
            if case.id in worst:
                drawn = beside.submit(case_panel, case.mr, case.sct, case.ct, case.mask, case.affine, case.compared)
            rows.append(basic_row(case, "constant", constant_ct(constant_hu, case.mask)))
            if case.id in worst:
                pictures[case.id] = drawn.result()
    return rows, {case: pictures[case] for case in worst if case in pictures}


def _by_case_and_method(row: Row) -> tuple[str, int]:
    return str(row["case"]), list(METHOD_LABELS).index(str(row["method"]))


def _notes(
    rows: list[Row],
    constant_hu: float,
    unmatched: list[str],
    sources: Sources,
    model: HistogramModel | None,
    segment: str | None,
) -> list[str]:
    measured = "the given masks" if sources.mask else "the body found in the true CT (no mask given)"
    notes = [f"Measured inside {measured}{', the same voxels for all' if sources.compare else ''}."]
    if rows:
        notes.append(f"Constant: {constant_hu:.0f} HU everywhere, the best single value over these very cases.")
    if sources.mr and model:
        notes.append("Histogram match: the monotone map of the training MR's intensities onto the training CT's HU.")
    else:
        notes.append("Histogram matching was left out: it needs a checkpoint and the MRs.")
    if segment:
        notes.append("Label maps were made by TotalSegmentator (--fast) and are kept in labels/.")
    resampled = sorted(
        f"{row['case']} ({row['resampled']})" for row in rows if row["method"] == SCT and row["resampled"]
    )
    if resampled:
        notes.append(f"Resampled to the synthetic CT's grid: {', '.join(resampled)}.")
    if unmatched:
        notes.append(f"True CTs without a synthetic one, left out: {', '.join(unmatched)}.")
    if (cases := len(worst_first(rows))) > MAX_PICTURES:
        notes.append(f"Pictures show the {MAX_PICTURES} worst of {cases} cases by MAE.")
    return notes


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
