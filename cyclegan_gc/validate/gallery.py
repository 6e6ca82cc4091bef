"""The pictures and tables of a validation, worst case first, under pseudonyms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.cache import SliceStack
from cyclegan_gc.pictures.planes import PLANES, View
from cyclegan_gc.pictures.sheets import Pixels
from cyclegan_gc.prepare.preprocess import to_hu
from cyclegan_gc.tracking import Picture, Table
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import HEIGHTS, SLAB, FixedSlices, Look
from cyclegan_gc.validate.panels import (
    Seen,
    TranslatedPair,
    ct_to_mr_sheet,
    error_sheet,
    histogram_picture,
    mr_to_ct_sheet,
    planes_sheet,
)
from cyclegan_gc.validate.true_pairs import slice_pixel_mm, translate_stack

SHOWN_SLABS = (0, 2, 5, 7)
"""Numbers of the slabs on a sheet; they show up to four of the cases that take turns."""

Named = Callable[[str], str]


@dataclass(frozen=True)
class Shown:
    """Pictures of a validation by name, their captions, and tables."""

    pictures: dict[str, Pixels]
    captions: dict[str, str]
    tables: dict[str, Table]

    def all(self) -> dict[str, Picture | Table]:
        """Everything under the names that W&B shows."""
        panels = {f"panels/{name}": Picture(pixels, self.captions[name]) for name, pixels in self.pictures.items()}
        return {**panels, **{f"cases/{name}": table for name, table in self.tables.items()}}


def slices_shown(look: Look, fixed: FixedSlices, translator: Translator, named: Named) -> Shown:
    """Fixed slices in both directions and three planes of one volume, with the table of cases.

    Args:
        look: of the validation.
        fixed: what it looked at.
        translator: by the moving averages.
        named: case to pseudonym.
    """
    mr_names, ct_names = (
        [f"{named(stacks[n].name)} at {100 * HEIGHTS[n]:.0f} %" for n in SHOWN_SLABS]
        for stacks in (fixed.mr_stacks, fixed.ct_stacks)
    )
    settings, stack = translator.preprocess, fixed.mr_stacks[0]
    forth, back = (_seen(look, SHOWN_SLABS, stacks, settings) for stacks in (fixed.mr_stacks, fixed.ct_stacks))
    mr, sct_hu, spacing_mm = translate_stack(translator, stack)
    case = named(stack.name)
    pictures = {
        "mr_to_ct": mr_to_ct_sheet(forth, mr_names),
        "ct_to_mr": ct_to_mr_sheet(back, ct_names),
        "planes": planes_sheet(mr, sct_hu, spacing_mm, case, settings.mr_percentiles),
    }
    heights = "; height in the body from below"
    captions = {"mr_to_ct": ", ".join(mr_names) + heights, "ct_to_mr": ", ".join(ct_names) + heights, "planes": case}
    return Shown(pictures, captions, {"validation": _case_table(look, fixed, settings, named)})


def pairs_shown(pairs: Sequence[TranslatedPair], figures: Sequence[Mapping[str, float | None]], named: Named) -> Shown:
    """Errors against true CTs, worst first."""
    errors = [each["mae_body_hu"] or 0.0 for each in figures]
    order = sorted(range(len(pairs)), key=lambda n: -errors[n])
    hidden = [TranslatedPair(**{**vars(pair), "name": named(pair.name)}) for pair in pairs]
    whole = error_sheet([hidden[n] for n in order], [errors[n] for n in order])
    rows = [
        [hidden[n].name, *figures[n].values(), Picture(error_sheet([hidden[n]], [errors[n]]), hidden[n].name)]
        for n in order
    ]
    table = Table(["case", "MAE in the body [HU]", "bone Dice", "picture"], rows)
    return Shown({"error": whole}, {"error": ", ".join(hidden[n].name for n in order)}, {"true": table})


def histogram_shown(look: Look, translator: Translator) -> Shown:
    """HU of the synthetic CTs in the body against those of the training CTs."""
    sct_hu = to_hu(look.images.fake_ct, translator.preprocess).numpy()[look.batch.mr_mask.numpy()]
    real = translator.fingerprint["ct_histogram"]
    caption = "HU in the body, fixed slices against all training CTs"
    return Shown({"histogram": histogram_picture(sct_hu, real)}, {"histogram": caption}, {})


def together(parts: Sequence[Shown]) -> Shown:
    """All pictures and tables together."""
    pictures, captions, tables = ({k: v for part in parts for k, v in getattr(part, name).items()} for name in FIELDS)
    return Shown(pictures, captions, tables)


FIELDS = ("pictures", "captions", "tables")


def _seen(look: Look, slabs: Sequence[int], stacks: Sequence[SliceStack], settings: PreprocessConfig) -> Seen:
    """The middle slices of some slabs; ``stacks`` are the volumes they come from."""
    middle = [SLAB * n + SLAB // 2 for n in slabs]
    batch, images = look.batch, look.images

    def plain(tensor) -> np.ndarray:
        return tensor[middle, 0].float().numpy()

    def hu(tensor) -> np.ndarray:
        return to_hu(tensor[middle, 0].float(), settings).numpy()

    return Seen(
        plain(batch.real_mr),
        hu(images.fake_ct),
        plain(images.rec_mr),
        hu(batch.real_ct),
        plain(images.fake_mr),
        hu(images.rec_ct),
        [View(slice_pixel_mm(stacks[n], settings.spacing_mm), PLANES[stacks[n].axis][1]) for n in slabs],
        settings.mr_percentiles,
    )


def _case_table(look: Look, fixed: FixedSlices, settings: PreprocessConfig, named: Named) -> Table:
    """Each MR case with the parts of its score and one of its slices, worst first."""
    worst = sorted(look.by_case, key=lambda case: -look.by_case[case]["score"])
    parts = list(look.by_case[worst[0]])
    rows = []
    slabs = [stack.name for stack in fixed.mr_stacks]
    for case in worst:
        seen = _seen(look, [slabs.index(case)], fixed.mr_stacks, settings)
        picture = Picture(mr_to_ct_sheet(seen, [named(case)]), named(case))
        rows.append([named(case), *(look.by_case[case][part] for part in parts), picture])
    return Table(["case", *parts, "picture"], rows)
