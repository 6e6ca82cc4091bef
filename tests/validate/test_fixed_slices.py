"""The slices of a validation go the way of conversion, with their neighbours too."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from cyclegan_gc.config import LossConfig, PreprocessConfig
from cyclegan_gc.data.cache import cached_volume
from cyclegan_gc.data.planes import Stack, upright
from cyclegan_gc.data.reading import read
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.inference import translate_slices
from cyclegan_gc.metrics.skull import skull
from cyclegan_gc.model.passes import Passes
from cyclegan_gc.prepare.body import ct_body_mask
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.fixed_slices import HEIGHTS, SLAB, fixed_slices, look_at
from cyclegan_gc.validate.true_pairs import translate_stack
from cyclegan_gc.validate.validation import HeldOut, validate

CROP = (128, 128)


class Uneven(nn.Module):
    """Says something else of a slice in its own place than as a neighbour."""

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.tensor([0.5, 1.0, 0.2]).view(1, 3, 1, 1))

    def forward(self, slab: torch.Tensor) -> torch.Tensor:
        """``(N, 3, h, w)`` to the same shape."""
        return self.gains * slab


def prepared(phantoms, folder):
    """A held-out head and what a model of 2.5-D makes of its slices."""
    settings, generator = PreprocessConfig(), Uneven().eval()
    (mr,), (ct,) = (sorted((phantoms / "test" / kind).iterdir()) for kind in ("mr", "ct"))
    mr_stack = Stack(cached_volume([source_of(mr)], "mr", settings, folder), "axial")
    ct_stack = Stack(cached_volume([source_of(ct)], "ct", settings, folder), "axial")
    translator = Translator(generator, generator, "mr_to_ct", settings, ("axial",), 1, (), CROP, {})
    slices = read([upright(mr_stack, number) for number in range(mr_stack.count)])
    return mr_stack, ct_stack, translator, translate_slices(generator, slices.image, slices.mask, 1, Passes(8))


def test_a_panel_of_a_2_5_d_model_shows_what_conversion_writes(phantoms, tmp_path):
    mr_stack, ct_stack, translator, converted = prepared(phantoms, tmp_path)
    fixed = fixed_slices([mr_stack], [ct_stack], [ct_stack], CROP, translator)
    seen = look_at(fixed, translator, LossConfig()).images.fake_ct
    assert len(seen) == SLAB * len(HEIGHTS) and len(fixed.mr) > len(seen)
    last = mr_stack.count - 1
    for slab, height in enumerate(HEIGHTS):
        middle = min(max(0, round(height * last) - 1), last - 2) + 1
        shown, whole = seen[SLAB * slab + 1], converted[middle]
        # The panel pads a slice with air to the crop of the training.
        seen_body, written_body = (each[each > -1].sort().values for each in (shown, whole))
        torch.testing.assert_close(seen_body, written_body, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(3, "01201201"), (8, "01234567"), (15, "0 2 4 6 8 10 12 14")])
def test_the_slices_are_spread_over_all_cases(phantoms, tmp_path, count, expected):
    mr_stack, ct_stack, translator, _ = prepared(phantoms, tmp_path)
    cases = [mr_stack._replace(volume=replace(mr_stack.volume, source=str(number))) for number in range(count)]
    fixed = fixed_slices(cases, [ct_stack], [ct_stack], CROP, translator)
    assert [stack.name for stack in fixed.mr_stacks] == (expected.split() if " " in expected else list(expected))


def test_the_planes_of_a_2_5_d_model_show_what_conversion_writes(phantoms, tmp_path):
    mr_stack, _, translator, converted = prepared(phantoms, tmp_path)
    sct_hu = translate_stack(translator, mr_stack).sct_hu
    low, high = translator.preprocess.ct_window_hu
    expected = (converted[:, 0].permute(1, 2, 0) + 1) / 2 * (high - low) + low
    torch.testing.assert_close(torch.from_numpy(sct_hu), expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("skulls", [[(9.0, 0.0, 0.0)], []])
def test_a_validation_measures_the_vault_where_the_training_cts_have_one(phantoms, tmp_path, skulls):
    """A true CT in the place of an MR, and networks that change nothing."""
    (path,) = (phantoms / "test" / "ct").iterdir()
    settings = PreprocessConfig()
    stack = Stack(cached_volume([source_of(path)], "ct", settings, tmp_path), "axial")
    known = {"ct_skulls": skulls, "ct_histogram": {"edges": [-1000.0, 0.0, 1500.0], "counts": [0.5, 0.5]}}
    translator = Translator(nn.Identity(), nn.Identity(), "mr_to_ct", settings, ("axial",), 0, (), CROP, known)
    held_out = HeldOut(fixed_slices([stack], [stack], [stack], CROP, translator))
    figures = validate(translator, held_out, LossConfig(), lambda name: "case").figures
    volume = read_volume(path)
    true = skull(volume.array, ct_body_mask(volume.array, volume.spacing_mm), volume.affine)
    assert true is not None and true.thickness_mm > 3
    if skulls:
        assert figures["validation/vault_mm"] == pytest.approx(true.thickness_mm, abs=1)
        assert figures["validation/vault_holes"] == pytest.approx(true.holes, abs=0.01)
    assert ("validation/vault_mm" in figures) == bool(skulls)
