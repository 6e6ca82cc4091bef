"""The skull's measures on a round head whose values are known, and on the public heads."""

from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cyclegan_gc.evaluate.evaluation import evaluate
from cyclegan_gc.evaluate.matching import Sources
from cyclegan_gc.formats.volumes import read_volume
from cyclegan_gc.metrics.skull import inner_faults, skull
from cyclegan_gc.prepare.body import ct_body_mask


def head(thickness_mm: float = 8.0, spacing_mm: tuple[float, float, float] = (1.5, 1.5, 1.5)):
    """A ball of 70 mm with a skull 5 mm below the skin: HU, body, and places in mm from its middle.

    250 HU lie half-way between its bone and its soft tissue.
    """
    sides = [round(180 / mm) for mm in spacing_mm]
    places = np.stack(
        np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(sides, spacing_mm, strict=True)), indexing="ij"
        )
    )
    radius = np.linalg.norm(places, axis=0)
    hu = np.where(radius < 70, 40, -1000)
    hu[(radius < 65) & (radius >= 65 - thickness_mm)] = 460
    return hu, radius < 70, places


@pytest.mark.parametrize("thickness_mm", [6.0, 9.0, 14.0])
@pytest.mark.parametrize("axes", ["RAS", "PIR", "LAS"])
def test_the_thickness_is_that_of_the_shell_in_all_axis_orders(thickness_mm, axes):
    spacing_mm = (1.0, 1.5, 2.0)
    hu, body, _ = head(thickness_mm, spacing_mm)
    image = nib.Nifti1Image(np.stack([hu, body], axis=3).astype(np.int16), np.diag([*spacing_mm, 1.0]))
    codes = nib.orientations.axcodes2ornt(axes)
    change: Any = nib.orientations.ornt_transform(nib.io_orientation(image.affine), codes)
    turned = image.as_reoriented(change)
    values = np.asarray(turned.dataobj)
    measured = skull(values[..., 0], values[..., 1] > 0, np.asarray(turned.affine))
    assert measured is not None
    assert measured.thickness_mm == pytest.approx(thickness_mm, abs=0.5)
    assert measured.holes == 0 and measured.specks_ml == 0


def test_a_hole_has_its_share_of_the_rays_and_a_speck_its_volume():
    hu, body, places = head()
    hole, speck = hu.copy(), hu.copy()
    hole[np.hypot(*places[:2]) < 40] = 40
    speck[np.linalg.norm(places - np.array([20, 0, 15])[:, None, None, None], axis=0) < 6] = 700
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    with_hole, with_speck = skull(hole, body, affine), skull(speck, body, affine)
    assert with_hole and with_speck
    # The hole's rim lies where the inner side of the skull, 57 mm from the middle, is 40 mm from the axis.
    assert with_hole.holes == pytest.approx((1 - np.cos(np.arcsin(40 / 65))) / 0.8, abs=0.03)
    assert with_speck.specks_ml == pytest.approx(4 / 3 * np.pi * 6**3 / 1000, rel=0.1)


def test_a_torso_and_a_head_without_bone_have_no_vault():
    hu, body, _ = head()
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    assert skull(hu[:, :, :60], body[:, :, :60], affine) is None
    assert skull(np.where(body, 40, -1000), body, affine) is None
    assert skull(hu, np.zeros_like(body), affine) is None


@pytest.mark.parametrize("column", [700, -900])
def test_a_column_of_bone_or_air_has_its_share_of_the_middle_of_a_head_whose_top_is_cut_off(column):
    hu, body, places = head()
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    top = 90  # 46 mm above the middle
    assert inner_faults(hu[:, :, :top], body[:, :, :top], affine) == 0
    hu[np.hypot(*places[:2]) < 6] = column
    radii = np.sqrt(70**2 - (1.5 * np.arange(-13, 14)) ** 2) - 30
    measured = inner_faults(hu[:, :, :top], body[:, :, :top], affine)
    assert measured == pytest.approx(radii.size * 6**2 / (radii**2).sum(), rel=0.1)


def test_shoulders_below_a_true_head_are_not_its_middle():
    hu, body, _ = head()
    taller = [
        np.concatenate([np.repeat(part[:, :, 60:61], 140, axis=2), part[:, :, 60:]], axis=2) for part in (hu, body)
    ]
    hu, body = (np.pad(part, ((120, 120), (60, 60), (0, 0))) for part in taller)
    shoulders = np.s_[20:-20, 40:-40, :40]
    hu[shoulders], body[shoulders] = 700, True
    assert inner_faults(np.where(body, hu, -1000), body, np.diag([1.5, 1.5, 1.5, 1.0])) == 0


def test_a_body_cut_off_at_its_widest_and_a_flat_one_have_no_middle():
    hu, body, _ = head()
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    for part in (np.s_[:, :, :60], np.s_[:, :, 90:110], np.s_[:, :, :0]):
        assert inner_faults(hu[part], body[part], affine) is None


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("ct01", 7, 10), ("ct03", 7, 10), ("ct06", 10, 13), ("ct07", None, None), ("torso_ct02", None, None)],
)
def test_the_public_heads_have_a_plausible_vault_and_cut_ones_have_none(real_data, name, least, most):
    volume = read_volume(next((real_data / "ct").glob(f"{name}*")))
    measured = skull(volume.array, ct_body_mask(volume.array, volume.spacing_mm), volume.affine)
    if least is None:
        assert measured is None
    else:
        assert inner_faults(volume.array, ct_body_mask(volume.array, volume.spacing_mm), volume.affine) == 0
        assert (
            measured and least <= measured.thickness_mm <= most and measured.specks_ml < 0.5 and measured.holes < 0.03
        )


def test_an_evaluation_has_the_vault_of_both_cts_and_nothing_for_a_torso(tmp_path):
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    (thick, _, _), (thin, _, _) = head(12.0), head(6.0)
    for name, hu in (("thick", thick), ("thin", thin), ("torso", thin[:, :, :60])):
        nib.Nifti1Image(hu.astype(np.int16), affine).to_filename(tmp_path / f"{name}.nii.gz")
    paths = {name: str(tmp_path / f"{name}.nii.gz") for name in ("thick", "thin", "torso")}
    own = evaluate(Sources(paths["thick"], paths["thin"]), tmp_path / "head").rows[0]
    assert own["vault_mm"] == pytest.approx(12, abs=0.5) and own["vault_mm_reference"] == pytest.approx(6, abs=0.5)
    assert own["vault_holes"] == 0 and own["specks_ml"] == 0
    torso = evaluate(Sources(paths["torso"], paths["torso"]), tmp_path / "rest").rows[0]
    assert not {"vault_mm", "vault_holes", "specks_ml"} & torso.keys()
