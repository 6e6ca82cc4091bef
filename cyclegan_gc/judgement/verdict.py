"""Verdict on a synthetic CT without a true CT: pass, warn or implausible, with reasons.

The figures compare a synthetic CT with its MR, with the training CTs and with what a head must have. Where possible,
limits are relative to the training sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.inference import Translation
from cyclegan_gc.judgement.figures import PEAKS_HU, TISSUES_HU, figures_of, peak_of, share_of, training_histogram
from cyclegan_gc.prepare.preprocess import Prepared
from cyclegan_gc.prepare.statistics import case_statistics
from cyclegan_gc.prepare.stripped import STRIPPED, is_stripped
from cyclegan_gc.trained_model import Translator

Verdict = Literal["pass", "warn", "implausible"]
Level = Literal["warn", "implausible"]
Grade = tuple[Level, str]


GRADED: dict[str, tuple[tuple[float, float], str]] = {
    "outline_dice": ((0.965, 0.93), "outlines of MR and synthetic CT differ (Dice {:.2f})"),
    "gc": ((0.2, 0.1), "edges of MR and synthetic CT do not agree (gradient correlation {:.2f})"),
    "cycle_error": ((0.75, 0.9), "the MR cannot be recovered from the synthetic CT (cycle error {:.2f})"),
    "shift_mm": ((2.0, 4.0), "the synthetic CT seems displaced by {:.0f} mm"),
    "histogram_hu": ((150.0, 300.0), "HU are distributed unlike the training CTs (distance {:.0f} HU)"),
    "depth_hu": ((185.0, 240.0), "HU below the skin are unlike the training CTs (distance {:.0f} HU)"),
    "vault_holes": ((0.03, 0.15), "holes in the skull vault (share of rays without bone {:.2f})"),
    "inner_faults": ((0.005, 0.02), "bone or air in the middle of the brain at all heights (share {:.3f})"),
    "specks_ml": ((1.0, 10.0), "bone inside the brain ({:.1f} ml)"),
}
"""Limits of each figure for a warning and for an implausible result, which lies further on the bad side, and words."""
VAULT_MM = (2.0, 4.0)
"""Warn and implausible if the skull vault is thinner or thicker by this than in every training CT."""
SHARE_FACTOR = (2.5, 5.0)
"""Warn and implausible if the share of a tissue in the body differs by this factor from the training CTs."""
SIZE_FACTOR = (1.4, 2.0)
"""Warn and implausible if the body is larger or smaller by this factor than in every training MR."""
SPACING_FACTOR = 2.0
QUANTILE_DISTANCE = (0.2, 0.35)
"""Warn and implausible if the distribution of MR intensities differs by this distance from every training MR."""


@dataclass(frozen=True)
class Quality:
    """The judgement of one case."""

    verdict: Verdict
    reasons: tuple[str, ...]
    figures: dict[str, float]


def judge(
    mr: NDArray[np.float32],
    mask: NDArray[np.bool_],
    hu: NDArray[np.int16],
    affine: NDArray[np.float64],
    fingerprint: Mapping[str, Any],
    *,
    mr_facts: Mapping[str, Any],
    cycle_error: float | None,
) -> Quality:
    """Judge a synthetic CT by its MR and by statistics of the training sets.

    The volumes and ``fingerprint`` are those of :func:`cyclegan_gc.judgement.figures.figures_of`.

    Args:
        mr_facts: result of :func:`cyclegan_gc.prepare.statistics.case_statistics` for this MR.
        cycle_error: as in :class:`cyclegan_gc.inference.Translation`; None if not measured.
    """
    figures = figures_of(mr, mask, hu, affine, fingerprint)
    if cycle_error is not None:
        figures["cycle_error"] = cycle_error
    grades = [
        *_graded(figures),
        *_vault(figures, fingerprint),
        *_tissues(figures, fingerprint),
        *_unlike_training(mr_facts, fingerprint["mr"]),
    ]
    x_mm, y_mm, z_mm = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    if is_stripped(mr, mask, (x_mm, y_mm, z_mm)):
        grades.append(("warn", STRIPPED))
    levels = {level for level, _ in grades}
    verdict: Verdict = "implausible" if "implausible" in levels else "warn" if "warn" in levels else "pass"
    return Quality(verdict, tuple(reason for _, reason in sorted(grades)), figures)


def judge_translation(volume: Volume, case: Prepared, result: Translation, translator: Translator) -> Quality | None:
    """:func:`judge` for a volume, the same as its model saw it, and its translation; None for a synthetic MR."""
    if translator.direction != "mr_to_ct":
        return None
    return judge(
        volume.array,
        result.mask,
        result.array,
        volume.affine,
        translator.fingerprint,
        mr_facts=case_statistics(case, volume.array),
        cycle_error=result.cycle_error,
    )


def _graded(figures: Mapping[str, float]) -> Iterator[Grade]:
    for name, (limits, words) in GRADED.items():
        if name in figures and (level := _level(figures[name], limits)):
            yield level, f"{words.format(figures[name])}; limit {limits[level == 'implausible']:g}"


def _level(value: float, limits: tuple[float, float]) -> Level | None:
    """Whether a value reaches the limit of a warning or the one of an implausible result further on the same side."""
    warn, implausible = limits
    sign = 1 if implausible > warn else -1
    if sign * value < sign * warn:
        return None
    return "implausible" if sign * value >= sign * implausible else "warn"


def _vault(figures: Mapping[str, float], fingerprint: Mapping[str, Any]) -> Iterator[Grade]:
    """Whether the skull vault is as thick as in the training CTs."""
    known = [vault for vault, *_ in fingerprint.get("ct_skulls", ())]
    if not known or "vault_mm" not in figures:
        return
    own, low, high = figures["vault_mm"], min(known), max(known)
    if level := _level(max(own - high, low - own), VAULT_MM):
        yield level, f"the skull vault is {own:.1f} mm thick, {low:.1f} to {high:.1f} mm in the training CTs"


def _tissues(figures: Mapping[str, float], fingerprint: Mapping[str, Any]) -> Iterator[Grade]:
    edges, known = training_histogram(fingerprint)
    for name, limits in TISSUES_HU.items():
        usual, own = share_of(known, edges, limits), figures[f"{name}_share"]
        if usual < 0.01:
            continue
        factor = max((own + 0.005) / (usual + 0.005), (usual + 0.005) / (own + 0.005))
        if level := _level(factor, SHARE_FACTOR):
            yield level, f"{name} takes up {own:.0%} of the body, {usual:.0%} in the training CTs"
    for name, limits in PEAKS_HU.items():
        difference = figures[f"{name}_peak_hu"] - peak_of(known, edges, limits)
        if share_of(known, edges, limits) >= 0.05 and abs(difference) > (limits[1] - limits[0]) / 2:
            yield "warn", f"the peak of {name} lies {difference:+.0f} HU from the training CTs'"


def _unlike_training(facts: Mapping[str, Any], known: Sequence[Mapping[str, Any]]) -> Iterator[Grade]:
    """Whether voxel size, body size and intensities of the MR are like those of the training MRs."""
    pixels = [mm for case in known for mm in case["spacing_mm"]]
    if (
        min(facts["spacing_mm"]) < min(pixels) / SPACING_FACTOR
        or max(facts["spacing_mm"]) > max(pixels) * SPACING_FACTOR
    ):
        sizes = " x ".join(f"{mm:.2g}" for mm in facts["spacing_mm"])
        yield "warn", f"voxels of {sizes} mm, {min(pixels):.2g} to {max(pixels):.2g} mm in training"
    for index, direction in enumerate(("front to back", "side to side", "bottom to top")):
        lengths = [case["body_mm"][index] for case in known]
        own = facts["body_mm"][index]
        factor = max(own / max(lengths), min(lengths) / own)
        if level := _level(factor, SIZE_FACTOR):
            usual = f"{min(lengths):.0f} to {max(lengths):.0f} mm in training"
            yield level, f"the body is {own:.0f} mm {direction}, {usual}"
    distance = min(float(np.abs(_shape(facts) - _shape(case)).max()) for case in known)
    if level := _level(distance, QUANTILE_DISTANCE):
        yield level, f"the MR's intensities are distributed unlike any training MR (distance {distance:.2f})"


def _shape(facts: Mapping[str, Any]) -> NDArray[np.float64]:
    """The quartiles, scaled to the range between the lowest and the highest percentile."""
    low, *quartiles, high = facts["quantiles"]
    return (np.asarray(quartiles) - low) / max(high - low, np.finfo(np.float32).tiny)
