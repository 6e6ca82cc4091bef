"""W&B log of a conversion: settings, the models used, figures, and the table of cases, worst first."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from cyclegan_gc.convert.index import COLUMNS, worst_first
from cyclegan_gc.convert.outcome import Conversion, Converted, as_row
from cyclegan_gc.pictures.sheets import read_png
from cyclegan_gc.tracking import Picture, Pseudonyms, Table, WandbRun, code_sha256, model_of, name_after

MOST_PICTURES = 40


def run_settings(conversion: Conversion) -> dict[str, Any]:
    """The conversion's settings with hashes of the models and of the code; no path and no name."""
    models = {model.sha256: model for model in conversion.models}
    used = [{"sha256": sha256, "step": model.step, "artifact": model.artifact} for sha256, model in models.items()]
    model = model_of(conversion.artifacts)
    return {**conversion.settings, "model": model, "trained_by": used, "code_sha256": code_sha256()}


def run_name(conversion: Conversion) -> str:
    """The run is named after its model."""
    return name_after("convert", conversion.artifacts, conversion.settings["models"])


def log_cases(run: WandbRun, outcomes: Sequence[Converted], conversion: Conversion) -> None:
    """Log the table of cases under pseudonyms, and figures of all; messages are left out: they hold paths."""
    folder = conversion.config.output
    pseudonyms = Pseudonyms(folder)
    rows = worst_first([as_row(case, folder) for case in outcomes])
    cells = []
    for rank, row in enumerate(rows):
        case = pseudonyms.of(row["source"])
        shown = row["preview"] if rank < MOST_PICTURES else None
        picture = Picture(read_png(folder / shown), case) if shown else None
        figures = [row["figures"].get(name) for name in COLUMNS]
        cells.append([case, row["outcome"], row["verdict"], len(row["warnings"]), row["seconds"], *figures, picture])
    columns = ["case", "outcome", "verdict", "warnings", "seconds", *COLUMNS, "picture"]
    run.log({"conversion/cases": Table(columns, cells), **_figures(rows)})


def _figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The count of each outcome and verdict, and the mean of each figure over the cases that have it."""
    outcomes = {name: sum(row["outcome"] == name for row in rows) for name in ("converted", "skipped", "failed")}
    verdicts = {name: sum(row["verdict"] == name for row in rows) for name in ("pass", "warn", "implausible")}
    known = {name: [v for row in rows if (v := row["figures"].get(name)) is not None] for name in COLUMNS}
    means = {name: fmean(values) for name, values in known.items() if values}
    return {f"conversion/{name}": value for name, value in (outcomes | verdicts | means).items()}
