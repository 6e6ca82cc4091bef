"""A pool of earlier translations for the discriminators (Shrivastava et al. 2017, as used by Zhu et al. 2017)."""

from typing import TypedDict

import torch
from torch import Tensor


class PoolState(TypedDict):
    """State of a pool in a checkpoint."""

    images: list[Tensor]
    generator: Tensor


class ImagePool:
    """Holds up to ``size`` earlier fakes; a size of 0 passes every batch through.

    Args:
        size: number of images kept.
        seed: of the pool's own random numbers; their state is saved, so a resumed run draws the same numbers.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size
        self._images: list[Tensor] = []
        self._generator = torch.Generator().manual_seed(seed)

    def exchange(self, images: Tensor) -> Tensor:
        """Store new fakes and return as many, each either itself or, half of the time, an older one.

        Args:
            images: ``(N, C, H, W)``; stored detached.

        Returns:
            ``(N, C, H, W)``, detached.
        """
        return torch.stack([self._exchange_one(image) for image in images.detach()])

    def _exchange_one(self, image: Tensor) -> Tensor:
        if len(self._images) < self.size:
            self._images.append(image.clone())
            return image
        if self.size == 0 or torch.rand((), generator=self._generator) < 0.5:
            return image
        place = int(torch.randint(self.size, (), generator=self._generator))
        older, self._images[place] = self._images[place], image.clone()
        return older

    def state_dict(self) -> PoolState:
        """Images (on the CPU) and the state of the random number generator."""
        return {"images": [image.cpu() for image in self._images], "generator": self._generator.get_state()}

    def load_state_dict(self, state: PoolState, device: torch.device) -> None:
        """Continue exactly from ``state``, with the images on ``device``."""
        self._images = [image.to(device) for image in state["images"]]
        self._generator.set_state(state["generator"])
