"""Tiles: planes in grey or colours with contours, each with square pixels in a black square."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d
from torchvision.transforms.v2 import functional
from torchvision.utils import draw_segmentation_masks

from cyclegan_gc.pictures.planes import View
from cyclegan_gc.voxels import SAMPLE, values_inside

MR_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class Scale:
    """The grey levels or colours of a plane's values."""

    low: float
    high: float
    unit: str = "HU"
    colours: str = "gray"
    """A colour map of matplotlib."""

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}] {self.unit}"

    def paint(self, values: Tensor) -> Tensor:
        """Values (h, w) in colours (3, h, w) uint8, clipped to the scale; NaN is black."""
        shares = ((values - self.low) / max(self.high - self.low, 1e-6)).clip(0, 1).nan_to_num()
        table = torch.from_numpy(colormaps[self.colours](np.arange(256), bytes=True)[:, :3].copy())
        return (table[(shares * 255).round().long()] * ~values.isnan()[..., None]).permute(2, 0, 1)


BONE = Scale(-500, 1300)
SOFT_TISSUE = Scale(-160, 240)
BRAIN = Scale(0, 80)
CONTOURS_HU = {"skin": (-400.0, "cyan"), "bone": (250.0, "orange")}
CONTOUR_LEGEND = "contours of the synthetic CT: " + ", ".join(
    f"{name} {level:g} HU ({colour})" for name, (level, colour) in CONTOURS_HU.items()
)


@dataclass(frozen=True)
class Contour:
    """The outline of all values above a level, drawn on a tile."""

    values: NDArray
    """(H, W), on the pixels of the tile's values."""
    colour: str
    level: float


@dataclass(frozen=True)
class Tile:
    """A plane and the way it is shown."""

    title: str
    values: NDArray
    """(H, W); NaN is black."""
    scale: Scale
    view: View
    contours: Sequence[Contour] = ()

    def draw(self, size: int) -> Tensor:
        """The picture (3, size, size) uint8, as large as fits."""
        picture = self.scale.paint(_square(self.values, self.view, size))
        for contour in self.contours:
            line = _outline(_square(contour.values, self.view, size) > contour.level)
            picture = draw_segmentation_masks(picture, line, alpha=1, colors=contour.colour)
        return functional.center_crop(picture, [size, size])


def skin_and_bone(ct_hu: NDArray) -> list[Contour]:
    """The contours of :data:`CONTOUR_LEGEND`."""
    return [Contour(ct_hu, colour, level) for level, colour in CONTOURS_HU.values()]


def mr_scale(mr: NDArray, mask: NDArray[np.bool_]) -> Scale:
    """Grey levels between two percentiles of an MR inside a mask, or of all values where the mask is empty."""
    inside = values_inside(mr, mask if mask.any() else np.ones_like(mask), at_most=SAMPLE)
    low, high = np.percentile(inside, MR_PERCENTILES)
    return Scale(float(low), float(high), "")


def mr_title(percentiles: tuple[float, float] = MR_PERCENTILES) -> str:
    """The title of an MR that is shown between two percentiles."""
    return f"MR, percentiles {percentiles[0]:g} to {percentiles[1]:g}"


def _square(plane: NDArray, view: View, size: int) -> Tensor:
    """The values of a plane on square pixels, the longer side ``size``."""
    lengths = [count * mm for count, mm in zip(plane.shape, view.pixel_mm, strict=True)]
    shape = [max(1, round(size * length / max(lengths))) for length in lengths]
    values = torch.from_numpy(np.ascontiguousarray(plane, dtype=np.float32))
    return functional.resize(values[None], shape, antialias=True)[0]


def _outline(inside: Tensor) -> Tensor:
    """The pixels (h, w) of a region that touch pixels outside it."""
    return inside & (max_pool2d(1.0 - inside[None].float(), 3, 1, 1)[0] > 0)
