"""Whether the values of a volume are those of MR or of CT in HU."""

from typing import Literal

import numpy as np
from scipy import ndimage

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume

Modality = Literal["mr", "ct"]

AIR_BELOW = -200
"""An MR has no values below this one, or only a few that resampling left behind."""
AIR_RANGE_HU = (-1100, -700)
"""Air lies between these values in a CT; the lowest value, if it is lower, is padding."""
SMOOTHER = 0.95
"""Adding 65536 to the negative values of an MR that wrapped lowers the mean step between neighbours to 0.7 times."""
LEAST_AIR = 1e-4
FAT_HU, LEAST_FAT = (-200, -30), 0.01
"""A field of view inside the body has no air, but fat."""
DENSE_HU, TISSUE_BELOW_HU = -400, 800
"""The median of all that is denser than the first lies below the second: 60 HU in patients, 1060 stored without the
intercept, and 500 for a network that has learnt nothing."""
NO_INTERCEPT = "the rescale intercept, usually -1024, was not applied"
ADD_IT = "add it and save the CT again"


def check_volume(volume: Volume, modality: Modality) -> None:
    """Apply :func:`check_values` to every contrast."""
    for array in volume.contrasts:
        check_values(array, modality)


def check_values(array: np.ndarray, modality: Modality) -> None:
    """Refuse an MR with the values of a CT, and a CT that is not in HU: air at -1000 HU, tissue near 0.

    Args:
        array: (X, Y, Z) in its own unit.
        modality: what it should be.

    Raises:
        VolumeError: if it is not (without a file name; the caller adds it).
    """
    if modality == "mr":
        if (span := _wrapped_at(array)) is not None:
            raise VolumeError(
                f"the brightest voxels are negative (down to {array.min():g}): unsigned values were stored as signed "
                f"ones; add {span} to the negative values and save the MR again"
            )
        air = float(np.mean(array < AIR_BELOW))
        if air > 0.05:
            raise VolumeError(f"{air:.0%} of the values lie below {AIR_BELOW}, which look like CT; give MR volumes")
        return
    values = _without_padding(array)
    air = (values >= AIR_RANGE_HU[0]) & (values <= AIR_RANGE_HU[1])
    if air.mean() < LEAST_AIR and not _lies_inside_a_body(values):
        raise VolumeError(f"not a CT in HU: no air at -1000 HU (values from {_range_and_cure(values)}")
    dense = values[values > DENSE_HU]
    if dense.size and (tissue := float(np.median(dense))) > TISSUE_BELOW_HU:
        raise VolumeError(
            f"not a CT in HU: tissue lies at {tissue:.0f} instead of 0 (probably {NO_INTERCEPT}); {ADD_IT}"
        )


def _wrapped_at(array: np.ndarray) -> int | None:
    """The number that whole negative values lack, 256 or 65536, if the picture is smoother with it; None otherwise."""
    low, high = float(array.min()), float(array.max())
    for span in (2**8, 2**16):
        if -span / 2 <= low < -span / 4 and span / 4 < high < span / 2 and (array == np.rint(array)).all():
            raised = np.where(array < 0, array + span, array)
            change, without = (np.abs(np.diff(each, axis=0)).mean() for each in (raised, array))
            return span if change < SMOOTHER * without else None
    return None


def _without_padding(array: np.ndarray) -> np.ndarray:
    """All values but padding and those beside it, where resampling mixes it with others; all if no other is left."""
    lowest = array.min()
    if lowest >= AIR_RANGE_HU[0]:
        return array
    beside = np.asarray(ndimage.maximum_filter(array <= lowest + 1, size=5), dtype=bool)
    values = array[~beside]
    return values if values.size else array


def _lies_inside_a_body(values: np.ndarray) -> bool:
    """Whether there is fat, and no heap of values at the lower end, where a window cuts them off."""
    fat = np.mean((values > FAT_HU[0]) & (values < FAT_HU[1]))
    return bool(fat >= LEAST_FAT and np.mean(values == values.min()) < LEAST_FAT)


def _range_and_cure(values: np.ndarray) -> str:
    """Smallest and largest value, the likely cause, a closing bracket and the cure."""
    low, high = float(values.min()), float(values.max())
    cause, cure = "", "give CT in HU"
    if low >= -10 and high <= 10:
        cause, cure = ": normalised", "map them back to HU and save the CT again"
    elif low >= 0 and high <= 255:
        cause, cure = ": exported in 8 bits", "export the CT again in HU"
    elif low >= AIR_BELOW and high >= 1200:
        cause, cure = f": {NO_INTERCEPT}", ADD_IT
    elif low < 0:
        cause, cure = f": cut off at {low:g}", "export the CT again without a window"
    return f"{low:g} to {high:g}{cause}); {cure}"
