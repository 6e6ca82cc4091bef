"""Ranks the checkpoints of the study ``selection`` by the score without pairs and by the truth.

Spearman's rho of each figure with the mean absolute error in the body of the held-out phantoms: over all checkpoints,
within a training (mean), and over the trainings' last checkpoints.
"""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from statistics import fmean

import numpy as np
from ablation_report import markdown_table
from planning import Run
from scipy.stats import rankdata

from cyclegan_gc.atomic import write_text
from cyclegan_gc.evaluate.tables import csv_cell

Row = dict[str, float | str]
TRUTH = "true_mae"
PLACE = ("arm", "volumes", "seed", "step", TRUTH)
"""Columns that are not ranked."""


def write_ranking(folder: Path, study: str, runs: Sequence[Run], notes: Sequence[str]) -> None:
    """Write ``checkpoints.csv``, with a row for each checkpoint, and ``table.md``."""
    rows = [checkpoint_row(run) for run in runs]
    folder.mkdir(parents=True, exist_ok=True)
    text = StringIO()
    table = csv.DictWriter(text, rows[0].keys())
    table.writeheader()
    table.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    write_text(folder / "checkpoints.csv", text.getvalue())
    title = f"# {study}: Spearman's rho with the true MAE"
    header = ["figure", f"all {len(rows)} checkpoints", "within a training, mean", "last checkpoints"]
    cells = [[name, *map(_shown, each)] for name, each in correlations(rows).items()]
    write_text(folder / "table.md", "\n\n".join([title, markdown_table(header, cells), *notes]) + "\n")


def checkpoint_row(run: Run) -> Row:
    """The true errors of a checkpoint, its validation without pairs, and the training losses of its step."""
    with (run.folder / "evaluation" / "cases.csv").open(newline="", encoding="utf-8") as file:
        cases = [row for row in csv.DictReader(file) if row["method"] == "sct"]
    truth = {f"true_{name}": fmean(float(case[name] or 0) for case in cases) for name in ("mae", "bone_dice")}
    place = {"arm": run.arm, "volumes": run.volumes, "seed": run.seed, "step": run.step or 0}
    return {**place, **truth, **logged(run.training, run.step or 0)}


def logged(training: Path, step: int) -> dict[str, float]:
    """Figures of metrics.jsonl up to a step: the validation, and the cycle and adversarial losses."""
    figures: dict[str, float] = {}
    for text in (training / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        # Losses are logged at intervals of their own: the newest ones up to the step count.
        figures |= line if line["step"] <= step else {}
    found = {name.removeprefix("validation/"): figures[name] for name in figures if name.startswith("validation/")}
    found["training_cycle"] = figures["cycle_mr"] + figures["cycle_ct"]
    found["training_gan"] = figures["adversarial_ct"] + figures["adversarial_mr"]
    return found


def correlations(rows: Sequence[Row]) -> dict[str, tuple[float, float, float]]:
    """Figure -> Spearman's rho over all rows, within a training and over the trainings' last rows."""
    truth, steps = (np.array([row[name] for row in rows], dtype=float) for name in (TRUTH, "step"))
    trainings = np.array([f"{row['arm']} {row['volumes']} {row['seed']}" for row in rows])
    last = steps == steps.max()
    columns = {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0] if name not in PLACE}
    found = {}
    for name, values in {**columns, "latest step": -steps}.items():
        within = [rho(values[trainings == each], truth[trainings == each]) for each in np.unique(trainings)]
        found[name] = (rho(values, truth), float(np.mean(within)), rho(values[last], truth[last]))
    return found


def rho(values: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's rho; not a number where it is not defined."""
    if len(values) < 3 or not np.ptp(values) or not np.ptp(truth):
        return float("nan")
    return float(np.corrcoef(rankdata(values), rankdata(truth))[0, 1])


def _shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"
