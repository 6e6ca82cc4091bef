"""The results on disk: a table for programs, the same with the summary as JSON, and the report for people."""

import csv
import io
import json
import math
from pathlib import Path

from cyclegan_gc.atomic import write_text
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.measures import Row, all_metrics
from cyclegan_gc.evaluate.report import write_report
from cyclegan_gc.evaluate.summary import Evaluation


def write_results(evaluation: Evaluation, output: Path) -> None:
    """Write ``cases.csv``, ``evaluation.json`` and ``report.html``, each whole or not at all.

    Raises:
        UserError: if the folder cannot be written.
    """
    results = {
        "summary": evaluation.summary,
        "agreement": {method: found._asdict() for method, found in evaluation.agreements.items()},
        "cases": evaluation.rows,
        "failures": evaluation.failures,
        "notes": evaluation.notes,
    }
    try:
        write_text(output / "cases.csv", _csv(evaluation.rows))
        write_text(output / "evaluation.json", json.dumps(_json_ready(results), indent=2, allow_nan=False) + "\n")
        write_report(output / "report.html", title="Synthetic CT evaluation", evaluation=evaluation)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror}); free or choose a disk") from error


def _csv(rows: list[Row]) -> str:
    """One row per case and method; empty where there is no value, ``inf`` for the PSNR of equal images."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["case", "method", "resampled", "voxels", *all_metrics(rows)])
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
