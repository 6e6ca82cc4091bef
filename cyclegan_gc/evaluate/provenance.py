"""Run an evaluation and, if asked, track it in W&B: the table of cases, and the models behind the synthetic CTs."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cyclegan_gc.atomic import file_sha256
from cyclegan_gc.config import EvaluateConfig
from cyclegan_gc.errors import UserError
from cyclegan_gc.evaluate.baselines import load_histogram_model
from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources, named_sources, sidecar_of
from cyclegan_gc.evaluate.measures import BASELINES, COMPARED, METRICS, SCT
from cyclegan_gc.evaluate.plots import PLOTS, TITLES
from cyclegan_gc.evaluate.summary import Evaluation, leading_metrics
from cyclegan_gc.formats.sources import find_sources
from cyclegan_gc.pictures.sheets import drawn, read_png
from cyclegan_gc.tracking import Picture, Pseudonyms, Table, WandbRun, code_sha256, model_of, name_after, wandb_mode
from cyclegan_gc.trained_model import load_model

Value = TypeVar("Value")


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
        "model": model_of(artifacts),
        "models": models,
        "artifacts": artifacts,
        "mr": config.mr is not None,
        "mask": config.mask is not None,
        "compared": bool(config.compare),
        "labels": config.segment or (config.labels is not None),
        "checkpoint_sha256": file_sha256([config.checkpoint]) if tracked and config.checkpoint else None,
        "code_sha256": code_sha256(),
    }
    name = name_after("evaluate", artifacts, models)
    with WandbRun(config.output, config.wandb, settings, job_type="evaluate", name=name) as run:
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
        evaluation = evaluate(sources, config.output, model=model, segment=config.segment, preview=config.preview)
        run.attempt(lambda: _log(run, anonymous(evaluation, Pseudonyms(config.output).of)))
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


def anonymous(evaluation: Evaluation, named: Callable[[str], str]) -> Evaluation:
    """The evaluation with pseudonyms of the cases, and numbers for the methods that people name.

    Pictures show the names of methods, so they are left out where people gave some.

    Args:
        evaluation: its notes and failures are as they were, with names.
        named: case to pseudonym.
    """
    known = (SCT, COMPARED, *BASELINES)
    methods = {name: name if name in known else f"compared_{n}" for n, name in enumerate(evaluation.methods)}
    named_by_people = set(evaluation.methods).difference(known)

    def renamed(by_method: Mapping[str, Value]) -> dict[str, Value]:
        return {methods[method]: value for method, value in by_method.items()}

    return replace(
        evaluation,
        rows=[
            {**row, "case": named(str(row["case"])), "method": methods[str(row["method"])]} for row in evaluation.rows
        ],
        summary={name: renamed(by_method) for name, by_method in evaluation.summary.items()},
        pictures={named(case): png for case, png in evaluation.pictures.items() if not named_by_people},
        views={},
        counts=renamed(evaluation.counts),
    )


def _log(run: WandbRun, evaluation: Evaluation) -> None:
    """Log a row for each case and method, worst case first, the mean of each metric, and the plots."""
    shown = leading_metrics(evaluation)
    rows = []
    for row in evaluation.rows_worst_first:
        case = str(row["case"])
        pixels = evaluation.pictures.get(case) if row["method"] == SCT else None
        picture = Picture(read_png(pixels), case) if pixels else None
        rows.append([case, row["method"], *(row.get(name) for name in shown), picture])
    table = Table(["case", "image", *(METRICS[name].label for name in shown), "picture"], rows)
    means = {
        f"{'evaluation' if method == SCT else method}/{name}": statistics["mean"]
        for name, by_method in evaluation.summary.items()
        for method, statistics in by_method.items()
    }
    counts = {"evaluation/evaluated": len(evaluation.rows_of(SCT)), "evaluation/failed": len(evaluation.failures)}
    plots = {f"evaluation/{name}": partial(_plot, evaluation, name) for name in PLOTS if evaluation.agreements}
    run.log({"evaluation/cases": table, **means, **counts, **plots})


def _plot(evaluation: Evaluation, name: str) -> Picture:
    return Picture(drawn(PLOTS[name](evaluation)), TITLES[name])
