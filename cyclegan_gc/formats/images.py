"""Images of other libraries in memory: nibabel, MONAI, SimpleITK and arrays; to a volume, and back to the same kind."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import nibabel as nib
import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from nibabel.spatialimages import SpatialImage
from numpy.typing import ArrayLike, NDArray

from cyclegan_gc.errors import VolumeError
from cyclegan_gc.formats.geometry import LPS_TO_RAS, check_affine, checked_shape, grid_notes
from cyclegan_gc.formats.nifti import result_header
from cyclegan_gc.formats.nifti_affine import affine_mm
from cyclegan_gc.formats.volumes import MAX_VOXELS, Volume, joined_contrasts, volume_on_grid

if TYPE_CHECKING:
    from SimpleITK import Image as ItkImage

    Image: TypeAlias = SpatialImage | MetaTensor | ItkImage | NDArray

Kind = TypeVar("Kind")
"""One of the kinds of image."""
Grid = tuple[NDArray, NDArray, Sequence[str]]
"""Values (X, Y, Z), affine (4, 4) to RAS in mm, and remarks."""


def volume_of(image: "Image | Sequence[Image]", affine: ArrayLike | None = None) -> Volume:
    """The volume of an image, with checked values; the image itself is not changed.

    Args:
        image: a nibabel image, a MetaTensor (X, Y, Z) or (C, X, Y, Z) with its contrasts as channels, a SimpleITK
            image, or an array (X, Y, Z); a list of them holds the contrasts of one case.
        affine: (4, 4), voxel index to RAS in mm; for arrays only, which need it.

    Raises:
        VolumeError: if the image cannot be used; one line without a name.
    """
    if isinstance(image, (list, tuple)):
        if not image:
            raise VolumeError("a list without an image; give one of each contrast")
        volumes = [volume_of(each, affine) for each in image]
        return joined_contrasts(volumes, [f"contrast {number}" for number in range(1, len(volumes) + 1)])
    if isinstance(image, MetaTensor) and image.ndim == 4:
        return volume_of([MetaTensor(channel, affine=image.affine) for channel in image.as_tensor()])
    values, affine, notes = _grid_of(image, affine)  # pyright: ignore[reportArgumentType]
    if values.dtype.kind not in "iufb":
        raise VolumeError(f"voxels are of type {values.dtype}; give one real number per voxel")
    if affine.shape != (4, 4):
        raise VolumeError(f"the affine has shape {affine.shape}; give (4, 4), from voxel index to RAS in mm")
    shape = checked_shape(values.shape, MAX_VOXELS)
    check_affine(affine)
    return volume_on_grid(values.reshape(shape), affine, [*notes, *grid_notes(shape, affine)])


def image_like(array: NDArray, image: Kind) -> Kind:
    """``array`` (X, Y, Z) as an image of the kind and on the grid of ``image``; no description is copied.

    A MetaTensor keeps its device, its ``meta`` and its ``applied_operations``, so MONAI can name and invert the result.
    """
    if isinstance(image, SpatialImage):
        array = array.reshape(image.shape)
        nifti = isinstance(image, nib.Nifti1Pair)
        return type(image)(array, image.affine, result_header(array, image.header) if nifti else None)  # pyright: ignore
    if isinstance(image, MetaTensor):
        tensor = torch.from_numpy(array.copy()).to(image.device)[(None,) * (image.ndim - 3)]
        return MetaTensor(tensor, meta=image.meta, applied_operations=image.applied_operations)
    if isinstance(image, np.ndarray):
        return array.reshape(image.shape)
    import SimpleITK

    result = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.T))
    result.CopyInformation(image)  # geometry alone
    return result  # pyright: ignore[reportReturnType]


def _grid_of(image: "Image", affine: ArrayLike | None) -> Grid:
    if isinstance(image, np.ndarray) and affine is not None:
        return image, np.asarray(affine, np.float64), ()
    if isinstance(image, np.ndarray):
        raise VolumeError("an array has no position; give affine=, (4, 4) from voxel index to RAS in mm")
    if affine is not None:
        raise VolumeError(f"a {type(image).__name__} has its own affine; leave out affine=")
    if isinstance(image, MetaTensor):
        return image.detach().cpu().numpy(), image.affine.cpu().numpy(), ()
    if isinstance(image, SpatialImage):
        values = np.asanyarray(image.dataobj)
        if isinstance(image, nib.Nifti1Pair):
            return values, *affine_mm(image.header.copy(), checked_shape(values.shape, MAX_VOXELS))
        return values, np.asarray(image.affine, np.float64), ()
    return _itk_grid(image)


def _itk_grid(image: "ItkImage") -> Grid:
    import SimpleITK

    if not isinstance(image, SimpleITK.Image):
        raise VolumeError(
            f"a {type(image).__name__} is no image; give a nibabel image, a MetaTensor, a SimpleITK image or an array"
        )
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        size = " x ".join(map(str, image.GetSize()))
        raise VolumeError(f"an image of {size} with {image.GetNumberOfComponentsPerPixel()} values a voxel; give 3-D")
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image).T, LPS_TO_RAS @ lps, ()
