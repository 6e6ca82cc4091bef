"""A validation of a run: figures with the score, the watchdog's findings, and pictures; by the moving averages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cyclegan_gc.config import LossConfig
from cyclegan_gc.errors import VolumeError
from cyclegan_gc.judgement.figures import VAULT
from cyclegan_gc.metrics.skull import skull
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import FixedSlices, look_at
from cyclegan_gc.validate.gallery import Named, Shown, histogram_shown, pairs_shown, slices_shown, with_pairs
from cyclegan_gc.validate.true_pairs import TruePair, WholeMR, mean_figures, translate_pairs, translate_stack
from cyclegan_gc.validate.watchdog import validation_findings

MOST_SHOWN = 3
"""Held-out pairs in the picture of errors."""


class NotFiniteError(Exception):
    """A figure of a validation is not a finite number; the message names it."""


@dataclass(frozen=True)
class HeldOut:
    """Cases that every validation of a run looks at, in memory."""

    fixed: FixedSlices | None
    """Slices without pairs, which choose best.pt; None with objective paired."""
    judges: Sequence[TruePair] = ()
    """With objective paired the held-out pairs that choose best.pt."""
    pairs: Sequence[TruePair] = ()
    """``data.validation_pairs``, for figures alone."""


@dataclass(frozen=True)
class Validation:
    """The outcome of one validation."""

    figures: dict[str, float]
    """Under the names of metrics.jsonl."""
    score: float
    """Lower is better."""
    findings: Mapping[str, str | None]
    """Findings of the watchdog: a sentence for each failure that was found, otherwise None."""
    shown: Shown


def validate(translator: Translator, held_out: HeldOut, loss: LossConfig, named: Named) -> Validation:
    """Validate the moving averages of a run.

    Args:
        translator: by the moving averages.
        held_out: the cases to look at.
        loss: form of the gradient correlation.
        named: case to pseudonym.

    Raises:
        NotFiniteError: if a figure or a synthetic CT is not finite.
    """
    if held_out.fixed is None:
        validation = _by_pairs(translator, held_out.judges, named)
    else:
        validation = _without_pairs(translator, held_out.fixed, loss, named)
    return _with_true_errors(validation, translator, held_out.pairs, named)


def _without_pairs(translator: Translator, fixed: FixedSlices, loss: LossConfig, named: Named) -> Validation:
    look = look_at(fixed, translator, loss)
    _check_finite(look.figures)
    whole = translate_stack(translator, fixed.mr_stacks[0])
    shown = slices_shown(look, fixed, whole, translator.preprocess, named) | histogram_shown(look, translator)
    figures = {f"validation/{name}": value for name, value in {**look.figures, **_of_vault(whole, translator)}.items()}
    return Validation(figures, look.figures["score"], validation_findings(look.figures), shown)


def _of_vault(whole: WholeMR, translator: Translator) -> dict[str, float]:
    """Measures of the skull vault of one synthetic CT; none without a vault, or if the training CTs have none."""
    known = translator.fingerprint.get("ct_skulls")
    measures = skull(whole.sct_hu, whole.mask, whole.affine) if known else None
    return {} if measures is None else dict(zip(VAULT, measures, strict=True))


def _by_pairs(translator: Translator, judges: Sequence[TruePair], named: Named) -> Validation:
    """Errors against the true CT of the held-out pairs, whole volumes; the mean absolute error is the score."""
    figures, shown = _errors(translator, judges, named, most_shown=MOST_SHOWN)
    figures["score"] = figures["mae_body_hu"]
    _check_finite(figures)
    return Validation({f"validation/{name}": v for name, v in figures.items()}, figures["score"], {}, shown)


def _with_true_errors(
    validation: Validation, translator: Translator, pairs: Sequence[TruePair], named: Named
) -> Validation:
    """The validation with the errors of ``data.validation_pairs``, where there are any."""
    if not pairs:
        return validation
    errors, shown = _errors(translator, pairs, named)
    figures = {**validation.figures, **{f"true/{name}": value for name, value in errors.items()}}
    return Validation(figures, validation.score, validation.findings, with_pairs(validation.shown, shown))


def _errors(
    translator: Translator, pairs: Sequence[TruePair], named: Named, most_shown: int | None = None
) -> tuple[dict[str, float], Shown]:
    """Mean errors over the pairs, and the pictures of the first ones."""
    try:
        scts_hu, errors = translate_pairs(translator, pairs)
    except VolumeError as error:
        raise NotFiniteError("a synthetic CT") from error
    some = slice(most_shown)
    return mean_figures(errors), pairs_shown(pairs[some], scts_hu[some], errors[some], named)


def _check_finite(figures: Mapping[str, float]) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise NotFiniteError(", ".join(broken))
