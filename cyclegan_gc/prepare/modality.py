"""Whether the values of a volume are those of MR or of CT."""

from typing import Literal

import numpy as np

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.volumes import Volume

Modality = Literal["mr", "ct"]

AIR_BELOW = -200
"""A CT has air at about -1000 HU; an MR has no values below this one, or only a few that resampling left behind."""


def check_volume(volume: Volume, modality: Modality) -> None:
    """Apply :func:`check_values` to every contrast."""
    for array in volume.contrasts:
        check_values(array, modality)


def check_values(array: np.ndarray, modality: Modality) -> None:
    """Refuse values of the other modality, as in swapped folders; raises VolumeError without a file name."""
    air = float(np.mean(array < AIR_BELOW))
    if modality == "mr" and air > 0.05:
        raise VolumeError(f"{air:.0%} of the values lie below {AIR_BELOW}, which look like CT; give MR volumes")
    if modality == "ct" and air == 0:
        raise VolumeError(
            f"no value lies below {AIR_BELOW}, so there is no air: not a CT in HU{_likely_cause(array)}; give CT in HU"
        )


def _likely_cause(array: np.ndarray) -> str:
    low, high = float(array.min()), float(array.max())
    cause = ""
    if low >= 0 and high <= 255:
        cause = ": exported in 8 bits"
    elif low >= 0 and high >= 1200:
        cause = ": the rescale intercept, usually -1024, was not applied"
    return f" (values from {low:g} to {high:g}{cause})"
