"""Training samples, unpaired and paired: a pure function of the seed and the global sample index."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cyclegan_gc.config import DataConfig, SliceAxis
from cyclegan_gc.data.cache import PreparedVolume
from cyclegan_gc.data.grey_values import GreyValues, as_another_scanner, random_grey_values
from cyclegan_gc.data.planes import Plane, Stack, random_plane
from cyclegan_gc.data.reading import Resident, read
from cyclegan_gc.model.cyclegan import Batch

HEIGHT_SPREAD = 0.05
"""Standard deviation of the relative height between matched MR and CT slices."""

PAIRS = 1
"""Last number of the seed for pairs, so that they are drawn independently of the unpaired stream."""


@dataclass(frozen=True)
class UnpairedSamples:
    """An endless stream: sample ``index`` is one MR and one CT plane of unrelated subjects.

    Every volume is drawn equally often, whatever its number of slices. The same seed and index give the same sample
    in any process, so runs on 1 or 2 ranks, and resumed runs, see the same data.
    """

    mr: Sequence[PreparedVolume]
    ct: Sequence[PreparedVolume]
    config: DataConfig
    seed: int
    depths: bool = False
    """Whether the samples hold the depth of each pixel below the skin."""
    kept_mr: Resident | None = None
    """The MRs on the training device; None reads them from the memory maps."""
    kept_ct: Resident | None = None

    def batch(self, indices: Sequence[int], stream: int = 0) -> Batch:
        """``real_mr`` (N, S * contrasts, h, w), ``real_ct`` and masks (N, S, h, w); S is a plane and its neighbours.

        Another number of the ``stream`` gives other samples under the same seed.
        """
        mr, ct, grey_values = zip(*(self._draw(index, stream) for index in indices), strict=True)
        mr, ct = read(mr, self.kept_mr, depths=self.depths), read(ct, self.kept_ct, depths=self.depths)
        image = _changed(mr.image, grey_values)
        return Batch(image, ct.image, mr.mask, ct.mask, mr.depth, ct.depth)

    def _draw(self, index: int, stream: int) -> tuple[Plane, Plane, GreyValues | None]:
        random = np.random.default_rng([self.seed, index, stream])
        axis = _axis(self.config, random)
        mr = Stack(_one_of(self.mr, random), axis)
        mr_number = int(random.integers(mr.count))
        ct = Stack(_one_of(self.ct, random), axis)
        ct_number = int(random.integers(ct.count))
        if self.config.match_position:
            height = mr_number / max(1, mr.count - 1) + random.normal(0, HEIGHT_SPREAD)
            ct_number = round(float(np.clip(height, 0, 1)) * (ct.count - 1))
        planes = (random_plane(mr, mr_number, self.config, random), random_plane(ct, ct_number, self.config, random))
        return *planes, _grey_values(self.config, random)


@dataclass(frozen=True)
class PairedSamples:
    """An endless stream: sample ``index`` is one plane through an MR and the CT of the same person.

    A pure function of seed and index, like :class:`UnpairedSamples`.
    """

    pairs: Sequence[PreparedVolume]
    config: DataConfig
    seed: int
    kept: Resident | None = None
    """The pairs on the training device; None reads them from the memory maps."""

    def batch(self, indices: Sequence[int], stream: int = 0) -> Batch:
        """Like unpaired samples; both masks are the MR's body."""
        planes, grey_values = zip(*(self._draw(index, stream) for index in indices), strict=True)
        both = read(planes, self.kept)
        by_slice = both.image.unflatten(1, (both.mask.shape[1], -1))
        mr = _changed(by_slice[:, :, :-1].flatten(1, 2), grey_values)
        return Batch(mr, by_slice[:, :, -1], both.mask, both.mask)

    def _draw(self, index: int, stream: int) -> tuple[Plane, GreyValues | None]:
        random = np.random.default_rng([self.seed, index, stream, PAIRS])
        stack = Stack(_one_of(self.pairs, random), _axis(self.config, random))
        number = int(random.integers(stack.count))
        return random_plane(stack, number, self.config, random), _grey_values(self.config, random)


def _changed(mr: Tensor, grey_values: Sequence[GreyValues | None]) -> Tensor:
    drawn = [each for each in grey_values if each is not None]
    return as_another_scanner(mr, drawn) if drawn else mr


def _grey_values(config: DataConfig, random: np.random.Generator) -> GreyValues | None:
    """Drawn last, so that it does not change the rest of the sample."""
    contrasts = max(1, len(config.contrasts))
    return random_grey_values(contrasts, config.mr_intensity, random) if config.mr_intensity else None


def _axis(config: DataConfig, random: np.random.Generator) -> SliceAxis:
    return config.slice_axes[int(random.integers(len(config.slice_axes)))]


def _one_of(volumes: Sequence[PreparedVolume], random: np.random.Generator) -> PreparedVolume:
    return volumes[int(random.integers(len(volumes)))]
