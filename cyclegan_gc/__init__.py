"""Synthetic CT from MR without paired data: CycleGAN with gradient consistency (after Hiasa et al. 2018).

Research use only; not a medical device. Functions are imported on first use, so ``import cyclegan_gc`` is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclegan_gc.convert.batch import convert_volume
    from cyclegan_gc.model.losses import gradient_consistency_loss, gradient_correlation

__version__ = "0.1.0"
__all__ = ["convert_volume", "gradient_consistency_loss", "gradient_correlation"]

_HOMES = {
    "convert_volume": "cyclegan_gc.convert.batch",
    "gradient_consistency_loss": "cyclegan_gc.model.losses",
    "gradient_correlation": "cyclegan_gc.model.losses",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
