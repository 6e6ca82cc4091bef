"""The affine of a NIfTI header in mm, with notes on assumptions."""

import numpy as np
from nibabel.spatialimages import HeaderDataError

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import axis_directions, check_affine, grid_notes, voxel_sizes
from cyclegan_gc.formats.nifti import Header

QUATERNION_ROUNDING = 1e-6
"""A quaternion that is longer than 1 by at most this is that of a rotation in float32."""
MOST_EXCESS = 0.01
UNIT_IN_MM = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}


def affine_mm(header: Header, shape: tuple[int, ...]) -> tuple[np.ndarray, list[str]]:
    """Affine (4, 4) from voxel index of an array (X, Y, Z) to RAS in mm, with a sentence for each assumption.

    Oddities of the qform are put right in ``header``, so that a result on its grid has none.

    Raises:
        VolumeError: if voxel size, affine or qform cannot be used (without the file name).
    """
    pixdim = np.abs(np.asarray(header["pixdim"][1:4], np.float64))
    if not np.all(np.isfinite(pixdim) & (pixdim > 0)):
        raise VolumeError(f"voxel size in the header is {pixdim.tolist()}; correct it")
    notes = _repair(header)
    sform = np.asarray(header.get_sform()) if int(header["sform_code"]) > 0 else None
    qform = _qform(header)
    affine = np.asarray(next((m for m in (sform, qform) if m is not None), header.get_base_affine()), np.float64)
    check_affine(affine)
    if sform is None and qform is None:
        axes = axis_directions(affine)
        notes.append(f"No orientation in the header (no form codes); the axes were assumed to be {axes}.")
    spacing = voxel_sizes(affine)
    other = qform if sform is not None else None
    far = np.array([[0, 0, 0, 1], [*(n - 1 for n in shape), 1]], np.float64).T
    if other is not None and not np.abs((other - affine) @ far).max() < 0.1 * spacing.min():
        notes.append("sform and qform disagree; the sform was used.")
    elif not np.allclose(spacing, pixdim, rtol=0.01):
        notes.append(
            f"Voxel sizes of sform {spacing.round(4)} and header {pixdim.round(4)} disagree; the sform was used."
        )
    name, factor = UNIT_IN_MM.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    if factor != 1.0:
        notes.append(f"Lengths are in {name}; they were multiplied by {factor:g} to mm.")
        affine = np.diag([factor, factor, factor, 1.0]) @ affine
    return affine, notes + grid_notes(shape, affine)


def _repair(header: Header) -> list[str]:
    """Change voxel sizes, qfac and quaternion to what the NIfTI standard takes them for; a sentence for each."""
    notes = []
    pixdim = header["pixdim"]
    if pixdim[1:4].min() < 0:
        notes.append("Negative voxel sizes in the header were taken without their sign.")
        pixdim[1:4] = np.abs(pixdim[1:4])
    if int(header["qform_code"]) <= 0:
        return notes
    if pixdim[0] not in (-1, 1):
        notes.append(
            f"The direction of the slices (qfac) is {pixdim[0]:g} in the header, not 1 or -1; NIfTI takes the sign."
        )
        pixdim[0] = -1 if pixdim[0] < 0 else 1
    names = ("quatern_b", "quatern_c", "quatern_d")
    length = float(np.linalg.norm([float(header[name]) for name in names]))
    if 1 < length <= 1 + MOST_EXCESS:
        if length > 1 + QUATERNION_ROUNDING:
            notes.append(f"The quaternion of the qform has length {length:.6g}; it was scaled to 1.")
        for name in names:
            header[name] = float(header[name]) / length
    return notes


def _qform(header: Header) -> np.ndarray | None:
    """The qform if its code is set; an invalid one is an error only if there is no sform."""
    try:
        return np.asarray(header.get_qform()) if int(header["qform_code"]) > 0 else None
    except (ValueError, HeaderDataError):
        if int(header["sform_code"]) > 0:
            return None
        raise VolumeError("the orientation (qform) is not a rotation; export the file again") from None
