"""N4 correction of an MR's slow change in brightness (Tustison et al. 2010), by SimpleITK on a shrunk copy."""

import numpy as np

SHRUNK_MM = 4.0
"""Voxel size of the copy on which the field is found; it changes over centimetres."""
MIN_VOXELS = 12
"""An axis is not shrunk to fewer."""
ITERATIONS = (50, 50, 50)
CONVERGENCE = 1e-3


def bias_field(array: np.ndarray, mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The factor by which the coil brightens each voxel; dividing by it corrects.

    Args:
        array: MR, three axes, in its own unit.
        mask: bool, same shape; the body, where the field is found.
        spacing_mm: voxel size along the array's axes.

    Returns:
        float32, same shape, with mean 1 in the mask; 1 everywhere where the mask is empty.
    """
    import SimpleITK as Itk

    if not mask.any():
        return np.ones(array.shape, np.float32)
    # The logarithm needs positive values; a shift of all of them would change the field, so only the few are raised.
    brightest = float(np.percentile(array[mask], 99))
    floor = max(brightest * 1e-3, 1e-6)
    image = Itk.GetImageFromArray(np.clip(array, floor, max(2 * brightest, floor)).astype(np.float32))
    body = Itk.GetImageFromArray((mask & (array > floor)).astype(np.uint8))
    factors = [
        max(1, min(round(SHRUNK_MM / mm), n // MIN_VOXELS)) for mm, n in zip(spacing_mm, array.shape, strict=True)
    ]
    corrector = Itk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)  # the same sums on every machine
    corrector.SetMaximumNumberOfIterations(ITERATIONS)
    corrector.SetConvergenceThreshold(CONVERGENCE)
    corrector.Execute(*(Itk.Shrink(each, factors[::-1]) for each in (image, body)))
    field = np.exp(Itk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)))
    return (field / field[mask].mean()).astype(np.float32)
