"""Whether the MR and the CT of a registered pair lie in one place."""

from collections.abc import Iterator, Mapping

from cyclegan_gc.audit.checks import Remark
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.metrics.alignment import gathered, gathering, shift_mm
from cyclegan_gc.prepare.body import ct_body_mask, mr_body_mask
from cyclegan_gc.voxels import dice

OUTLINE_DICE = (0.965, 0.94)
"""Warn and fail below this overlap of the bodies of MR and CT. Phantoms in place have 0.990 to 0.996 and colin27 0.991,
displaced by 5 mm 0.944 to 0.987 and by 10 mm 0.894 to 0.973, a pelvis more than a head. T1 templates beside the CT
template of other people have 0.963 and 0.973."""
SHIFT_MM = (2.0, 7.5)
"""Warn and fail from this displacement on, by which edges would agree better. All phantoms in place and colin27 have 0;
displaced by 3 mm they have 2.5 to 4 mm, by 5 mm 2.5 to 6.3 mm and by 10 mm 8.1 to 11.4 mm."""


def measure_pair(volume: Volume) -> dict[str, float]:
    """How well a pair with the CT as its last contrast lies in one place: ``outline_dice`` and ``shift_mm``."""
    mr, hu, spacing_mm = volume.array, volume.contrasts[-1], volume.spacing_mm
    factors = gathering(spacing_mm, mr.shape)
    small_mm = [mm * factor for mm, factor in zip(spacing_mm, factors, strict=True)]
    return {
        "outline_dice": dice(mr_body_mask(mr, spacing_mm), ct_body_mask(hu, spacing_mm)) or 0.0,
        "shift_mm": shift_mm(gathered(mr, factors), gathered(hu, factors), small_mm),
    }


def check_alignment(facts: Mapping[str, float]) -> Iterator[Remark]:
    """What :func:`measure_pair` says of a pair."""
    overlap, shift = facts["outline_dice"], facts["shift_mm"]
    if overlap < OUTLINE_DICE[0]:
        level = "fail" if overlap < OUTLINE_DICE[1] else "warn"
        yield level, "pair", f"the bodies of MR and CT overlap only by a Dice of {overlap:.2f}; register them anew"
    if shift >= SHIFT_MM[0]:
        level = "fail" if shift >= SHIFT_MM[1] else "warn"
        yield level, "pair", f"the CT seems displaced by {shift:.0f} mm against its MR; register them anew"
