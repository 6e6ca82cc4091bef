"""An evaluation as a run in W&B: the table of cases, and the models that made the synthetic CTs."""

import json
from collections.abc import Sequence
from typing import Any

from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.config import EvaluateConfig
from cyclegan_gc.evaluate.baselines import load_histogram_model
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.measures import METRICS, SCT
from cyclegan_gc.evaluate.summary import Evaluation, leading_metrics, worst_first
from cyclegan_gc.formats.files import case_id, find_volumes
from cyclegan_gc.pictures.sheets import read_png
from cyclegan_gc.tracking import Picture, Pseudonyms, Table, WandbRun, code_sha256, wandb_mode
from cyclegan_gc.trained_model import load_model


def evaluate_tracked(config: EvaluateConfig) -> Evaluation:
    """:func:`cyclegan_gc.evaluate.evaluation.evaluate`, tracked as ``config.wandb`` says.

    Raises:
        UserError: as it does, and if the checkpoint cannot be used.
    """
    model = load_histogram_model(config.checkpoint) if config.checkpoint else None
    tracked = wandb_mode(config.wandb) != "disabled"
    models, artifacts = _judged(config) if tracked else ([], [])
    settings = {
        "models": models,
        "mr": config.mr is not None,
        "mask": config.mask is not None,
        "compared": config.compare is not None,
        "labels": config.segment or (config.labels is not None),
        "checkpoint_sha256": file_sha256([config.checkpoint]) if tracked and config.checkpoint else None,
        "code_sha256": code_sha256(),
    }
    with WandbRun(config.output, config.wandb, settings, job_type="evaluate") as run:
        for artifact in artifacts:
            run.use(artifact)
        evaluation = evaluate(
            config.predicted,
            config.reference,
            config.output,
            mr=config.mr,
            mask=config.mask,
            model=model,
            compare=config.compare,
            labels=config.labels,
            predicted_labels=config.predicted_labels,
            compared_labels=config.compared_labels,
            segment=config.segment,
        )
        run.attempt(lambda: _log(run, evaluation, Pseudonyms(config.output)))
    return evaluation


def _judged(config: EvaluateConfig) -> tuple[list[str], list[str]]:
    """Hashes of the models that made the synthetic CTs, and their artifacts, from the sidecars beside them."""
    models, artifacts = set(), set()
    for path in find_volumes(config.predicted):
        try:
            sidecar = json.loads((path.parent / f"{case_id(path)}.json").read_text(encoding="utf-8"))
            models |= set(sidecar["settings"]["models"])
            artifacts |= set(sidecar.get("artifacts", []))
        except (OSError, ValueError, KeyError, TypeError):  # not made by this program
            continue
    if not artifacts and config.checkpoint and (artifact := load_model(config.checkpoint).artifact):
        artifacts.add(artifact)
    return sorted(models), sorted(artifacts)


def _log(run: WandbRun, evaluation: Evaluation, pseudonyms: Pseudonyms) -> None:
    """A row for each case and image under pseudonyms, worst first, and the means as the run's summary."""
    shown = leading_metrics(evaluation)
    by_case: dict[str, list[dict[str, Any]]] = {}
    for row in evaluation.rows:
        by_case.setdefault(str(row["case"]), []).append(row)
    rows: list[Sequence[Any]] = []
    for case in worst_first(evaluation.rows):
        for row in by_case[case]:
            pixels = evaluation.pictures.get(case) if row["method"] == SCT else None
            picture = Picture(read_png(pixels), pseudonyms.of(case)) if pixels else None
            rows.append([pseudonyms.of(case), row["method"], *(row.get(name) for name in shown), picture])
    run.log({"cases/evaluated": Table(["case", "image", *(METRICS[name].label for name in shown), "picture"], rows)})
    for name, by_method in evaluation.summary.items():
        run.summarise({f"{name}/{method}": statistics["mean"] for method, statistics in by_method.items()})
    run.summarise({"cases": len(by_case), "failed": len(evaluation.failures)})
