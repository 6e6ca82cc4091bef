"""Checks whether the MR and the CT of a registered pair are aligned."""

from collections.abc import Iterator, Mapping

from cyclegan_gc.audit.checks import Remark
from cyclegan_gc.formats.volumes import Volume
from cyclegan_gc.metrics.alignment import gathered, gathering, shift_mm
from cyclegan_gc.prepare.body import ct_body_mask, mr_body_mask, with_dark_background
from cyclegan_gc.voxels import dice

PAIR_OUTLINE_DICE = (0.965, 0.94)
"""Warn and fail below this overlap of the bodies of MR and CT. Aligned phantoms have 0.990 to 0.996 and colin27 0.991;
phantoms displaced by 5 mm have 0.944 to 0.987 and by 10 mm 0.894 to 0.973, a pelvis more than a head. T1 templates
against the CT template of other people have 0.963 and 0.973."""
PAIR_SHIFT_MM = (2.0, 7.5)
"""Warn and fail from this shift on; the shift is where the edges agree best. Aligned phantoms and colin27 have 0;
displaced by 3 mm they have 2.5 to 4 mm, by 5 mm 2.5 to 6.3 mm and by 10 mm 8.1 to 11.4 mm."""


def measure_pair(volume: Volume) -> dict[str, float]:
    """How well a pair is aligned, with the CT as its last contrast: ``outline_dice`` and ``shift_mm``."""
    mr, hu, spacing_mm = volume.array, volume.contrasts[-1], volume.spacing_mm
    factors = gathering(spacing_mm, mr.shape)
    small_mm = [mm * factor for mm, factor in zip(spacing_mm, factors, strict=True)]
    body = mr_body_mask(with_dark_background(mr), spacing_mm)
    return {
        "outline_dice": dice(body, ct_body_mask(hu, spacing_mm)) or 0.0,
        "shift_mm": shift_mm(gathered(mr, factors), gathered(hu, factors), small_mm),
    }


def check_alignment(facts: Mapping[str, float]) -> Iterator[Remark]:
    """Remarks on the alignment of a pair, from :func:`measure_pair`."""
    overlap, shift = facts["outline_dice"], facts["shift_mm"]
    if overlap < PAIR_OUTLINE_DICE[0]:
        level = "fail" if overlap < PAIR_OUTLINE_DICE[1] else "warn"
        yield level, "pair", f"the bodies of MR and CT overlap by a Dice of only {overlap:.2f}; register them again"
    if shift >= PAIR_SHIFT_MM[0]:
        level = "fail" if shift >= PAIR_SHIFT_MM[1] else "warn"
        yield level, "pair", f"the CT seems displaced by {shift:.0f} mm from its MR; register them again"
