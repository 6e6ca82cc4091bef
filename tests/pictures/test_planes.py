import numpy as np
import pytest

from cyclegan_gc.pictures.planes import middle_planes

FLIPPED = np.array([[0, -3, 0, 90], [0, 0, 4, -50], [-2, 0, 0, 60], [0, 0, 0, 1.0]])
"""File axes run down, left and front."""


def planes(mask, affine):
    return {plane.title.split(",")[0]: plane for plane in middle_planes(mask, affine)}


def test_planes_stand_upright_with_the_right_or_the_front_at_the_left():
    volume = np.zeros((7, 5, 9))
    volume[0, 2, 4], volume[3, 0, 4], volume[3, 2, 8] = 1, 2, 3  # the top, the patient's right, the front
    cuts = {name: plane.cut(volume) for name, plane in planes(np.ones(volume.shape, bool), FLIPPED).items()}
    assert {name: cut.shape for name, cut in cuts.items()} == {"axial": (9, 5), "coronal": (7, 5), "sagittal": (7, 9)}
    assert cuts["axial"][4, 0] == 2 and cuts["axial"][0, 2] == 3
    assert cuts["coronal"][3, 0] == 2 and cuts["coronal"][0, 2] == 1
    assert cuts["sagittal"][3, 0] == 3 and cuts["sagittal"][0, 4] == 1


def test_the_letters_at_the_edges_are_those_of_the_sides_that_are_shown():
    """A world coordinate in mm is larger at the L, A and S side of an array that runs there."""
    affine = np.diag([-2.0, -3, 4, 1])  # to the left, back and top
    x, y, _ = np.meshgrid(*(np.arange(n, dtype=float) for n in (6, 7, 8)), indexing="ij")
    for name, plane in planes(np.ones(x.shape, bool), affine).items():
        towards = {"R": -x, "L": x, "A": -y, "P": y}
        for letter, column in zip(plane.sides, (0, -1), strict=True):
            shown = plane.cut(towards[letter])
            assert (shown[:, column] == shown.max()).all(), f"{name}: {letter}"


def test_pixels_have_their_size_in_mm():
    sizes = {name: plane.pixel_mm for name, plane in planes(np.ones((7, 5, 9), bool), FLIPPED).items()}
    assert sizes == {"axial": (4, 3), "coronal": (2, 3), "sagittal": (2, 4)}


@pytest.mark.parametrize(("filled", "slice_number"), [(slice(2, 5), 4), (slice(0, 0), 5)])
def test_planes_go_through_the_middle_of_the_mask_or_of_the_volume(filled, slice_number):
    mask = np.zeros((9, 9, 9), bool)
    mask[filled, filled, filled] = True
    assert {p.title for p in middle_planes(mask, np.eye(4))} == {
        f"{name}, slice {slice_number} of 9" for name in ("axial", "coronal", "sagittal")
    }
