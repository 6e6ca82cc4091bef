"""N4 bias field of an MR (Tustison et al. 2010), computed by SimpleITK on a smaller copy."""

import numpy as np

from cyclegan_gc.voxels import block_sizes

SHRUNK_MM = 4.0
"""Voxel size of the smaller copy; the field varies over centimetres."""
MIN_VOXELS = 12
"""An axis is not reduced below this size."""
ITERATIONS = (50, 50, 50)
CONVERGENCE = 1e-3


def bias_field(array: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """Factor by which the coil brightens each voxel; the MR divided by it is corrected.

    Args:
        array: MR with three axes, in its own unit.
        mask: bool, same shape; the body, inside which the field is estimated.
        spacing_mm: voxel size along the array's axes.

    Returns:
        float32, same shape, with mean 1 in the mask; 1 everywhere if the mask is empty.
    """
    import SimpleITK as Itk

    if not mask.any():
        return np.ones(array.shape, np.float32)
    # The logarithm needs positive values. A shift of all values would change the field, so only low values are raised.
    brightest = float(np.percentile(array[mask], 99))
    floor = max(brightest * 1e-3, float(np.finfo(np.float32).tiny))
    image = Itk.GetImageFromArray(np.clip(array, floor, max(2 * brightest, floor)).astype(np.float32))
    body = Itk.GetImageFromArray((mask & (array > floor)).astype(np.uint8))
    factors = block_sizes(spacing_mm, array.shape, SHRUNK_MM, MIN_VOXELS)
    corrector = Itk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)  # gives the same sums on every machine
    corrector.SetMaximumNumberOfIterations(ITERATIONS)
    corrector.SetConvergenceThreshold(CONVERGENCE)
    corrector.Execute(*(Itk.Shrink(each, factors[::-1]) for each in (image, body)))
    field = np.exp(Itk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)))
    return (field / field[mask].mean()).astype(np.float32)
