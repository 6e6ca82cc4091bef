"""The MR scanners that phantoms are seen by: T1-weighted protocols, each with its contrast, sharpness, noise and coil.

The subject and its CT do not depend on the scanner: the same seed is the same person on the same grid. Brightness is
relative to the fat of ``spgr``; it was chosen by hand, after the order and rough ratios of such images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import ndimage

from cyclegan_gc.config import Scanner
from cyclegan_gc.phantom.anatomy import Noise

Range = tuple[float, float]

_SPGR_BRIGHTNESS = {
    "air": 0.0,
    "skin": 0.30,
    "fat": 0.92,
    "muscle": 0.42,
    "grey": 0.50,
    "white": 0.70,
    "organ": 0.50,
    "fluid": 0.14,
    "cavity": 0.0,
    "tendon": 0.06,
    "vessel": 0.04,
    "cortical": 0.03,
}


@dataclass(frozen=True)
class Protocol:
    """How a scanner sees a subject; ranges are drawn from for each subject."""

    brightness: Mapping[str, float] = field(default_factory=lambda: _SPGR_BRIGHTNESS)
    """Of each tissue but marrow."""
    marrow: tuple[float, float] = (0.70, 0.28)
    """Brightness of marrow without fat, and what fat alone would add."""
    bias: Range = (0.05, 0.14)
    """Standard deviation of the bias field's logarithm; its waves are about 160 mm long."""
    blur_voxels: Range = (0.15, 0.4)
    """Standard deviation of the point spread."""
    slice_blur_voxels: float = 0.0
    """The same from slice to slice, added: thick slices, interpolated to the grid."""
    gamma: Range = (0.9, 1.1)
    """Exponent of the brightness."""
    noise: Range = (0.012, 0.035)
    """Standard deviation of the noise (Rician)."""


_SPGR = Protocol()
PROTOCOLS: dict[Scanner, Protocol] = {
    "spgr": _SPGR,
    "mprage": replace(
        _SPGR,
        brightness={**_SPGR_BRIGHTNESS, "fat": 0.82, "muscle": 0.36, "grey": 0.46, "white": 0.80, "fluid": 0.07},
        marrow=(0.62, 0.24),
        bias=(0.15, 0.30),
        gamma=(0.95, 1.2),
        noise=(0.010, 0.025),
    ),
    "spin_echo": replace(
        _SPGR,
        brightness={
            **_SPGR_BRIGHTNESS,
            **{"skin": 0.26, "muscle": 0.34, "grey": 0.36, "white": 0.43, "organ": 0.40, "fluid": 0.18},
        },
        blur_voxels=(0.2, 0.45),
        slice_blur_voxels=0.25,
        gamma=(0.85, 1.0),
        noise=(0.025, 0.05),
    ),
    "gadolinium": replace(
        _SPGR,
        brightness={
            **_SPGR_BRIGHTNESS,
            **{"skin": 0.42, "muscle": 0.50, "grey": 0.55, "organ": 0.78, "vessel": 0.85, "tendon": 0.10},
        },
        bias=(0.10, 0.20),
        gamma=(0.75, 0.95),
        noise=(0.02, 0.04),
    ),
}
"""Gradient echo as in training of the demo; inversion recovery at high field; thick slices of spin echo; after contrast
agent."""


def scan_mr(mr: np.ndarray, noise: Noise, protocol: Protocol, rng: np.random.Generator) -> np.ndarray:
    """What the scanner makes of the tissues' brightness ``(X, Y, Z)``, z from slice to slice, in whole units."""
    mr = mr * (1 + 0.04 * noise(9)) * np.exp(rng.uniform(*protocol.bias) * noise(160))
    blur = rng.uniform(*protocol.blur_voxels)
    mr = ndimage.gaussian_filter(mr, (blur, blur, blur + protocol.slice_blur_voxels))
    mr = mr.clip(0) ** rng.uniform(*protocol.gamma)
    real, imaginary = rng.standard_normal((2, *mr.shape), np.float32) * np.float32(rng.uniform(*protocol.noise))
    return np.round(np.hypot(mr + real, imaginary) * rng.uniform(250, 1500)).astype(np.float32)
