"""Number types with ranges, and choices that several commands share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from cyclegan_gc.errors import UserError

if TYPE_CHECKING:  # jsonargparse makes its number types at run time, where a type checker cannot follow
    NonNegativeInt: TypeAlias = int
    PositiveInt: TypeAlias = int
    ClosedUnitInterval: TypeAlias = float
    NonNegativeFloat: TypeAlias = float
    OpenUnitInterval: TypeAlias = float
    PositiveFloat: TypeAlias = float
else:
    from jsonargparse.typing import (
        ClosedUnitInterval,
        NonNegativeFloat,
        NonNegativeInt,
        OpenUnitInterval,
        PositiveFloat,
        PositiveInt,
    )

__all__ = [
    "SOURCE_MODALITY",
    "ClosedUnitInterval",
    "Direction",
    "Fusion",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OpenUnitInterval",
    "PositiveFloat",
    "PositiveInt",
    "Preview",
    "Scanner",
    "SliceAxis",
    "check_planes",
]

SliceAxis = Literal["axial", "coronal", "sagittal"]
Direction = Literal["mr_to_ct", "ct_to_mr"]
SOURCE_MODALITY: dict[Direction, Literal["mr", "ct"]] = {"mr_to_ct": "mr", "ct_to_mr": "ct"}
"""What each direction begins with."""
Fusion = Literal["mean", "median"]
Preview = Literal["interactive", "png", "none"]
Scanner = Literal["spgr", "mprage", "spin_echo", "gadolinium"]


def check_planes(option: str, planes: Sequence[SliceAxis]) -> None:
    """Raise a UserError if no plane is named, or one twice."""
    if not planes or len(set(planes)) < len(planes):
        raise UserError(f"{option} must name planes, each once, got {list(planes)}")
