"""How deep below the skin each pixel of a slice lies."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt


def relative_depth(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance of each pixel to the outside over the largest one in its slice, 0 outside the body.

    Args:
        masks: ``(..., H, W)``, true inside the body; what lies beyond the borders is outside.

    Returns:
        The same shape, in [0, 1].
    """
    slices = masks.reshape(-1, *masks.shape[-2:])
    return np.array([_of_slice(mask) for mask in slices], dtype=np.float32).reshape(masks.shape)


def _of_slice(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    depth = np.asarray(distance_transform_edt(np.pad(mask, 1)), dtype=np.float64)[1:-1, 1:-1]
    return depth / max(depth.max(), 1.0)
