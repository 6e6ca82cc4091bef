"""MR scanners of the phantoms: T1-weighted protocols that differ in contrast, sharpness, noise and bias field.

The scanner does not change the subject, its CT or the grid. Brightness is relative to fat in ``spgr``. It was chosen by
hand to match the order and rough ratios of tissues in such images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from cyclegan_gc.config import Scanner
from cyclegan_gc.phantom.shapes import Noise

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
    """Settings of an MR protocol; values are drawn from the ranges for each subject."""

    brightness: Mapping[str, float] = field(default_factory=lambda: _SPGR_BRIGHTNESS)
    """Brightness of each tissue except marrow."""
    marrow: tuple[float, float] = (0.70, 0.28)
    """Brightness of marrow without fat, and the increase for marrow of fat only."""
    bias: Range = (0.05, 0.14)
    """Standard deviation of the logarithm of the bias field, which varies over about 160 mm."""
    blur_voxels: Range = (0.15, 0.4)
    """Standard deviation of the point spread function."""
    slice_blur_voxels: float = 0.0
    """Additional blur through the slices, as in thick slices interpolated to the grid."""
    gamma: Range = (0.9, 1.1)
    """Exponent of the brightness."""
    noise: Range = (0.012, 0.035)
    """Standard deviation of the noise (Rician)."""


PROTOCOLS: dict[Scanner, Protocol] = {
    "spgr": Protocol(),
    "mprage": Protocol(
        brightness={**_SPGR_BRIGHTNESS, "fat": 0.82, "muscle": 0.36, "grey": 0.46, "white": 0.80, "fluid": 0.07},
        marrow=(0.62, 0.24),
        bias=(0.15, 0.30),
        gamma=(0.95, 1.2),
        noise=(0.010, 0.025),
    ),
    "spin_echo": Protocol(
        brightness={
            **_SPGR_BRIGHTNESS,
            **{"skin": 0.26, "muscle": 0.34, "grey": 0.36, "white": 0.43, "organ": 0.40, "fluid": 0.18},
        },
        blur_voxels=(0.2, 0.45),
        slice_blur_voxels=0.25,
        gamma=(0.85, 1.0),
        noise=(0.025, 0.05),
    ),
    "gadolinium": Protocol(
        brightness={
            **_SPGR_BRIGHTNESS,
            **{"skin": 0.42, "muscle": 0.50, "grey": 0.55, "organ": 0.78, "vessel": 0.85, "tendon": 0.10},
        },
        bias=(0.10, 0.20),
        gamma=(0.75, 0.95),
        noise=(0.02, 0.04),
    ),
}
"""In order: gradient echo (used by the demo), inversion recovery at high field, spin echo with thick slices, and images
after contrast agent."""


def scan_mr(mr: np.ndarray, noise: Noise, protocol: Protocol, rng: np.random.Generator) -> np.ndarray:
    """Simulated MR from the brightness ``(X, Y, Z)`` of the tissues, in whole units; z runs through the slices."""
    mr = mr * (1 + 0.04 * noise(9)) * np.exp(rng.uniform(*protocol.bias) * noise(160))
    blur = rng.uniform(*protocol.blur_voxels)
    mr = ndimage.gaussian_filter(mr, (blur, blur, blur + protocol.slice_blur_voxels))
    mr = mr.clip(0) ** rng.uniform(*protocol.gamma)
    real, imaginary = rng.standard_normal((2, *mr.shape), np.float32) * np.float32(rng.uniform(*protocol.noise))
    return np.round(np.hypot(mr + real, imaginary) * rng.uniform(250, 1500)).astype(np.float32)
