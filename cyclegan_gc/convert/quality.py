"""Judgement of a synthetic CT without a true CT: pass, warn or implausible, with reasons.

Outline Dice, gradient correlation and displacement are measured on voxels averaged to about 3 mm. The HU histogram and
the tissue shares and peaks taken from it use a sample of the full-resolution voxels in the body. Where possible,
limits are relative to the training sets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.formats.geometry import to_ras
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.inference import Translation
from cyclegan_gc.metrics.alignment import gathered, gathering, shift_mm
from cyclegan_gc.metrics.consistency import mr_gradient_correlation
from cyclegan_gc.metrics.voxelwise import AIR_BELOW_HU, BONE_ABOVE_HU
from cyclegan_gc.prepare.body import ct_body_mask, with_dark_background
from cyclegan_gc.prepare.preprocess import Prepared
from cyclegan_gc.prepare.statistics import case_statistics
from cyclegan_gc.prepare.stripped import STRIPPED, is_stripped
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.voxels import dice, values_inside

Verdict = Literal["pass", "warn", "implausible"]
Grade = tuple[Literal["warn", "implausible"], str]

SAMPLE = 300_000
"""Approximate number of voxels in the body from which the HU histogram is made."""
OUTLINE_DICE = (0.965, 0.93)
"""Warn and implausible below. Good phantom conversions reach 0.97 to 0.98, displaced by 10 mm 0.89 to 0.94."""
GC = (0.2, 0.1)
"""Warn and implausible below. Good phantom conversions reach 0.49 to 0.55, noise 0.02, shuffled slices 0.04 to 0.14."""
CYCLE_ERROR = (0.6, 0.9)
"""Warn and implausible above. Good phantom conversions have 0.35 to 0.55, a CT given as MR 0.93 to 1.01."""
SHIFT_MM = (2.0, 4.0)
"""Warn and implausible at this displacement, at which the edges of MR and CT agree best."""
HISTOGRAM_HU = (150.0, 300.0)
"""Warn and implausible above this distance (Wasserstein) between the HU in the body and those of the training CTs. Good
phantom conversions have 46 to 77 HU, with 200 HU added 187 to 207, inverted 754 to 773."""
SHARE_FACTOR = (2.5, 5.0)
"""Warn and implausible if the share of a tissue in the body differs by this factor from the training CTs."""
SIZE_FACTOR = (1.4, 2.0)
"""Warn and implausible if the body is larger or smaller by this factor than in every training MR."""
SPACING_FACTOR = 2.0
QUANTILE_DISTANCE = (0.2, 0.35)
"""Warn and implausible if the distribution of MR intensities differs by this distance from every training MR."""
TISSUES_HU = {
    "air": (-1100.0, AIR_BELOW_HU),
    "soft": (AIR_BELOW_HU, BONE_ABOVE_HU),
    "bone": (BONE_ABOVE_HU, 4000.0),
}
GRADED = {
    "outline_dice": (OUTLINE_DICE, "outlines of MR and synthetic CT differ (Dice {:.2f})"),
    "gc": (GC, "edges of MR and synthetic CT do not agree (gradient correlation {:.2f})"),
    "cycle_error": (CYCLE_ERROR, "the MR cannot be recovered from the synthetic CT (cycle error {:.2f})"),
    "shift_mm": (SHIFT_MM, "the synthetic CT seems displaced by {:.0f} mm"),
    "histogram_hu": (HISTOGRAM_HU, "HU are distributed unlike the training CTs (distance {:.0f} HU)"),
}
PEAKS_HU = {"fat": (-180.0, -30.0), "muscle": (0.0, 120.0)}


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

    Args:
        mr: ``(X, Y, Z)`` in the unit of the file.
        mask: body of the MR, same shape.
        hu: synthetic CT, same shape.
        affine: ``(4, 4)`` voxel index to RAS mm.
        fingerprint: statistics of the training sets, from the checkpoint.
        mr_facts: result of :func:`cyclegan_gc.prepare.statistics.case_statistics` for this MR.
        cycle_error: as in :class:`cyclegan_gc.inference.Translation`; None if not measured.
    """
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    factors = gathering(spacing_mm.tolist(), mr.shape)
    mr = with_dark_background(mr)
    small_mr, small_hu, share = (gathered(array, factors) for array in (mr, hu, mask))
    body = share >= 0.5
    small_affine = affine @ np.diag([*factors, 1])
    small_mm = (float(spacing_mm[0] * factors[0]), float(spacing_mm[1] * factors[1]), float(spacing_mm[2] * factors[2]))
    edges, known = (np.asarray(fingerprint["ct_histogram"][key]) for key in ("edges", "counts"))
    counts = _histogram(values_inside(hu, mask, at_most=SAMPLE), edges)
    figures = {
        "outline_dice": dice(ct_body_mask(small_hu, small_mm), body) or 0.0,
        "gc": _gradient_correlation(small_hu, small_mr, body, small_affine),
        **({} if cycle_error is None else {"cycle_error": cycle_error}),
        "shift_mm": shift_mm(small_mr, small_hu, small_mm),
        "histogram_hu": _wasserstein(counts, known, edges),
        **{f"{name}_share": _share(counts, edges, limits) for name, limits in TISSUES_HU.items()},
        **{f"{name}_peak_hu": _peak(counts, edges, limits) for name, limits in PEAKS_HU.items()},
    }
    grades = [*_graded(figures), *_tissues(figures, known, edges), *_unlike_training(mr_facts, fingerprint["mr"])]
    if is_stripped(mr, mask, (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))):
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


def _level(value: float, limits: tuple[float, float]) -> Literal["warn", "implausible"] | None:
    """Whether a value reaches the limit of a warning or the one of an implausible result further on the same side."""
    warn, implausible = limits
    sign = 1 if implausible > warn else -1
    if sign * value < sign * warn:
        return None
    return "implausible" if sign * value >= sign * implausible else "warn"


def _tissues(figures: Mapping[str, float], known: NDArray, edges: NDArray) -> Iterator[Grade]:
    for name, limits in TISSUES_HU.items():
        usual, own = _share(known, edges, limits), figures[f"{name}_share"]
        if usual < 0.01:
            continue
        factor = max((own + 0.005) / (usual + 0.005), (usual + 0.005) / (own + 0.005))
        if level := _level(factor, SHARE_FACTOR):
            yield level, f"{name} takes up {own:.0%} of the body, {usual:.0%} in the training CTs"
    for name, limits in PEAKS_HU.items():
        if (
            _share(known, edges, limits) >= 0.05
            and abs(difference := figures[f"{name}_peak_hu"] - _peak(known, edges, limits))
            > (limits[1] - limits[0]) / 2
        ):
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
        lengths = [case["body_mm"][index] for case in known if "body_mm" in case]
        own = facts["body_mm"][index]
        factor = max(own / max(lengths), min(lengths) / own) if lengths else 1.0
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


def _gradient_correlation(hu: NDArray, mr: NDArray, body: NDArray[np.bool_], affine: NDArray) -> float:
    """Gradient correlation over axial slices, or across the thinnest axis if these are narrower than 3 voxels.

    0 if no slice counts.
    """
    if not body.any():
        return 0.0
    if min(to_ras(body, affine)[0].shape[:2]) < 3:
        thin = int(np.argmin(body.shape))
        hu, mr, body = (np.moveaxis(image, thin, 2) for image in (hu, mr, body))
        affine = np.eye(4)
    return mr_gradient_correlation(hu, mr, body, affine) or 0.0


def _histogram(values: NDArray, edges: NDArray) -> NDArray[np.float64]:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return counts / max(1, counts.sum())


def _wasserstein(counts: NDArray, known: NDArray, edges: NDArray) -> float:
    return float((np.abs(np.cumsum(counts) - np.cumsum(known)) * np.diff(edges)).sum())


def _share(counts: NDArray, edges: NDArray, limits: tuple[float, float]) -> float:
    centres = (edges[1:] + edges[:-1]) / 2
    return float(counts[(centres >= limits[0]) & (centres < limits[1])].sum())


def _peak(counts: NDArray, edges: NDArray, limits: tuple[float, float]) -> float:
    centres = (edges[1:] + edges[:-1]) / 2
    inside = (centres >= limits[0]) & (centres < limits[1])
    smooth = np.convolve(counts, np.ones(5) / 5, mode="same")
    return float(centres[inside][smooth[inside].argmax()]) if inside.any() else float(np.mean(limits))
