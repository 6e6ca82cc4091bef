"""One volume through a generator or several, on its own grid; begin with ``volume.py``."""

from cyclegan_gc.inference.fusion import fine_enough
from cyclegan_gc.inference.volume import (
    Translation,
    prepare_for,
    translate_cases,
    translate_slices,
    translate_volume,
    wanted_pixel_mm,
)

__all__ = [
    "Translation",
    "fine_enough",
    "prepare_for",
    "translate_cases",
    "translate_slices",
    "translate_volume",
    "wanted_pixel_mm",
]
