"""The phantom's body wall and chest: skin, fat, muscle, diaphragm, lungs, heart, ribs, table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.imaging.phantom_labels import Label
from VoxelFeatLib.imaging.phantom_shapes import (
    Array,
    Path,
    Point,
    Region,
    Texture,
    Waves,
    difference,
    ellipsoid,
    intersection,
    slope,
    tube,
    union,
)

# Distance between vertebrae, and so between ribs; the twelfth thoracic vertebra is one above z = 0.
VERTEBRA_PITCH = 32.0

_HALF_WIDTH, _HALF_DEPTH = 166.0, 114.0
_SKIN = 2.2

# Where ribs turn into cartilage, radians around the body from the back.
_CARTILAGE_ANGLE = 2.15


@dataclass(frozen=True)
class Warp:
    """Smooth random displacement of all organs, and the texture of the body."""

    along: tuple[Waves, Waves, Waves]
    texture: Texture
    outline: Waves

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Warp:
        """Draw a body's own warp."""
        x, y, z = (Waves(rng, 4.5, 150.0) for _ in range(3))
        return cls((x, y, z), Texture(rng), Waves(rng, 4.0, 260.0))


@dataclass(frozen=True)
class Wall:
    """Layers of the body wall over a slab, mm inwards from the skin; (1, J, I) unless noted.

    Attributes:
        depth: (K, J, I) distance below the skin, positive inside.
        fat: Where the subcutaneous fat ends.
        muscle: Where the muscle ends and the cavity begins.
        inset: How much deeper the ribs lie near the spine than at the flanks.
        angle: Around the body, 0 at the back, pi at the front.
    """

    depth: Array
    fat: Array
    muscle: Array
    inset: Array
    angle: Array


def start_slab(x: Array, y: Array, z: Array, warp: Warp, spacing: Point) -> tuple[Region, Wall]:
    """Make a slab of air with its coordinates; axes as `Waves` takes them."""
    wall = _wall(x, y, z, warp.outline)
    cavity = wall.muscle - wall.depth
    dome = (z - _diaphragm(x, y)).astype(np.float32)
    steep = np.hypot(slope(dome[:1], 2, spacing[0]), slope(dome[:1], 1, spacing[1]))
    dome /= np.sqrt(1 + steep * steep)
    curved = y + 5 * np.cos((z + 50) * np.float32(np.pi / 170))  # the spine's lordosis
    position_x, position_y, position_z = (
        axis + wave(x, y, z) for axis, wave in zip((x, curved, z), warp.along, strict=True)
    )
    region = Region(
        (x, y, z),
        position_x,
        position_y,
        position_z,
        hu=np.full(cavity.shape, -1000, dtype=np.float32),
        labels=np.zeros(cavity.shape, dtype=np.uint8),
        texture=warp.texture(x, y, z),
        cavity=cavity,
        dome=dome,
        spacing=spacing,
    )
    return region, wall


def _wall(x: Array, y: Array, z: Array, outline: Waves) -> Wall:
    waist = 1 - 0.035 * np.exp(-(((z + 40) / 90) ** 2))
    across, deep = np.abs(x) / (_HALF_WIDTH * waist), np.abs(y) / (_HALF_DEPTH * waist)
    # Superellipse of exponent 2.5, divided by its slope to be a distance near the skin.
    across_15, deep_15 = across * np.sqrt(across), deep * np.sqrt(deep)
    level = np.maximum(across * across_15 + deep * deep_15, 1e-6) ** 0.4
    steep = np.hypot(across_15 / _HALF_WIDTH, deep_15 / _HALF_DEPTH) / (level * np.sqrt(level))
    skin: Array = (level - 1) / np.maximum(steep, 1e-6)
    skin += outline(x, y, z)
    back, front = np.clip(y / 60, 0, 1), np.clip(-y / 40, 0, 1)
    skin += 7 * back * np.exp(-((x / 13) ** 2))  # the furrow over the spine
    skin = intersection(skin, np.broadcast_to(y - 110, skin.shape), 12.0)  # lying on the table

    angle = np.arctan2(np.abs(x), y)
    beside = np.clip((0.95 - angle) / 0.6, 0, 1)
    inset = 27 * beside * beside * (3 - 2 * beside)
    fat = 13 + 5 * (x / 165) ** 2 + 5 * back
    linea = 0.75 * np.exp(-((x / 5) ** 2)) + 0.45 * np.exp(-(((np.abs(x) - 72) / 6) ** 2))
    muscle = fat + 12 * (1 - front * linea) + inset
    layers = (a.astype(np.float32) for a in (-skin, fat, muscle, inset, angle))
    return Wall(*layers)


def _diaphragm(x: Array, y: Array) -> Array:
    def dome(top: float, x0: float, y0: float, width: float) -> Array:
        return top - 68 * (((x - x0) / width) ** 2 + ((y - y0) / 84) ** 2)

    right, left, heart = dome(112, -72, -12, 86), dome(100, 78, -8, 78), dome(96, 8, -45, 80)
    return -union(union(-right, -left, 25.0), -heart, 25.0)


def paint_wall(region: Region, wall: Wall) -> None:
    """Paint skin, fat, the wall's muscle and the fat that fills the cavity."""
    region.paint(-wall.depth, 25, Label.SKIN)
    region.paint(_SKIN - wall.depth, -104 + 3 * region.texture, Label.SUBCUTANEOUS_FAT)
    flesh = wall.fat - wall.depth
    region.paint(flesh, 60 + 5 * region.texture, Label.ABDOMINAL_WALL_MUSCLE)
    x, y, z = region.axes
    # Fat between the three flat muscles of the flank, which end at the ribs and the back.
    flank = np.maximum(np.maximum(72 - np.abs(x), z - 5 + 0.3 * y), y - 70)
    for depth in (3.6, 8.0):
        region.paint(np.maximum(np.abs(flesh + depth) - 0.5, flank), -70)
    region.paint(region.cavity, -106 + 3 * region.texture, 0)


def paint_table(region: Region) -> None:
    """Paint the curved table: a thin shell around foam."""
    x, y, z = region.axes
    radius = 520.0
    top = np.sqrt(x * x + (y + radius - 115) ** 2) - radius
    board = np.maximum(np.abs(top - 9) - 9, np.abs(x) - 205)
    board = np.broadcast_to(board, region.hu.shape) + 0 * z
    region.paint(board, 40, Label.PATIENT_TABLE)
    region.paint(board + 1.6, -930)


def paint_chest(slab: Region, vessels: list[Path]) -> None:
    """Paint lungs with their vessels, heart and diaphragm; all above about z = 0."""
    region = slab.within((-170, -130, 0), (170, 130, 1e4))
    if region is None:
        return
    heart = ellipsoid(region, (30, -36, 128), (62, 50, 42), tilt=0.35)
    lung = intersection(region.cavity + 1.5, 2.0 - region.dome, 4.0)
    midline = np.hypot(region.x / 34, (region.y - 10) / 52) - 1
    lung = difference(lung, 34 * midline, 10.0)
    midline = np.hypot(region.x / 20, (region.y + 70) / 60) - 1
    lung = difference(lung, 20 * midline, 8.0)
    lung = difference(lung, heart - 3, 6.0)
    # Dependent lung is denser: gravity.
    air = -850 + 0.5 * region.y + 22 * region.texture
    region.paint(np.maximum(lung, region.x), air, Label.RIGHT_LUNG)
    region.paint(np.maximum(lung, -region.x), air, Label.LEFT_LUNG)
    for path in vessels:
        vessel = region.within(*path.bounds)
        if vessel is not None:
            bounds = np.maximum(vessel.cavity + 4, 4 - vessel.dome)
            vessel.paint(np.maximum(tube(vessel, path), bounds), 40)
    sheet = np.maximum(np.abs(region.dome) - 1.7, region.cavity)
    region.paint(sheet, 55)
    region.paint(heart, 96 + 4 * region.texture, Label.HEART)
    left = ellipsoid(region, (48, -30, 128), (27, 24, 20), tilt=0.35)
    rest = ellipsoid(region, (-2, -45, 136), (24, 28, 26))
    region.paint(union(left, rest), 118)


def lung_vessels(rng: np.random.Generator, side: int) -> list[Path]:
    """Grow vessels from the hilum of the right (-1) or left (1) lung, thinner at each fork."""
    hilum = np.array([side * 38.0, 0.0, 175.0])
    tips = [(hilum, np.array([side * 0.5, 0.15, -1.0]), 6.0)]
    branches = []
    while tips:
        start, heading, radius = tips.pop()
        heading = heading / np.linalg.norm(heading)
        stop = start + heading * radius * 7
        nodes = np.stack([start, (start + stop) / 2 + rng.normal(0, 1.5, 3), stop])
        branches.append(Path(nodes, np.array([radius, 0.9 * radius, 0.8 * radius])))
        if radius > 1.2:
            for _ in range(2):
                turned = heading + rng.normal(0, 0.55, 3) + np.array([side * 0.1, 0.1, -0.1])
                tips.append((stop, turned, radius * rng.uniform(0.68, 0.82)))
    return branches


def paint_ribs(region: Region, wall: Wall) -> None:
    """Paint ribs slanting forwards and down inside the wall, and their cartilage."""
    part = region.within((-170, -130, -90), (170, 130, 1e4))
    box = region.box((-170, -130, -90), (170, 130, 1e4))
    if part is None or box is None:
        return
    k, j, i = box
    angle, inset = wall.angle[:, j, i], wall.inset[:, j, i]
    shell = wall.depth[k, j, i] - wall.fat[:, j, i] - 8 - 0.9 * inset
    # How far a rib has dropped at an angle; the cartilage climbs back to the breastbone.
    drop = 58 * angle - 130 * np.maximum(angle - _CARTILAGE_ANGLE, 0)
    start = VERTEBRA_PITCH + 10
    number = np.clip(np.rint((part.z + drop - start) / VERTEBRA_PITCH), 0, None)
    height = part.z + drop - start - VERTEBRA_PITCH * number
    # The two lowest ribs end free, at the back and at the flank.
    end = np.where(number == 0, 0.95, np.where(number == 1, 1.6, 2.75 + 0 * number))
    beyond = 110 * np.maximum(angle - end, 0) + 60 * np.maximum(0.36 - angle, 0)
    across, along = shell / 3.6, height * 0.8 / 5.0
    level = np.sqrt(across * across + along * along + (beyond / 4) ** 2)
    rib = (level - 1) * 3.8
    rib_end = 120 * (angle - _CARTILAGE_ANGLE)
    part.paint(np.maximum(rib, -rib_end), 95 + 10 * part.texture)
    bone = np.maximum(rib, rib_end)
    part.paint(bone, 520, Label.RIBS)
    part.paint(bone + 1.7, 210 + 60 * part.texture)
