"""Run an evaluation and, if asked, track it in W&B: the table of cases, and the models behind the synthetic CTs."""

from collections.abc import Sequence
from typing import Any

from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.config import EvaluateConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.baselines import load_histogram_model
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources, named_sources, sidecar_of
from cyclegan_gc.evaluate.measures import BASELINES, COMPARED, METRICS, SCT
from cyclegan_gc.evaluate.summary import Evaluation, leading_metrics
from cyclegan_gc.formats.sources import find_sources
from cyclegan_gc.pictures.sheets import read_png
from cyclegan_gc.tracking import Picture, Pseudonyms, Table, WandbRun, code_sha256, wandb_mode
from cyclegan_gc.trained_model import load_model


def evaluate_tracked(config: EvaluateConfig) -> Evaluation:
    """:func:`cyclegan_gc.evaluate.evaluation.evaluate`, tracked as set in ``config.wandb``.

    Raises:
        UserError: as there, if the checkpoint cannot be used, or if the names of compared methods do not fit.
    """
    compare = named_sources(config.compare, "--compare")
    compared_labels = named_sources(config.compared_labels, "--compared_labels")
    if unknown := sorted(compared_labels.keys() - compare.keys()):
        raise UserError(f"--compared_labels: {', '.join(unknown)} is not in --compare; use the same names")
    model = load_histogram_model(config.checkpoint) if config.checkpoint else None
    tracked = wandb_mode(config.wandb) != "disabled"
    models, artifacts = _lineage(config) if tracked else ([], [])
    settings = {
        "models": models,
        "mr": config.mr is not None,
        "mask": config.mask is not None,
        "compared": bool(config.compare),
        "labels": config.segment or (config.labels is not None),
        "checkpoint_sha256": file_sha256([config.checkpoint]) if tracked and config.checkpoint else None,
        "code_sha256": code_sha256(),
    }
    with WandbRun(config.output, config.wandb, settings, job_type="evaluate") as run:
        for artifact in artifacts:
            run.use(artifact)
        sources = Sources(
            config.predicted,
            config.reference,
            config.mr,
            config.mask,
            compare,
            config.labels,
            config.predicted_labels,
            compared_labels,
        )
        evaluation = evaluate(sources, config.output, model=model, segment=config.segment)
        run.attempt(lambda: _log(run, evaluation, Pseudonyms(config.output)))
    return evaluation


def _lineage(config: EvaluateConfig) -> tuple[list[str], list[str]]:
    """Hashes of the models that made the synthetic CTs, and their W&B artifacts, from the sidecars beside them."""
    models, artifacts = set(), set()
    for sidecar in (sidecar_of(source) for source in find_sources(config.predicted)[0]):
        models |= set(sidecar.get("settings", {}).get("models", []))
        artifacts |= set(sidecar.get("artifacts", []))
    if not artifacts and config.checkpoint and (artifact := load_model(config.checkpoint).artifact):
        artifacts.add(artifact)
    return sorted(models), sorted(artifacts)


def _log(run: WandbRun, evaluation: Evaluation, pseudonyms: Pseudonyms) -> None:
    """Log a row for each case and method under pseudonyms, worst case first, and the means as the run's summary."""
    shown = leading_metrics(evaluation)
    # People choose the names of compared methods, so W&B gets numbers instead.
    known = (SCT, COMPARED, *BASELINES)
    names = {method: f"compared_{n}" for n, method in enumerate(evaluation.methods) if method not in known}
    rows: list[Sequence[Any]] = []
    for row in evaluation.rows_worst_first:
        case = str(row["case"])
        pixels = evaluation.pictures.get(case) if row["method"] == SCT else None
        picture = Picture(read_png(pixels), pseudonyms.of(case)) if pixels else None
        rows.append(
            [
                pseudonyms.of(case),
                names.get(str(row["method"]), row["method"]),
                *(row.get(name) for name in shown),
                picture,
            ]
        )
    run.log({"cases/evaluated": Table(["case", "image", *(METRICS[name].label for name in shown), "picture"], rows)})
    for name, by_method in evaluation.summary.items():
        means = {names.get(method, method): statistics["mean"] for method, statistics in by_method.items()}
        run.summarise({f"{name}/{method}": mean for method, mean in means.items()})
    run.summarise({"cases": len(evaluation.rows_of(SCT)), "failed": len(evaluation.failures)})
