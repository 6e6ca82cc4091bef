"""One image brought onto another's voxel grid."""

from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from cyclegan_gc.formats.geometry import voxel_mapping


def resample(
    array: NDArray, affine: NDArray, shape: tuple[int, ...], target_affine: NDArray, *, outside: float, order: int = 1
) -> NDArray:
    """``array`` at the voxel centres of another grid: linear (``order=1``) or nearest (0), ``outside`` beyond its edge.

    Args:
        array: ``(X, Y, Z)``, with ``affine`` ``(4, 4)`` from voxel index to mm.
        shape: of the target grid, with ``target_affine``.
        outside: the value where the array has none.
    """
    mapping = voxel_mapping(target_affine, affine)
    return affine_transform(array, mapping, output_shape=shape, order=order, mode="constant", cval=outside)
