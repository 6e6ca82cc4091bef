"""Checks of one volume from its facts: pass, warn or fail, with the figure and the remedy.

A fault that makes a volume useless for training fails, one that training tolerates at some cost is a warning, and
things that the preparation leaves out by itself are notes that pass.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cyclegan_gc.audit.facts import Facts
from cyclegan_gc.config import SliceAxis
from cyclegan_gc.prepare.modality import Modality
from cyclegan_gc.prepare.stripped import STRIPPED

Level = Literal["pass", "warn", "fail"]
LEVELS: tuple[Level, ...] = ("fail", "warn", "pass")
"""Worst first."""

NORMALS: dict[SliceAxis, int] = {"coronal": 0, "sagittal": 1, "axial": 2}
"""The axis across the slices of a plane, in the canonical frame (back, left, up)."""
SMALLEST_SIDE, FEW_SLICES = 16, 4
THICK_MM, THICK_RATIO = 5.0, 3.0
CUT = 0.05
"""Largest share of the body's outline that may end at a side of the volume: the tip of a nose, an ear."""
CUT_BESIDE_COUCH = 0.3
JUMP = 1.7
"""Heads have up to 1.4 and pelves 1.65; heads with four missing slices of 1.5 mm mostly have 1.8 to 3."""
NO_AIR_HU, SOME_AIR_HU = -700, -900
TISSUE_HU = -300, 400
"""Range of the third quartile of the body's HU; heads and torsos have 29 to 154."""
CLIPPED = 2e-3
USELESS_TOP_HU = 700
COARSE_HU = 8
METAL_ML = 0.1
PADDED = 1e-3
PLATE_MM = 60
COUCH_ML, MARKERS_ML = 20, 5
HEAD_CM2 = 400
"""The largest cross-section of a head is smaller, that of an adult's torso larger."""
UNEVEN = 1.34
"""Phantoms have up to 1.33, public heads mostly 1.1 to 1.25."""


@dataclass(frozen=True)
class Finding:
    """One finding about a case, a domain, or both domains."""

    level: Level
    check: str
    text: str
    """A sentence with the figure and the remedy."""
    domain: Modality | None = None
    """None for a comparison of the two domains."""
    case: str | None = None
    """None for the whole domain."""


Remark = tuple[Level, str, str]


def check_facts(
    facts: Facts, modality: Modality, window_hu: tuple[float, float], planes: Sequence[SliceAxis] = ("axial",)
) -> Iterator[Remark]:
    """Level, name and sentence of every fault of one prepared volume.

    Args:
        facts: :func:`cyclegan_gc.audit.facts.measure_case`.
        modality: MR or CT.
        window_hu: range of HU that training uses.
        planes: planes of the training's slices.
    """
    yield from _size(facts, planes)
    yield from _slices(facts)
    yield from _field_of_view(facts)
    yield from _ct(facts, window_hu) if modality == "ct" else _mr(facts)
    beside, limit_ml = ("couch", COUCH_ML) if modality == "ct" else ("markers", MARKERS_ML)
    if facts["outside_ml"] > limit_ml:
        yield "pass", beside, f"{facts['outside_ml']:.0f} ml beside the body, which the mask leaves out"


def _size(facts: Facts, planes: Sequence[SliceAxis]) -> Iterator[Remark]:
    shape, spacing = facts["shape"], facts["spacing_mm"]
    for plane in planes:
        side = min(n for axis, n in enumerate(shape) if axis != NORMALS[plane])
        if side < SMALLEST_SIDE:
            yield "fail", "tiny", f"{plane} slices of {side} pixels; give whole volumes of {SMALLEST_SIDE} or more"
    if min(shape) < FEW_SLICES:
        yield "warn", "few slices", f"only {min(shape)} slices; give whole volumes"
    thickest, thinnest = round(max(spacing), 2), min(spacing)
    across = any(NORMALS[plane] != spacing.index(max(spacing)) for plane in planes)
    if thickest > THICK_MM or (across and thickest / thinnest > THICK_RATIO):
        voxels = " x ".join(f"{mm:.3g}" for mm in spacing)
        cure = "train in their plane only (--data.slice_axes) or leave the volume out"
        yield "warn", "thick slices", f"voxels of {voxels} mm lack detail across the slices; {cure}"


def _slices(facts: Facts) -> Iterator[Remark]:
    steps = facts["steps"]
    if steps["blank"]:
        yield "warn", "blank slices", f"{steps['blank']} slices have a single value; export the series again"
    if steps["repeated"]:
        yield "warn", "repeated slices", f"{steps['repeated']} slices equal the one before; export the series again"
    if steps["jump"] > JUMP:
        jump = f"a step {steps['jump']:.1f} times those around it after slice {steps['slice']} from {steps['axis']}"
        yield "warn", "missing slices", f"{jump}; if slices are missing there, export the series again"


def _field_of_view(facts: Facts) -> Iterator[Remark]:
    plate_mm = facts.get("plate_mm", 0)
    couch = plate_mm >= PLATE_MM
    limits = {"back": 2.0, "front": CUT} if couch else {}  # a couch itself ends at the back and at both sides
    otherwise = CUT_BESIDE_COUCH if couch else CUT
    cut = [f"{side} {part:.0%}" for side, part in facts["cut"].items() if part >= limits.get(side, otherwise)]
    if cut:
        yield "warn", "cut off", f"the volume ends in the body ({', '.join(cut)} of its outline); use a larger volume"
    if couch:
        text = f"the back is straight over {plate_mm:.0f} mm, as if a couch were part of the body; set it to -1000 HU"
        yield "warn", "couch joined", text


def _ct(facts: Facts, window_hu: tuple[float, float]) -> Iterator[Remark]:
    yield from _scale(facts, window_hu)
    metal_ml, saturated_ml = facts["metal_ml"], facts["saturated_ml"]
    if max(metal_ml, saturated_ml) >= METAL_ML:
        text = f"{saturated_ml:.2g} ml at the top of the scale, {facts['top_hu']:.0f} HU"
        if metal_ml >= METAL_ML:
            text = f"{metal_ml:.2g} ml above 3000 HU"
        yield "warn", "metal", f"{text}; leave the volume out if it has strong streaks, which training would learn"
    if facts["padding"] > PADDED:
        yield "pass", "padding", f"{facts['padding']:.1%} of the voxels lie below -1100 HU and are taken as air"


def _scale(facts: Facts, window_hu: tuple[float, float]) -> Iterator[Remark]:
    """Checks that the values are HU from air to bone."""
    air, tissue, top = facts["air_hu"], facts["tissue_hu"], facts["top_hu"]
    if not TISSUE_HU[0] < tissue < TISSUE_HU[1] or (air is not None and air > NO_AIR_HU):
        about = f"tissue lies at {tissue:.0f}" + (f", air at {air:.0f}" if air is not None else "")
        yield "fail", "not in HU", f"{about}; give CT in HU (rescale slope and intercept applied, not windowed)"
    elif air is not None and air > SOME_AIR_HU:
        yield "warn", "air", f"air lies at {air:.0f} HU instead of -1000; check the rescale intercept"
    if facts["at_top"] > CLIPPED and top < window_hu[1]:
        level: Level = "fail" if top < USELESS_TOP_HU else "warn"
        yield level, "clipped", f"{facts['at_top']:.1%} of the body is clipped at {top:.0f} HU; export without a window"
    if (facts["step_hu"] or 0) >= COARSE_HU:
        yield "warn", "coarse steps", f"neighbouring values differ by {facts['step_hu']:.3g} HU; export in 16 bits"


def _mr(facts: Facts) -> Iterator[Remark]:
    if facts["light_background"]:
        yield "pass", "background", "the background is lighter than dark tissue, as in z-scores, and is taken as air"
    if facts["stripped"]:
        yield "warn", "stripped", f"{STRIPPED}; give the whole head, or no synthetic CT can have a skull"
    uneven = facts["brightness_ratio"]
    if uneven is not None and uneven > UNEVEN and facts["area_cm2"] < HEAD_CM2:
        text = f"one side of the brain is about {uneven:.2f} times as bright as the other; try --preprocess.n4 true"
        yield "warn", "bias field", text
