"""Anatomy of the head phantoms, as layers of :mod:`cyclegan_gc.phantom.shapes`."""

from collections.abc import Iterator

import numpy as np

from cyclegan_gc.phantom.shapes import Layer, Noise, blend, bone, ellipsoid, tube, union, within


def head(points: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    """Layers of a head with the upper neck; the origin is the middle of the brain.

    ``points`` are ``(3, X, Y, Z)`` anatomical coordinates in mm; ``noise`` returns an ``(X, Y, Z)`` field of unit
    variance with details of the given size in mm.
    """
    pair = np.stack([np.abs(points[0]), points[1], points[2]])
    scalp_mm = rng.uniform(6, 9)
    cranium = ellipsoid(points, (0, -6, 0), (72, 90, 70))
    body = _head_outline(points, pair, cranium - scalp_mm)
    yield "skin", body
    for tissue, distance in _inside_head(points, pair, cranium, body, noise, rng):
        yield tissue, within(distance, body + 1.5)


def _skull_floor(pair: np.ndarray) -> np.ndarray:
    """Height of the posterior, middle and anterior fossa, with the saddle between the middle fossae."""
    middle = 1 / (1 + np.exp(-(pair[1] + 0.5 * pair[0] - 8) / 4))
    anterior = 1 / (1 + np.exp(-(pair[1] - 30) / 4))
    saddle = np.exp(-((pair[0] / 15) ** 2))
    return -58 + middle * (14 + 12 * saddle * (1 - anterior)) + 18 * anterior


def _head_outline(points: np.ndarray, pair: np.ndarray, scalp: np.ndarray) -> np.ndarray:
    face = blend(ellipsoid(points, (0, 42, -56), (66, 60, 52)), ellipsoid(points, (0, 50, -92), (46, 46, 30)), 15)
    neck = tube(np.stack([points[0], points[1] * 0.9, points[2]]), [(0, -18, -50), (0, -26, -220)], 55)
    nose = tube(points, [(0, 92, -34), (0, 104, -62)], 6, 11)
    ears = ellipsoid(pair, (75, -12, -32), (7, 13, 22))
    return union(blend(scalp, blend(blend(face, neck, 20), nose, 8), 16), ears)


def _inside_head(
    points: np.ndarray, pair: np.ndarray, cranium: np.ndarray, body: np.ndarray, noise: Noise, rng: np.random.Generator
) -> Iterator[Layer]:
    yield from _head_soft_tissue(pair, cranium, body, noise, rng)
    yield from _neck(points, pair, noise, rng)
    yield from _facial_bones(pair, rng)

    temple = np.exp(-(((pair[1] - 22) / 26) ** 2) - ((pair[2] + 16) / 24) ** 2)
    vault = cranium + np.float32(rng.uniform(5, 8)) * temple
    below = _skull_floor(pair) - points[2]
    thickness = np.maximum(rng.uniform(6, 8.5) + noise(35), 5)
    table = rng.uniform(2.6, 3.2)
    cavity = within(vault + thickness, below)
    skull = within(vault, below - thickness)
    yield "cortical", skull
    yield "marrow", within(skull + table, table - cavity)
    yield from _skull_base(pair, noise, rng)
    yield from _brain(points, pair, cavity, noise, rng)
    yield from _orbits(pair)
    yield from _head_air(points, pair, noise, rng)


def _head_soft_tissue(
    pair: np.ndarray, cranium: np.ndarray, body: np.ndarray, noise: Noise, rng: np.random.Generator
) -> Iterator[Layer]:
    fat_mm = rng.uniform(4, 9) + noise(40) + 12 / (1 + np.exp((cranium - 10) / 2))
    yield "fat", body + rng.uniform(2.6, 3.4)
    yield "muscle", body + 2 + np.maximum(fat_mm, 2)
    yield "muscle", ellipsoid(pair, (62, 22, -18), (10, 34, 36))
    yield "fat", within(np.abs(noise(16)) * 12 - 1.5, body + 10)
    yield "fat", ellipsoid(pair, (44, 60, -74), (9, 13, 15))


def _neck(points: np.ndarray, pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    low = pair[2] + 66
    pitch = rng.uniform(15, 18)
    one = np.stack([pair[0], pair[1], np.mod(low, pitch) - pitch / 2])
    yield "tendon", within(np.hypot(pair[0] / 10, (pair[1] + 16) / 7.5) * 8 - 8, low)
    yield "tendon", within(pair[0] - 1.8, np.abs(pair[1] + 66) - 14, low - 16)
    yield "tendon", within(np.abs(noise(13)) * 10 - 0.8, np.abs(pair[1] + 48) - 24, pair[0] - 44, low - 10)
    body = union(ellipsoid(one, (0, -16, 0), (12, 9, 6.5)), ellipsoid(one, (17, -22, 0), (8, 8, 6.5)))
    arch = within(np.abs(np.hypot(pair[0], pair[1] + 34) - 13) - 3, np.abs(one[2]) - 5)
    spine = tube(one, [(0, -47, 1), (0, -64, -2)], 4)
    yield from bone(within(union(body, arch, spine), low), 1.8)
    canal = tube(points, [(0, -34, -46), (0, -34, -70), (0, -34, -220)], 9)
    yield "fluid", canal
    yield "white", tube(points, [(0, -34, -46), (0, -34, -220)], 5)
    yield "vessel", tube(pair, [(27, -4, -220), (24, 0, -90), (20, 2, -52)], rng.uniform(3.5, 5))
    yield "vessel", tube(pair, [(33, -10, -220), (32, -10, -58)], rng.uniform(4.5, 6.5))
    yield "organ", ellipsoid(pair, (56, 6, -72), (8, 14, 20))


def _facial_bones(pair: np.ndarray, rng: np.random.Generator) -> Iterator[Layer]:
    jaw_mm = rng.uniform(2, 9)
    mandible = [(52, 10, -50), (47, 22, -86 - jaw_mm / 2), (14, 78, -101 - jaw_mm), (0, 82, -101 - jaw_mm)]
    yield from bone(ellipsoid(pair, (0, 62, -64), (38, 28, 24)), 1.8)
    yield from bone(tube(pair, [(36, 74, -54), (60, 46, -54)], 6), 2)
    yield from bone(tube(pair, [(60, 46, -54), (65, 8, -50)], 4.5), 2)
    yield from bone(tube(pair, mandible, 7, 8), rng.uniform(2.2, 3))
    yield "cortical", tube(pair, [(15, 26, -52), (14, 26, -76)], 2.5)
    yield "muscle", ellipsoid(pair, (0, 46, -94 - jaw_mm), (24, 28, 14))
    yield "cavity", ellipsoid(pair, (0, 52, -84 - jaw_mm / 2), (19, 30, 3 + jaw_mm * 0.7))
    yield "cortical", ellipsoid(pair, (0, 60, -79), (26, 28, 3))
    arch = ellipsoid(np.stack([pair[0], pair[1], pair[2] * 0]), (0, 54, 0), (23, 32, 1e3))
    for height in (-83.0, -92 - jaw_mm):
        yield "cortical", within(np.hypot(arch, (pair[2] - height) / 1.4) - 3.2, 42 - pair[1])


def _skull_base(pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    yield from bone(tube(pair, [(0, 26, -40), (0, -14, -58)], 13, 8), 2)
    yield "cortical", tube(pair, [(54, -22, -46), (16, 4, -46)], 9, 6)
    mastoid = ellipsoid(pair, (51, -22, -56), (13, 17, 20))
    yield "cortical", mastoid
    yield "cavity", within(mastoid + 2, (noise(7) - rng.uniform(0.4, 1.2)) * 5)
    yield "cavity", tube(pair, [(84, -10, -44), (50, -8, -45)], 3.2)


def _brain(
    points: np.ndarray, pair: np.ndarray, cavity: np.ndarray, noise: Noise, rng: np.random.Generator
) -> Iterator[Layer]:
    surface = cavity + rng.uniform(2.5, 4.5)
    fissure = within(pair[0] - 1.6, 4 - points[2])
    sulci = union(within(np.abs(noise(13)) * 9 - rng.uniform(0.8, 1.5), -surface - 16), fissure)
    swell = rng.uniform(0.8, 1.5)
    horns = union(
        tube(pair, [(9, 30, 8), (12, 0, 18), (15, -32, 12), (24, -54, 2)], 5 * swell, 4 * swell),
        tube(pair, [(20, -40, 2), (34, -12, -16), (32, 8, -20)], 3 * swell),
    )
    yield "fluid", cavity
    yield "grey", within(surface, -sulci)
    yield "white", within(surface + 4, 3.5 - sulci)
    yield "fluid", within(cavity + 1, np.abs(points[2] + 20 + 0.25 * (points[1] + 40)) - 1.5, points[1] + 26)
    cerebellum = within(surface, ellipsoid(pair, (20, -56, -42), (30, 27, 19)))
    yield "grey", cerebellum
    yield "white", within(cerebellum + 7, np.abs(noise(7)) * 6 - 4)
    yield "white", tube(points, [(0, -12, -26), (0, -33, -70)], 12, 6)
    yield "grey", union(ellipsoid(pair, (23, 10, 2), (8, 19, 11)), ellipsoid(pair, (10, -11, 2), (8, 14, 9)))
    yield "fluid", union(horns, ellipsoid(points, (0, -4, -4), (2.5 * swell, 14, 10)))
    yield "tendon", within(pair[0] - 0.8, cavity, 8 - points[2])
    yield "vessel", within(tube(pair, [(0, 70, 40), (0, 0, 68), (0, -70, 40), (0, -92, 0)], 6), cavity, pair[0] - 5)
    yield "vessel", within(np.hypot(cavity + 4, points[2] + 22) - 5, points[1] + 30)
    yield "vessel", tube(pair, [(0, 4, -34), (16, 8, -30), (40, 12, -28)], 2)
    if rng.random() < 0.5:
        yield "cortical", ellipsoid(points, (0, -26, 0), (3, 4, 3))
    place = rng.uniform((-40, -40, 10), (40, 40, 40))
    radius = rng.uniform(3, 9)
    yield "organ", within(ellipsoid(points, (place[0], place[1], place[2]), (radius, radius, radius)), surface + 6)


def _orbits(pair: np.ndarray) -> Iterator[Layer]:
    orbit = union(ellipsoid(pair, (31, 70, -40), (18, 19, 16)), tube(pair, [(30, 66, -40), (12, 40, -38)], 14, 4))
    yield "cortical", within(orbit - 2, pair[1] - 74)
    yield "fat", orbit
    yield "muscle", tube(pair, [(44, 74, -40), (14, 42, -38)], 2)
    yield "muscle", tube(pair, [(19, 74, -40), (11, 42, -38)], 2)
    yield "white", tube(pair, [(31, 66, -40), (9, 38, -37)], 2.2)
    yield "fluid", ellipsoid(pair, (31, 75, -40), (12.2, 12.2, 12.2))
    yield "organ", ellipsoid(pair, (31, 83, -40), (4.5, 2.5, 4.5))


def _head_air(points: np.ndarray, pair: np.ndarray, noise: Noise, rng: np.random.Generator) -> Iterator[Layer]:
    frontal, maxillary, sphenoid, airway = rng.uniform((0.8, 0.9, 0.8, 1.0), (1.5, 1.25, 1.3, 1.5))
    antrum = ellipsoid(pair, (26, 58, -63), (13 * maxillary, 18 * maxillary, 16 * maxillary))
    sinuses = union(
        ellipsoid(pair, (11, 76, -20), (13 * frontal, 6 * frontal, 11 * frontal)),
        ellipsoid(pair, (8, 26, -44), (8 * sphenoid, 13 * sphenoid, 10 * sphenoid)),
        antrum,
    )
    yield "cortical", sinuses - 1.5
    yield "cavity", sinuses
    ethmoid = ellipsoid(pair, (7, 58, -42), (9, 24, 13))
    yield "cortical", ethmoid - 1
    yield "cavity", within(ethmoid, (0.5 - np.abs(noise(9))) * 8)
    nasal = union(ellipsoid(pair, (8, 66, -64), (7, 34, 17)), tube(pair, [(8, 70, -70), (7, 96, -66)], 5))
    yield "muscle", nasal - 1.5
    yield "cavity", nasal
    yield "muscle", tube(pair, [(10, 46, -70), (10, 84, -68)], 4)
    yield "muscle", tube(pair, [(9, 46, -58), (9, 78, -57)], 3)
    wide = np.stack([pair[0] * 0.65, pair[1], pair[2]])
    yield "cavity", tube(wide, [(0, 38, -66), (0, 20, -70), (0, 11, -90), (0, 6, -220)], 10 * airway)
    if rng.random() < 0.6:
        mucus = rng.uniform(54, 74)
        yield "organ", within(antrum, points[2] + mucus, rng.choice([-1, 1]) * points[0])
