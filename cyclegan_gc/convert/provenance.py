"""Logging of a conversion to W&B: its models, and the outcome of each case, worst first."""

from collections.abc import Mapping, Sequence
from typing import Any

from cyclegan_gc.convert.index import worst_first
from cyclegan_gc.convert.outcome import Conversion, Converted, as_row
from cyclegan_gc.pictures.sheets import read_png
from cyclegan_gc.tracking import Picture, Pseudonyms, Table, WandbRun, code_sha256

MOST_PICTURES = 40
FIGURES = ("gc", "outline_dice", "cycle_error", "shift_mm")


def described(conversion: Conversion) -> dict[str, Any]:
    """Settings, models and code hash of the conversion, without paths or names."""
    return {**conversion.settings, "trained_by": lineage(conversion), "code_sha256": code_sha256()}


def lineage(conversion: Conversion) -> list[dict[str, Any]]:
    """Hash, step and W&B artifact of each model."""
    models = {member.model.sha256: member.model for member in conversion.members}
    return [{"sha256": sha256, "step": model.step, "artifact": model.artifact} for sha256, model in models.items()]


def log_cases(run: WandbRun, outcomes: Sequence[Converted], conversion: Conversion) -> None:
    """Log the table of cases under pseudonyms and the count of each outcome; messages are left out: they hold paths."""
    folder, pseudonyms = conversion.config.output, Pseudonyms(conversion.config.output)
    rows = worst_first([as_row(case, folder) for case in outcomes])
    columns = ["case", "outcome", "verdict", "warnings", "seconds", *FIGURES, "picture"]
    run.log(
        {"cases/converted": Table(columns, [_cells(row, n, run, conversion, pseudonyms) for n, row in enumerate(rows)])}
    )
    for name in ("converted", "skipped", "failed"):
        run.summarise({name: sum(row["outcome"] == name for row in rows)})
    for name in ("pass", "warn", "fail"):
        run.summarise({f"verdict/{name}": sum(row["verdict"] == name for row in rows)})


def _cells(
    row: Mapping[str, Any], rank: int, run: WandbRun, conversion: Conversion, pseudonyms: Pseudonyms
) -> list[Any]:
    case, picture = pseudonyms.of(row["source"]), None
    if row["preview"] and rank < MOST_PICTURES and run.shows_pictures:
        picture = Picture(read_png(conversion.config.output / row["preview"]), case)
    figures = [row["figures"].get(name) for name in FIGURES]
    return [case, row["outcome"], row["verdict"], len(row["warnings"]), row["seconds"], *figures, picture]
