"""Building blocks of the phantoms: shapes as signed distances in mm, negative inside, layers, and random fields.

Coordinates are anatomical (x to the right, y to the front, z up); paired structures are drawn once in ``|x|``. A layer
is ``(tissue, distance)``; a later one covers an earlier one.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

Point = tuple[float, float, float]
Layer = tuple[str, np.ndarray]
Noise = Callable[[float], np.ndarray]


def ellipsoid(points: np.ndarray, centre: Point, radii: Point) -> np.ndarray:
    """Approximate distance to an ellipsoid, exact on its surface; ``points`` is ``(3, X, Y, Z)``."""
    scaled = [(p - c) / r for p, c, r in zip(points, centre, radii, strict=True)]
    level = np.sqrt(sum(s * s for s in scaled)) + np.float32(1e-6)
    slope = np.sqrt(sum((s / r) ** 2 for s, r in zip(scaled, radii, strict=True))) + np.float32(1e-6)
    return level * (level - 1) / slope


def tube(points: np.ndarray, path: list[Point], radius: float, end_radius: float | None = None) -> np.ndarray:
    """Distance to a round tube along a polyline; along each segment the radius changes linearly to ``end_radius``."""
    end_radius = radius if end_radius is None else end_radius
    legs = []
    for start, stop in pairwise(path):
        axis = [np.float32(b - a) for a, b in zip(start, stop, strict=True)]
        offset = [p - np.float32(a) for p, a in zip(points, start, strict=True)]
        along = sum(o * a for o, a in zip(offset, axis, strict=True)) / sum(a * a for a in axis)
        along = np.clip(along, 0, 1)
        gap = np.sqrt(sum((o - along * a) ** 2 for o, a in zip(offset, axis, strict=True)))
        legs.append(gap - (radius + along * (end_radius - radius)))
    return union(*legs)


def union(*shapes: np.ndarray) -> np.ndarray:
    """Union of the shapes."""
    return np.minimum.reduce(shapes)


def within(*shapes: np.ndarray) -> np.ndarray:
    """Intersection of the shapes."""
    return np.maximum.reduce(shapes)


def blend(a: np.ndarray, b: np.ndarray, width_mm: float) -> np.ndarray:
    """Union of two shapes with a smooth transition of ``width_mm``."""
    overlap = np.maximum(width_mm - np.abs(a - b), 0) / width_mm
    return np.minimum(a, b) - overlap**2 * (width_mm / 4)


def turned(points: np.ndarray, centre: Point, axis: int, degrees: float) -> np.ndarray:
    """Points relative to ``centre``, rotated about one axis."""
    local = [p - np.float32(c) for p, c in zip(points, centre, strict=True)]
    first, second = [k for k in range(3) if k != axis]
    cos, sin = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    local[first], local[second] = cos * local[first] + sin * local[second], cos * local[second] - sin * local[first]
    return np.stack(local)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: np.ndarray, scale_mm: float
) -> np.ndarray:
    """Gaussian random field ``(X, Y, Z)`` of unit variance whose details are about ``scale_mm`` wide."""
    weights = []
    for size, spacing in zip(shape, spacing_mm, strict=True):
        place = np.arange(size) * spacing / scale_mm * 2
        weight = np.exp(-0.5 * (place[:, None] - np.arange(-3, np.ceil(place[-1]) + 4)) ** 2)
        weights.append(weight / np.linalg.norm(weight, axis=1, keepdims=True))
    field = rng.standard_normal([w.shape[1] for w in weights])
    for weight in weights:
        field = np.tensordot(field, weight, axes=(0, 1))
    return field.astype(np.float32)


def rotation(degrees: np.ndarray) -> np.ndarray:
    """``(3, 3)`` rotation about the z, then the y, then the x axis."""
    a, b, c = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


def bone(shape: np.ndarray, cortex_mm: float) -> Iterator[Layer]:
    """Layers of a cortical shell around marrow."""
    yield "cortical", shape
    yield "marrow", shape + cortex_mm
