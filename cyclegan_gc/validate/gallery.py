"""The pictures and tables of a validation, worst case first, under pseudonyms."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from numpy.typing import NDArray
from torch import Tensor

from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.planes import Stack
from cyclegan_gc.pictures.planes import PLANES, View
from cyclegan_gc.pictures.sheets import Row, sheet
from cyclegan_gc.pictures.truth import ERROR_LEGEND, rows_with_truth
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.tracking import Picture, Table
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import HEIGHTS, SLAB, FixedSlices, Look
from cyclegan_gc.validate.panels import Seen, ct_to_mr_sheet, histogram_picture, mr_to_ct_sheet, planes_sheet
from cyclegan_gc.validate.true_pairs import TruePair, WholeMR

SHOWN_SLABS = (0, 2, 5, 7)
"""Numbers of the slabs on a sheet; they show up to four of the cases that take turns."""

Named = Callable[[str], str]
"""Case to pseudonym."""
Shown = dict[str, Picture | Table]
"""Under the names that W&B shows, ``panels/...`` and `CASES`."""
CASES = "validation/cases"
"""Name of the table of cases."""


def slices_shown(look: Look, fixed: FixedSlices, whole: WholeMR, settings: PreprocessConfig, named: Named) -> Shown:
    """Fixed slices in both directions and three planes of the first MR, with the table of cases."""
    batch, images, stack = look.batch, look.images, fixed.mr_stacks[0]
    percentiles = settings.mr_percentiles
    forth = _seen(fixed.mr_stacks, named, batch.real_mr, to_hu(images.fake_ct, settings), images.rec_mr)
    back = _seen(fixed.ct_stacks, named, to_hu(batch.real_ct, settings), images.fake_mr, to_hu(images.rec_ct, settings))
    planes = planes_sheet(whole, named(stack.name), percentiles)
    mr_shown, ct_shown = ([each[n] for n in SHOWN_SLABS] for each in (forth, back))
    return {
        "panels/mr_to_ct": Picture(mr_to_ct_sheet(mr_shown, percentiles), _caption(mr_shown)),
        "panels/ct_to_mr": Picture(ct_to_mr_sheet(ct_shown, percentiles), _caption(ct_shown)),
        "panels/planes": Picture(planes, named(stack.name)),
        CASES: _case_table(look, fixed, forth, percentiles, named),
    }


def pairs_shown(
    pairs: Sequence[TruePair],
    scts_hu: Sequence[NDArray],
    figures: Sequence[Mapping[str, float | None]],
    named: Named,
) -> Shown:
    """MR, synthetic CT, true CT and error of each pair, worst first, in one picture and in a table."""
    names: list[str] = []
    planes: list[Row] = []
    cases = []
    each = zip(pairs, scts_hu, figures, strict=True)
    for pair, sct_hu, measured in sorted(each, key=lambda case: -(case[2]["mae_body_hu"] or 0.0)):
        name = named(pair.name)
        title, synthetic = f"{name}, MAE {measured['mae_body_hu'] or 0.0:.0f} HU, ", {"synthetic": sct_hu}
        own = rows_with_truth(title, pair.mr, synthetic, pair.ct_hu, pair.mask, pair.affine)
        names.append(name)
        planes += own
        cases.append([name, *measured.values(), partial(_error_picture, own, name)])
    table = Table(["case", "MAE in the body [HU]", "bone Dice", "picture"], cases)
    return {"panels/error": _error_picture(planes, ", ".join(names)), CASES: table}


def with_pairs(shown: Shown, of_pairs: Shown) -> Shown:
    """What is shown of a validation together with its pairs: all cases in one table, which tells the kind of each."""
    tables = {"held out": shown[CASES], "validation pair": of_pairs[CASES]}
    return {**shown, **of_pairs, CASES: _joined({k: table for k, table in tables.items() if isinstance(table, Table)})}


def histogram_shown(look: Look, translator: Translator) -> Shown:
    """HU of the synthetic CTs in the body against those of the training CTs."""
    sct_hu = to_hu(look.images.fake_ct, translator.preprocess).numpy()[look.batch.mr_mask.numpy()]
    pixels = histogram_picture(sct_hu, translator.fingerprint["ct_histogram"])
    return {"panels/histogram": Picture(pixels, "HU in the body, fixed slices against all training CTs")}


def _joined(tables: Mapping[str, Table]) -> Table:
    """The rows of all tables, each with the kind of its table and None where that has no such column."""
    first, last = "case", "picture"
    columns = list(dict.fromkeys(name for table in tables.values() for name in table.columns))
    figures = [name for name in columns if name not in (first, last)]
    rows = []
    for kind, table in tables.items():
        for row in table.rows:
            known = dict(zip(table.columns, row, strict=True))
            rows.append([known[first], kind, *map(known.get, figures), known[last]])
    return Table([first, "kind", *figures, last], rows)


def _error_picture(rows: Sequence[Row], caption: str) -> Picture:
    return Picture(sheet(rows, [ERROR_LEGEND]), caption)


def _seen(stacks: Sequence[Stack], named: Named, *images: Tensor) -> list[Seen]:
    """The middle slice of each slab, of source, translation and the way back; ``stacks`` are the slabs' volumes."""
    source, translated, again = (each[SLAB // 2 :: SLAB, 0].numpy() for each in images)
    names = [f"{named(stack.name)} at {100 * height:.0f} %" for stack, height in zip(stacks, HEIGHTS, strict=True)]
    views = [View(stack.spacing_mm[1:], PLANES[stack.axis][1]) for stack in stacks]
    return list(map(Seen, names, source, translated, again, views))


def _caption(slices: Sequence[Seen]) -> str:
    return f"{', '.join(seen.name for seen in slices)}; height in the body from below"


def _case_table(
    look: Look, fixed: FixedSlices, forth: Sequence[Seen], mr_percentiles: tuple[float, float], named: Named
) -> Table:
    """Each MR case with the parts of its score and one of its slices, worst first."""
    worst = sorted(look.by_case, key=lambda case: -look.by_case[case]["score"])
    parts = list(look.by_case[worst[0]])
    slabs, rows = [stack.name for stack in fixed.mr_stacks], []
    for case in worst:
        seen = replace(forth[slabs.index(case)], name=named(case))
        figures = (look.by_case[case][part] for part in parts)
        rows.append([seen.name, *figures, partial(_slice_picture, seen, mr_percentiles)])
    return Table(["case", *parts, "picture"], rows)


def _slice_picture(seen: Seen, mr_percentiles: tuple[float, float]) -> Picture:
    return Picture(mr_to_ct_sheet([seen], mr_percentiles), seen.name)
