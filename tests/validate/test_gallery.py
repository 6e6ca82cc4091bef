"""Pictures of a validation: volumes are the right way round, errors are true, names are pseudonyms."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from cyclegan_gc.cli import main
from cyclegan_gc.config import PreprocessConfig
from cyclegan_gc.data.cache import cached_volume
from cyclegan_gc.data.cases import find_files
from cyclegan_gc.data.pairs import find_pairs
from cyclegan_gc.data.planes import Stack
from cyclegan_gc.errors import UserError
from cyclegan_gc.formats.geometry import axis_directions, voxel_sizes
from cyclegan_gc.formats.sources import source_of
from cyclegan_gc.prepare.hu import to_hu
from cyclegan_gc.tracking import Picture, Table
from cyclegan_gc.trained_model import Translator
from cyclegan_gc.validate.gallery import pairs_shown
from cyclegan_gc.validate.panels import histogram_picture
from cyclegan_gc.validate.true_pairs import load_pair, mean_figures, translate_pairs, translate_stack

FINGERPRINT = {"mr": [{"spacing_mm": (2.5, 2.5, 3.0)}], "ct": []}


class Constant(nn.Module):
    """A generator that shows one value everywhere; a parameter tells its device."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The value."""
        return torch.zeros_like(image) + self.value


def translator(generator: nn.Module, config) -> Translator:
    data = config.data
    return Translator(
        generator, None, "mr_to_ct", config.preprocess, ("axial",), data.context_slices, (), data.crop, FINGERPRINT
    )


@pytest.fixture
def config(small_config, phantoms):
    data = replace(small_config.data, validation_pairs=str(phantoms / "test"))
    return replace(small_config, preprocess=PreprocessConfig(), data=data)


def test_the_error_of_a_constant_is_computed_by_hand(config, phantoms):
    [files], _ = find_pairs(phantoms / "test", "the test")
    pairs = [load_pair(files, config.preprocess)]
    [sct_hu], figures = translate_pairs(translator(Constant(-0.2), config), pairs)
    ct = np.asarray(nib.load(next((phantoms / "test" / "ct").iterdir())).dataobj)  # pyright: ignore
    assert pairs[0].ct_hu.shape == ct.shape and (pairs[0].ct_hu == ct).all()
    sct = sct_hu[pairs[0].mask]
    expected = np.abs(sct.astype(float) - ct[pairs[0].mask]).mean()
    assert figures[0]["mae_body_hu"] == pytest.approx(expected)
    assert np.median(sct) == 0 and figures[0]["bone_dice"] == 0  # -0.2 of [-1000, 1500] HU
    assert mean_figures([{"a": 1.0, "b": None}, {"a": 3.0, "b": 2.0}]) == {"a": 2.0, "b": 2.0}
    of_three_planes = replace(translator(Constant(-0.2), config), slice_axes=("axial", "coronal", "sagittal"))
    assert translate_pairs(of_three_planes, pairs)[1] == figures  # a validation looks at the first plane


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
def test_a_stack_of_any_plane_becomes_the_same_volume(config, phantoms, tmp_path, axis):
    """The same head, whichever way it was sliced: equal proportions, brain above, air outside."""
    [path] = (phantoms / "test" / "mr").iterdir()
    volume = cached_volume([source_of(path)], "mr", config.preprocess, tmp_path)
    stack = Stack(volume, axis)
    whole = translate_stack(translator(Constant(0.2), config), stack)
    assert whole.mr.shape == whole.sct_hu.shape and set(np.unique(whole.sct_hu.round())) == {-1000, 500}
    assert np.array_equal(whole.mask, whole.sct_hu > 0) and axis_directions(whole.affine) == "PLS"
    body, spacing_mm = np.argwhere(whole.mask), voxel_sizes(whole.affine)
    extent_mm = (np.ptp(body, axis=0) + 1) * spacing_mm
    expected_mm = volume.statistics["case"]["body_mm"]
    assert extent_mm == pytest.approx(expected_mm, rel=0.15)
    assert spacing_mm == pytest.approx(volume.statistics["case"]["spacing_mm"])


def test_pairs_are_shown_worst_first_under_pseudonyms(config, phantoms):
    [files], _ = find_pairs(phantoms / "test", "the test")
    pair = load_pair(files, config.preprocess)
    pairs = [replace(pair, name="DOE"), replace(pair, name="ROE")]
    scts_hu = [pair.ct_hu + 10, pair.ct_hu + 200]
    figures = [{"mae_body_hu": 10.0, "bone_dice": 1.0}, {"mae_body_hu": 200.0, "bone_dice": 1.0}]
    named = {"DOE": "case-d", "ROE": "case-r"}.__getitem__
    picture, table = pairs_shown(pairs, scts_hu, figures, named).values()
    assert isinstance(picture, Picture) and isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["case-r", "case-d"] and picture.caption == "case-r, case-d"
    turned, _ = pairs_shown(pairs[::-1], scts_hu[::-1], figures[::-1], named).values()
    real_names, _ = pairs_shown(pairs, scts_hu, figures, str).values()
    assert isinstance(turned, Picture) and isinstance(real_names, Picture)
    assert (picture.pixels == turned.pixels).all() and (picture.pixels != real_names.pixels).any()


def test_the_histogram_is_a_picture_of_two_curves():
    real = {"edges": np.linspace(-1000, 1500, 513).tolist(), "counts": [1.0] * 512}
    pixels = histogram_picture(to_hu(torch.zeros(1000), PreprocessConfig()).numpy(), real)
    assert pixels.dtype == np.uint8 and pixels.shape[2] == 3 and len(np.unique(pixels)) > 10


def test_a_pair_that_is_none_is_named(config, phantoms, tmp_path, capsys):
    for kind in ("mr", "ct"):
        (tmp_path / kind).mkdir()
    [mr] = (phantoms / "test" / "mr").iterdir()
    other = sorted((phantoms / "ct").iterdir())[0]
    (tmp_path / "mr" / mr.name).symlink_to(mr)
    (tmp_path / "ct" / other.name).symlink_to(other)
    alone = replace(config, data=replace(config.data, validation_pairs=str(tmp_path)))
    with pytest.raises(UserError, match=r"no CT of its PatientID, name or folder"):
        find_files(alone.data)
    (tmp_path / "ct" / mr.name).symlink_to(other)
    with pytest.raises(UserError, match="not on the grid of its MR"):
        find_files(alone.data)
    words = ["train", "--data.mr", phantoms / "mr", "--data.ct", phantoms / "ct", "--output", tmp_path / "run"]
    code = main([*map(str, words), "--data.validation_pairs", "NOWHERE", "--device", "cpu"])
    assert code == 2 and "NOWHERE: no such file or folder" in capsys.readouterr().err
