"""The planes in which a case is translated when nobody names them."""

from dataclasses import replace

import numpy as np
import pytest

from cyclegan_gc.formats.volumes import Volume, read_volume
from cyclegan_gc.inference import Translation, translate_volume
from cyclegan_gc.trained_model import members_of


@pytest.fixture(scope="module")
def head(source) -> Volume:
    return read_volume(source)


def thick(head: Volume, towards: int, every: int = 4) -> Volume:
    """Every fourth slice along left (0), front (1) or top (2), with voxels four times as long."""
    axis = int(np.abs(head.affine[towards, :3]).argmax())
    chosen = (slice(None),) * axis + (slice(None, None, every),)
    steps = np.ones(4)
    steps[axis] = every
    return replace(head, array=np.ascontiguousarray(head.array[chosen]), affine=head.affine @ np.diag(steps))


def translated(translator, head: Volume, planes=None) -> Translation:
    return translate_volume(members_of([translator], planes), head)


def test_all_planes_of_the_training_are_fused(translator, head):
    whole = translated(translator, head)
    assert np.array_equal(whole.array, translated(translator, head, translator.slice_axes).array)
    assert whole.uncertainty is not None and not [note for note in whole.notes if "left out" in note]


@pytest.mark.parametrize(("towards", "kept"), [(0, "sagittal"), (1, "coronal"), (2, "axial")])
def test_planes_through_thick_slices_are_left_out_and_named(translator, head, towards, kept):
    case = thick(head, towards)
    result = translated(translator, case)
    assert np.array_equal(result.array, translated(translator, case, (kept,)).array)
    [note] = [note for note in result.notes if "left out" in note]
    assert kept.capitalize() not in note and "pixels of" in note and result.planes == (kept,)


def test_named_planes_are_taken_however_coarse(translator, head):
    result = translated(translator, thick(head, 2), translator.slice_axes)
    assert result.uncertainty is not None and not [note for note in result.notes if "left out" in note]
