"""Synthetic CT from MR without paired data: CycleGAN with gradient consistency (after Hiasa et al. 2018).

Research use only; not a medical device. Functions are imported on first use, so ``import cyclegan_gc`` is light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclegan_gc.convert.in_memory import ConvertedImage, Model, load_model
    from cyclegan_gc.convert.single import convert_volume
    from cyclegan_gc.model.losses import gradient_consistency_loss, gradient_correlation

__version__ = "0.1.0"
__all__ = [
    "ConvertedImage",
    "Model",
    "convert_volume",
    "gradient_consistency_loss",
    "gradient_correlation",
    "load_model",
]

_HOMES = {
    "ConvertedImage": "cyclegan_gc.convert.in_memory",
    "Model": "cyclegan_gc.convert.in_memory",
    "convert_volume": "cyclegan_gc.convert.single",
    "gradient_consistency_loss": "cyclegan_gc.model.losses",
    "gradient_correlation": "cyclegan_gc.model.losses",
    "load_model": "cyclegan_gc.convert.in_memory",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
