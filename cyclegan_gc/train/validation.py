"""What a validation of a run says: figures with the score, what is wrong, and what is shown."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cyclegan_gc.errors import TrainingStoppedError, VolumeError
from cyclegan_gc.model.cyclegan import Networks
from cyclegan_gc.train.meter import CURE
from cyclegan_gc.train.run import Run
from cyclegan_gc.validate.fixed_slices import FixedSlices, fixed_slices, validate
from cyclegan_gc.validate.gallery import Named, Shown, histogram_shown, pairs_shown, slices_shown, together
from cyclegan_gc.validate.panels import TranslatedPair
from cyclegan_gc.validate.true_pairs import TruePair, mean_figures, translate_pairs
from cyclegan_gc.validate.watchdog import validation_findings

MOST_SHOWN = 3
"""Held-out pairs in the picture of errors."""


@dataclass(frozen=True)
class Validated:
    """The outcome of one validation, by the moving averages, on the first rank."""

    figures: dict[str, float]
    """All under the names of metrics.jsonl."""
    score: float
    """Lower is better."""
    findings: Mapping[str, str | None]
    """Of the watchdog."""
    shown: Shown


def validation_of(run: Run) -> Callable[[Run], Validated]:
    """How the run is validated: without pairs by fixed slices, with objective paired by held-out pairs."""
    if run.config.objective == "paired":
        return _by_pairs
    cases = run.cases
    fixed = fixed_slices(cases.validation_mr, cases.validation_ct, [*cases.ct, *cases.validation_ct], run.config)
    return lambda run: _without_pairs(run, fixed)


def _by_pairs(run: Run) -> Validated:
    """Errors against the true CT of the held-out pairs, whole volumes; the mean absolute one is the score."""
    pairs, errors = _translated(run, run.judges)
    figures = mean_figures(errors)
    figures["score"] = figures["mae_body_hu"]
    _check_finite(figures, run)
    shown = pairs_shown(pairs[:MOST_SHOWN], errors[:MOST_SHOWN], _names(run))
    return _with_true(run, Validated({f"validation/{n}": v for n, v in figures.items()}, figures["score"], {}, shown))


def _without_pairs(run: Run, fixed: FixedSlices) -> Validated:
    networks, config = Networks.of(run.state.averaged_networks()), run.config
    look = validate(networks, fixed, config, run.device)
    _check_finite(look.figures, run)
    parts = [
        slices_shown(look, fixed, run.cases.validation_mr[0], networks, config, _names(run)),
        histogram_shown(look, run.facts["fingerprint"]["ct_histogram"], config),
    ]
    figures = {f"validation/{name}": value for name, value in look.figures.items()}
    return _with_true(
        run, Validated(figures, look.figures["score"], validation_findings(look.figures), together(parts))
    )


def _with_true(run: Run, seen: Validated) -> Validated:
    """The same with true errors of ``data.validation_pairs``, where there are such pairs."""
    if not run.pairs:
        return seen
    pairs, errors = _translated(run, run.pairs)
    figures = {f"true/{name}": value for name, value in mean_figures(errors).items()}
    shown = together([seen.shown, pairs_shown(pairs, errors, _names(run))])
    return Validated({**seen.figures, **figures}, seen.score, seen.findings, shown)


def _translated(run: Run, pairs: Sequence[TruePair]) -> tuple[list[TranslatedPair], list[dict[str, float | None]]]:
    """:func:`translate_pairs` by the moving average."""
    generator, known = run.state.averaged_networks()["mr_to_ct"], run.facts["fingerprint"]
    try:
        return translate_pairs(generator, pairs, run.config, known)
    except VolumeError as error:
        raise _not_finite("a synthetic CT", run) from error


def _names(run: Run) -> Named:
    assert run.tracker is not None
    return run.tracker.pseudonyms.of


def _check_finite(figures: Mapping[str, Any], run: Run) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise _not_finite(", ".join(broken), run)


def _not_finite(what: str, run: Run) -> TrainingStoppedError:
    return TrainingStoppedError(f"step {run.progress.step}: {what} of validation not finite; {run.last_good}{CURE}")
