"""Whole volumes in a validation: a held-out MR, and pairs with a true CT where there are any."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.pairs import Pair, read_pair
from cyclegan_gc.data.planes import Stack, upright
from cyclegan_gc.data.reading import read
from cyclegan_gc.errors import UserError
from cyclegan_gc.inference import translate_cases, translate_slices
from cyclegan_gc.metrics import bone_dice, mae
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.prepare.grid import DIRECTIONS, from_plane
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.prepare.preprocess import Prepared, prepare
from cyclegan_gc.trained_model import Translator, members_of

SLICES_A_PASS = 8


@dataclass(frozen=True)
class TruePair:
    """An MR, prepared, and the true CT of the same person on its grid."""

    name: str
    """A name that must not leave the run folder."""
    mr: NDArray
    ct_hu: NDArray
    mask: NDArray[np.bool_]
    affine: NDArray
    prepared: Prepared


def load_pair(files: Pair, settings: PreprocessConfig) -> TruePair:
    """Read one pair and prepare its MR.

    Raises:
        UserError: if a volume cannot be read or no body is found in its CT.
    """
    volume = read_pair(files.mr, files.ct)
    mr, ct_hu = replace(volume, further=volume.further[:-1]), volume.further[-1]
    mask = ct_body_mask(ct_hu, volume.spacing_mm)
    if not mask.any():
        raise UserError(f"{files.ct.path}: no body found in this CT; it must be in HU")
    return TruePair(files.name, mr.array, ct_hu, mask, mr.affine, prepare(mr, "mr", settings))


def translate_pairs(
    translator: Translator, pairs: Sequence[TruePair]
) -> tuple[list[NDArray], list[dict[str, float | None]]]:
    """Translate each pair's MR in the first plane and measure the errors of the synthetic CT in the body.

    Returns:
        The synthetic CTs in HU on the grids of the MRs, and for each ``mae_body_hu`` and ``bone_dice`` (above 250 HU;
        None where there is no bone).

    Raises:
        VolumeError: if a value of a synthetic CT is not finite.
    """
    # Without the way back no cycle error is computed.
    members, scts_hu, figures = members_of([replace(translator, back=None)], translator.slice_axes[:1]), [], []
    for pair in pairs:
        sct = translate_cases([pair.prepared], members, batch_size=SLICES_A_PASS).array
        figures.append(
            {"mae_body_hu": mae(sct, pair.ct_hu, pair.mask), "bone_dice": bone_dice(sct, pair.ct_hu, pair.mask)}
        )
        scts_hu.append(sct)
    return scts_hu, figures


def mean_figures(figures: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """The mean of each figure over the cases that have it."""
    names = dict.fromkeys(name for each in figures for name in each)
    known = {name: [v for each in figures if (v := each[name]) is not None] for name in names}
    return {name: float(np.mean(values)) for name, values in known.items() if values}


class WholeMR(NamedTuple):
    """An MR of the validation as a volume ``(H, W, D)``, to the back, to the left and upwards."""

    mr: NDArray
    """In [-1, 1], the first of several contrasts."""
    sct_hu: NDArray
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]
    """(4, 4), voxel index to RAS mm, but for the origin."""


def translate_stack(translator: Translator, stack: Stack) -> WholeMR:
    """All upright slices of one MR and their translations as volumes."""
    found = read([upright(stack, number) for number in range(stack.count)])
    generator, context = translator.generator, translator.context
    translated = translate_slices(generator, found.image, found.mask, context, Passes(SLICES_A_PASS))
    images = found.image[:, 0], to_hu(translated[:, 0], translator.preprocess), found.mask[:, 0]
    mr, sct_hu, mask = (from_plane(each.permute(1, 2, 0)[None], stack.axis)[0].numpy() for each in images)
    depth, height, width = np.abs(DIRECTIONS[stack.axis]) @ stack.spacing_mm
    affine = np.array([[0, -width, 0, 0], [-height, 0, 0, 0], [0, 0, depth, 0], [0, 0, 0, 1.0]])
    return WholeMR(mr, sct_hu, mask, affine)
