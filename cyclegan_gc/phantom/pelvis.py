"""Anatomy of the pelvis phantoms, as layers of :mod:`cyclegan_gc.phantom.shapes`."""

from collections.abc import Iterator

import numpy as np

from cyclegan_gc.phantom.shapes import Layer, Noise, blend, bone, ellipsoid, tube, turned, union, within


def pelvis(points: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    """Layers of a pelvis; the origin is midway between the femoral heads; arguments as in `head`."""
    pair = np.stack([np.abs(points[0]), points[1], points[2]])
    fat_mm = rng.uniform(10, 26)
    torso = ellipsoid(points, (0, 0, 60), (142 + fat_mm, 88 + fat_mm, 420))
    legs = tube(pair, [(84, -2, -20), (84, -2, -300)], 68 + fat_mm / 2)
    body = blend(within(torso, -48 - points[2]), legs, 30)
    yield "skin", body
    for tissue, distance in _inside_pelvis(points, pair, body, fat_mm, noise, rng):
        yield tissue, within(distance, body + 2)


def _inside_pelvis(
    points: np.ndarray, pair: np.ndarray, body: np.ndarray, fat_mm: float, noise: Noise, rng: np.random.Generator
) -> Iterator[Layer]:
    yield "fat", body + rng.uniform(3, 4.5)
    yield "muscle", body + fat_mm + 3 * noise(60)
    yield "fat", within(np.abs(noise(26)) * 20 - 2.5, body + fat_mm - 4)
    yield "tendon", within(np.abs(noise(30)) * 24 - 2, body + fat_mm)
    yield from _bowel(points, pair, noise, rng)
    yield from _pelvic_bones(points, pair, noise, rng)
    yield from _pelvic_organs(points, pair, noise, rng)


def _bowel(points: np.ndarray, pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    belly = blend(ellipsoid(points, (0, 28, 80), (104, 50, 84)), ellipsoid(points, (0, 6, 8), (52, 46, 40)), 20)
    loops = noise(24)
    yield "fat", belly
    yield "organ", within(belly + 5, (np.abs(loops) - 1.2) * 20, 20 - points[2])
    gas = rng.uniform(0.5, 1)
    yield (
        "cavity",
        within(belly + 8, (np.abs(loops) - 0.9) * 20, (noise(34) + gas - points[1] / 80) * 20, 24 - points[2]),
    )
    for side in (-1, 1):
        calibre = rng.uniform(19, 27)
        colon = tube(points, [(side * 84, 30, 42), (side * 88, 20, 90), (side * 90, 12, 260)], calibre)
        yield "organ", colon
        yield "cavity", within(colon + 4, rng.uniform(-6, 8) + 14 - points[1])


def _pelvic_bones(points: np.ndarray, pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    cortex = rng.uniform(2.7, 3.8)
    wing = turned(pair, (92, -22, 66), 2, rng.uniform(28, 40))
    wing = ellipsoid(turned(wing, (0, 0, 0), 1, -rng.uniform(12, 20)), (0, 0, 0), (rng.uniform(8, 11), 56, 62))
    socket = ellipsoid(pair, (86, 0, 2), (31, 32, 32))
    ring = union(
        tube(pair, [(80, -22, -10), (62, -36, -62)], 16, 14),
        tube(pair, [(78, 18, -6), (12, 54, -20)], 10),
        tube(pair, [(13, 52, -26), (56, -30, -66)], 8),
    )
    yield from bone(blend(blend(wing, socket, 12), ring, 8), cortex)
    yield "tendon", ellipsoid(pair, (92, 0, 0), (27, 27, 27))
    femur = blend(
        blend(ellipsoid(pair, (92, 0, 0), (23.5, 23.5, 23.5)), tube(pair, [(92, 0, 0), (134, -8, -30)], 15), 6),
        union(ellipsoid(pair, (140, -12, -22), (16, 19, 24)), tube(pair, [(136, -6, -34), (122, 0, -260)], 17)),
        8,
    )
    yield "cortical", femur
    yield "marrow", femur + cortex + np.clip((-50 - pair[2]) / 12, 0, 3)
    yield "tendon", within(pair[0] - 4, np.abs(pair[1] - 52) - 10, np.abs(pair[2] + 22) - 16)
    yield "tendon", tube(pair, [(30, -68, 24), (62, -42, -48)], 6)
    yield "tendon", tube(pair, [(64, -40, -66), (80, -40, -300)], 8)
    yield "tendon", tube(pair, [(76, 4, 60), (112, 10, -20), (122, -14, -44)], 6)
    sacrum = ellipsoid(turned(points, (0, -60, 44), 0, -24), (0, 0, 0), (50, 17, 56))
    yield from bone(sacrum, cortex)
    low = 96 - points[2]
    one = np.stack([pair[0], pair[1], np.mod(low, 38) - 19])
    yield "tendon", within(ellipsoid(one, (0, -34, 0), (25, 18, 400)), low)
    lumbar = union(ellipsoid(one, (0, -34, 0), (28, 20, 18)), tube(one, [(0, -66, 0), (0, -92, -4)], 6, 8))
    arch = union(tube(one, [(16, -50, 0), (0, -72, 0)], 7), tube(one, [(18, -56, 0), (46, -58, 2)], 6))
    yield from bone(within(union(lumbar, arch), low), cortex * 0.8)
    yield "fluid", tube(points, [(0, -60, 300), (0, -60, 90), (0, -72, 40)], 8, 5)


def _pelvic_organs(points: np.ndarray, pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    full = rng.uniform(0.7, 1.15)
    bladder = ellipsoid(points, (0, 26, 6 + 10 * full), (40 * full, 27 * full, 27 * full))
    yield "organ", ellipsoid(points, (0, 2, rng.uniform(-14, 4)), (24, 20, 20))
    yield "organ", bladder - 4
    yield "fluid", bladder
    rectum = tube(points, [(0, -24, -44), (0, -32, 0), (rng.uniform(-12, 12), -28, 34)], 16)
    yield "organ", rectum
    yield "cavity", within(rectum + rng.uniform(4, 9), noise(30) * 12)
    yield "vessel", tube(pair, [(20, -6, 260), (34, -8, 90), (58, 40, 10), (70, 44, -300)], 6)
    yield "vessel", tube(pair, [(28, -14, 260), (44, -14, 84), (68, 36, 6), (78, 36, -300)], 7)
