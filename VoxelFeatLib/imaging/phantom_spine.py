"""The phantom's spine and the muscles along it."""

from __future__ import annotations

import numpy as np

from VoxelFeatLib.imaging.phantom_body import VERTEBRA_PITCH
from VoxelFeatLib.imaging.phantom_labels import Label
from VoxelFeatLib.imaging.phantom_shapes import (
    Array,
    Path,
    Region,
    difference,
    tube,
    union,
)

_BODY_Y = 43.0  # centre of the vertebral bodies
_CANAL_Y = 70.0


def paint_spine(slab: Region) -> None:
    """Paint back muscles, psoas, vertebrae with discs and processes, and the spinal canal."""
    _paint_muscles(slab)
    region = slab.within((-52, 18, -1e4), (52, 112, 1e4))
    if region is None:
        return
    # Position relative to the middle of the nearest vertebra.
    local = region.z - VERTEBRA_PITCH * np.rint(region.z / VERTEBRA_PITCH)
    x, y = region.x, region.y
    waist = 2.5 * (1 - (local / 13) ** 2)
    bodies = _oval(x, y - _BODY_Y, 24.0, 17.5)
    # The back of a body is flat or hollow, against the canal.
    bodies = difference(bodies, _oval(x, y - 73, 15, 15), 4.0)
    disc = np.maximum(bodies, np.abs(local) - VERTEBRA_PITCH / 2)
    region.paint(disc + 0.5, 92)
    vertebra = np.maximum(bodies + waist, np.abs(local) - 12.2)
    cancellous = vertebra + 1.3
    arch = _arch(x, y, local)
    canal = np.hypot(x, (y - _CANAL_Y) * 1.12) - 9.5
    arch = difference(arch, canal)
    vertebra = union(vertebra, arch, 3.0)
    region.paint(canal, -60)
    region.paint(vertebra, 560, Label.VERTEBRAE)
    region.paint(union(cancellous, arch + 2.2), 190 + 45 * region.texture)
    region.paint(canal + 0.6, -20, Label.SPINAL_CANAL)
    region.paint(canal + 2.5, 18)
    region.paint(np.hypot(x, (y - _CANAL_Y) * 1.25) - 4.5, 38)


def _oval(x: Array, y: Array, width: float, depth: float) -> Array:
    level = np.sqrt((x / width) ** 2 + (y / depth) ** 2)
    steep = np.sqrt((x / width**2) ** 2 + (y / depth**2) ** 2)
    distance: Array = level * (level - 1) / np.maximum(steep, 1e-6)
    return distance


def _arch(x: Array, y: Array, local: Array) -> Array:
    """Pedicles, laminae, and the transverse, articular and spinous processes."""
    aside = np.abs(x)
    # Laminae: a ring around the canal, open at the level of the disc.
    ring = np.abs(np.hypot(x, (y - _CANAL_Y - 1) * 1.05) - 12.5) - 2.8
    laminae = np.maximum(np.maximum(ring, 68 - y), np.abs(local + 3) - 9 + 0.5 * (y - 80))
    pedicle = np.maximum(np.hypot(aside - 13.5, (local - 4) * 0.75) - 4.6, np.abs(y - 62) - 11)
    # A bar from (14, 72) outwards and back.
    along = np.clip((aside - 14) / 26, 0, 1)
    bar = np.sqrt(
        (aside - 14 - 26 * along) ** 2 + (y - 72 - 8 * along) ** 2 + ((local - 3) * 0.8) ** 2
    )
    transverse = bar - (4.8 - 1.2 * along)
    facets = np.sqrt((aside - 16) ** 2 + (y - 79) ** 2 + (0.45 * (local - 14)) ** 2) - 6.5
    lower = np.sqrt((aside - 15) ** 2 + (y - 81) ** 2 + (0.45 * (local + 14)) ** 2) - 6.0
    # The spinous process slopes down towards the back.
    spinous = np.maximum(
        np.maximum(aside - 3.0, np.abs(y - 92) - 12), np.abs(local + 4 + 0.3 * (y - 84)) - 8.5
    )
    shape = union(union(laminae, pedicle, 3.0), union(transverse, spinous, 2.0), 3.0)
    return union(shape, union(facets, lower), 2.0)


def _paint_muscles(slab: Region) -> None:
    for side, psoas, back in (
        (-1, Label.RIGHT_PSOAS, Label.RIGHT_AUTOCHTHON),
        (1, Label.LEFT_PSOAS, Label.LEFT_AUTOCHTHON),
    ):
        path = Path.through(
            (side * 27, 44, 20, 5),
            (side * 33, 44, -25, 13),
            (side * 42, 40, -80, 20),
            (side * 55, 28, -150, 23),
            (side * 72, 5, -240, 22),
        )
        region = slab.within(*path.bounds)
        if region is not None:
            region.paint(tube(region, path), 60 + 6 * region.texture, psoas)
        quadratus = Path.through(
            (side * 48, 68, 15, 6), (side * 62, 66, -50, 10), (side * 72, 64, -110, 11)
        )
        region = slab.within(*quadratus.bounds)
        if region is not None:
            region.paint(tube(region, quadratus), 60 + 6 * region.texture)
        low, high = sorted((side * 2.0, side * 72.0))
        region = slab.within((low, 55, -1e4), (high, 115, 1e4))
        if region is not None:
            _paint_back(region, side, back)


def _paint_back(region: Region, side: int, label: int) -> None:
    """Erector spinae: a rounded column beside the spine, streaked with fat."""
    aside = region.x * side
    column = _oval(aside - 33, region.y - 85 + 0.10 * aside, 31.0, 20.5)
    column = np.maximum(column, 2.0 - aside)
    region.paint(column - 1.6, -90)
    streaks = np.clip(region.texture - 1.1, 0, None) * 45
    # The cleft between longissimus and iliocostalis.
    cleft = np.abs(aside - 42 + 0.35 * (region.y - 85)) - 0.3
    region.paint(column, 60 + 6 * region.texture - streaks, label)
    region.paint(np.maximum(cleft, column + 3), -40)
