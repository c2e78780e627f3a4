"""The phantom's abdominal organs."""

from __future__ import annotations

import numpy as np

from VoxelFeatLib.imaging.phantom_labels import Label
from VoxelFeatLib.imaging.phantom_shapes import (
    FAR,
    Array,
    Path,
    Point,
    Region,
    Waves,
    difference,
    ellipsoid,
    intersection,
    tube,
    union,
)


class Abdomen:
    """The organs of one body, drawn once; `paint` lays them into any slab."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rough = Waves(rng, 3.5, 55.0, count=4)
        self._fine = Waves(rng, 1.2, 22.0, count=4)
        self._liver_vessels = _liver_vessels(rng)
        self._mesentery = _mesentery(rng)
        self._colon = _colon(rng)

    def paint(self, slab: Region) -> None:
        """Paint all organs; later ones lie over earlier ones where they touch."""
        self._paint_bowel(slab)
        self._paint_colon(slab)
        self._paint_stomach(slab)
        self._paint_spleen(slab)
        self._paint_liver(slab)
        _paint_gallbladder(slab)
        self._paint_pancreas(slab)
        self._paint_kidney(slab, (-63, 40, -26), Label.RIGHT_KIDNEY)
        self._paint_kidney(slab, (64, 37, -12), Label.LEFT_KIDNEY)
        _paint_vessels(slab)

    def _bumps(self, region: Region) -> Array:
        return self._rough(*region.axes) + self._fine(*region.axes)

    def _paint_bowel(self, slab: Region) -> None:
        for path in self._mesentery:
            region = slab.within(*path.bounds)
            if region is not None:
                region.paint(np.maximum(tube(region, path), region.cavity + 3), 95)
        centre, radii = (4.0, -36.0, -116.0), (100.0, 52.0, 80.0)
        region = _around(slab, centre, radii)
        if region is None:
            return
        inside = np.maximum(ellipsoid(region, centre, radii) + self._bumps(region), region.cavity)
        # Loops: the two tunnel systems of a gyroid.
        bend = self._rough(*region.axes)
        x, y, z = (
            np.float32(2 * np.pi / 58) * (axis + factor * bend)
            for axis, factor in ((region.x, 3.0), (region.y, -2.0), (region.z, 2.5))
        )
        gyroid = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
        loops = (0.42 - np.abs(gyroid + 0.05 * region.texture)) * np.float32(58 / (2 * np.pi * 1.4))
        loops = np.maximum(loops, inside + 2 * bend + 4)
        region.paint(loops, 84 + 6 * region.texture, Label.SMALL_BOWEL)
        region.paint(loops + 2.8, 28 + 18 * region.texture)
        # Gas in some of the foremost loops.
        region.paint(np.maximum(loops + 3.2, region.y + 62 + 6 * bend), -900)

    def _paint_colon(self, slab: Region) -> None:
        region = slab.within(*self._colon.bounds)
        if region is None:
            return
        wall = np.maximum(tube(region, self._colon), region.cavity + 1)
        region.paint(wall, 55, Label.COLON)
        lumen = wall + 2.4
        stool = np.where(region.texture > 1.0, -450, 25 + 45 * region.texture)
        region.paint(lumen, stool)
        # Gas rises: nearly all of the transverse colon, a cap in the ascending and descending.
        level = np.clip(-64 + 1.2 * (np.abs(region.x) - 60), -64, -14)
        region.paint(np.maximum(lumen, region.y - level), -960)

    def _paint_stomach(self, slab: Region) -> None:
        path = Path.through(
            (56, 22, 80, 33),
            (70, 10, 64, 38),
            (70, -22, 38, 33),
            (58, -48, 12, 26),
            (28, -60, -6, 21),
            (-4, -58, -8, 17),
            (-28, -46, -2, 10),
            step=7.0,
        )
        region = slab.within(*path.bounds)
        if region is None:
            return
        wall = tube(region, path, 8.0) + 0.7 * self._bumps(region)
        wall = _in_abdomen(region, wall, 2.0)
        region.paint(wall, 66 + 3 * region.texture, Label.STOMACH)
        lumen = wall + 4.5 + 1.2 * self._fine(*region.axes)
        food = 26 + 14 * region.texture + 70 * np.clip(self._rough(*region.axes) / 3, 0, 0.5)
        region.paint(lumen, food)
        region.paint(np.maximum(lumen, region.y + 52), -970)  # the gas bubble over the fluid

    def _paint_spleen(self, slab: Region) -> None:
        centre, radii = (102.0, 32.0, 48.0), (38.0, 52.0, 54.0)
        region = _around(slab, centre, radii)
        if region is None:
            return
        spleen: Array = ellipsoid(region, centre, radii, tilt=-0.25) + self._bumps(region)
        hollow = ellipsoid(region, (61, 2, 48), (40, 50, 60))
        spleen = _in_abdomen(region, difference(spleen, hollow, 10.0), 1.0)
        region.paint(spleen, 101 + 3 * region.texture, Label.SPLEEN)

    def _paint_liver(self, slab: Region) -> None:
        region = slab.within((-160, -110, -90), (95, 100, 125))
        if region is None:
            return
        right = ellipsoid(region, (-84, -4, 38), (80, 94, 96), tilt=0.15)
        left = ellipsoid(region, (-2, -60, 58), (84, 36, 46), tilt=-0.25)
        liver: Array = union(right, left, 30.0) + self._bumps(region)
        # The visceral face: duodenum and pancreas, stomach, right kidney, spine.
        for centre, radii in (
            ((-8.0, -4.0, -14.0), (58.0, 62.0, 58.0)),
            ((78.0, -10.0, 36.0), (46.0, 46.0, 70.0)),
            ((-58.0, 48.0, -32.0), (36.0, 32.0, 62.0)),
            ((2.0, 45.0, 40.0), (44.0, 42.0, 140.0)),
        ):
            liver = difference(liver, ellipsoid(region, centre, radii), 14.0)
        liver = _in_abdomen(region, liver, 0.5)
        fissure = np.maximum(np.abs(region.x + 18 - 0.25 * region.y) - 1.5, region.z - 40)
        liver = difference(liver, np.maximum(fissure, region.y + 38), 5.0)
        region.paint(liver, 99 + 3.5 * region.texture, Label.LIVER)
        for path in self._liver_vessels:
            part = region.box(*path.bounds)
            vessel = region.within(*path.bounds)
            if vessel is not None and part is not None:
                vessel.paint(np.maximum(tube(vessel, path), liver[part] + 5), 150)

    def _paint_pancreas(self, slab: Region) -> None:
        path = Path.through(
            (-24, -14, -38, 12),
            (-22, -18, -18, 15),
            (-4, -26, -4, 9.5),
            (20, -26, 8, 11),
            (46, -8, 20, 11),
            (70, 14, 30, 9),
            step=5.0,
        )
        region = slab.within(*path.bounds)
        if region is None:
            return
        lobules = 1.3 * region.texture
        pancreas = tube(region, path) + self._fine(*region.axes) + lobules
        region.paint(pancreas, 90 + 6 * region.texture, Label.PANCREAS)

    def _paint_kidney(self, slab: Region, centre: Point, label: int) -> None:
        side = 1.0 if centre[0] > 0 else -1.0
        tilt = -0.22 * side
        region = _around(slab, centre, (42.0, 40.0, 66.0))
        if region is None:
            return
        kidney = ellipsoid(region, centre, (29, 27, 55), tilt) + 0.45 * self._rough(*region.axes)
        region.paint(_in_abdomen(region, kidney - 4.5, 1.0), -100, 0)
        hilum = (centre[0] - 17 * side, centre[1] - 9, centre[2])
        sinus = union(
            ellipsoid(region, hilum, (15, 10, 24), tilt),
            ellipsoid(region, (hilum[0] - 12 * side, hilum[1] - 5, hilum[2]), (15, 9, 15), tilt),
            6.0,
        )
        parenchyma = difference(kidney, sinus, 4.0)
        region.paint(parenchyma, 172 + 4 * region.texture, label)
        pyramids = np.maximum(_pyramids(region, centre, tilt), parenchyma + 2)
        region.paint(pyramids, 118)
        pelvis = union(
            ellipsoid(region, hilum, (6, 5, 15), tilt),
            ellipsoid(region, (hilum[0] - 11 * side, hilum[1] - 2, hilum[2] - 4), (11, 5, 7)),
            4.0,
        )
        region.paint(pelvis, 12)
        ureter = Path.through(
            (hilum[0] - 20 * side, hilum[1] - 2, centre[2] - 12, 2.6),
            (34 * side, 22, centre[2] - 60, 2.2),
            (36 * side, 12, -170, 2.2),
        )
        part = slab.within(*ureter.bounds)
        if part is not None:
            part.paint(tube(part, ureter), 30)


def _around(slab: Region, centre: Point, radii: Point) -> Region | None:
    """Return the part of the slab around an ellipsoid, with room for bumps and tilts."""
    low, high = (
        tuple(c + sign * (r + 8) for c, r in zip(centre, radii, strict=True)) for sign in (-1, 1)
    )
    return slab.within((low[0], low[1], low[2]), (high[0], high[1], high[2]))


def _in_abdomen(region: Region, shape: Array, gap: float) -> Array:
    """Cut a shape off at the body wall and below the diaphragm."""
    bounds = np.maximum(region.cavity + gap, region.dome + 1.5 + gap)
    return intersection(shape, bounds, 8.0)


def _pyramids(region: Region, centre: Point, tilt: float) -> Array:
    """Medulla: cones around the sinus, as round blobs at two thirds of the way out."""
    shape = np.full(region.hu.shape, FAR, dtype=np.float32)
    cos, sin = np.cos(tilt), np.sin(tilt)
    for height, turns in ((-0.86, 1), (-0.5, 5), (-0.05, 6), (0.4, 5), (0.8, 2)):
        around = np.sqrt(1 - height**2)
        for turn in range(turns):
            angle = 2 * np.pi * (turn + 0.3 * height) / turns
            x, z = 18.5 * around * np.cos(angle), 38 * height
            y = 17 * around * np.sin(angle)
            # The inverse of the tilt that `ellipsoid` applies.
            middle = (centre[0] + cos * x - sin * z, centre[1] + y, centre[2] + cos * z + sin * x)
            box = region.box(
                (middle[0] - 14, middle[1] - 14, middle[2] - 14),
                (middle[0] + 14, middle[1] + 14, middle[2] + 14),
            )
            if box is not None:
                dx, dy, dz = (
                    axis[box] - np.float32(m)
                    for axis, m in zip((region.x, region.y, region.z), middle, strict=True)
                )
                blob = np.sqrt(dx * dx + dy * dy + dz * dz) - 6.6
                shape[box] = union(shape[box], blob, 2.0)
    return shape


def _paint_gallbladder(slab: Region) -> None:
    path = Path.through((-58, -66, -18, 15), (-50, -52, 0, 14), (-42, -38, 14, 6), step=5.0)
    region = slab.within(*path.bounds)
    if region is not None:
        wall = np.maximum(tube(region, path), region.cavity + 2)
        region.paint(wall, 68, Label.GALLBLADDER)
        region.paint(wall + 1.8, 9)


def _paint_vessels(slab: Region) -> None:
    """Paint the great vessels and their main branches, and the crura of the diaphragm."""
    for side in (-1, 1):
        crus = Path.through((side * 16, 20, 78, 8), (side * 17, 24, 30, 7), (side * 15, 27, -30, 4))
        _paint_tube(slab, crus, 56, None)
    blood, vein = 148.0, 138.0
    branches = (
        (Path.through((6, 8, 18, 4), (4, -10, 16, 3.5), (22, -16, 22, 3)), blood),  # celiac
        (Path.through((6, 8, 4, 4), (4, -8, -8, 4), (6, -14, -80, 3)), blood),  # mesenteric
        (Path.through((10, 14, -12, 3), (26, 20, -10, 3), (48, 30, -12, 2.5)), blood),
        (Path.through((6, 14, -20, 3), (-20, 26, -22, 3), (-46, 32, -25, 2.5)), blood),
        (Path.through((-14, 8, -12, 5), (8, 1, -8, 4.5), (46, 26, -12, 4)), vein),
        (Path.through((-28, 16, -24, 5), (-46, 28, -25, 4)), vein),
        (Path.through((-12, -12, -70, 5), (-8, -14, -14, 6.5), (-22, -20, 10, 7.5),
                      (-46, -18, 28, 7)), vein),  # superior mesenteric, then portal
        (Path.through((-8, -14, -12, 5), (20, -12, 6, 5), (50, 4, 20, 4.5), (84, 24, 34, 4)), vein),
    )  # fmt: skip
    for path, hu in branches:
        _paint_tube(slab, path, hu, None)
    cava = Path.through(
        (-12, -16, 124, 12), (-28, 6, 90, 13), (-27, 14, 20, 12), (-21, 15, -60, 11),
        (-14, 18, -104, 11),
    )  # fmt: skip
    aorta = Path.through((18, 26, 400, 13), (13, 19, 60, 11), (8, 13, -40, 9.5), (5, 16, -102, 8.5))
    for side in (-1, 1):
        iliac = Path.through(
            (-12, 20, -104, 8), (side * 26 - 6, 22, -150, 8), (side * 55, 10, -240, 8)
        )
        _paint_tube(slab, iliac, vein, None)
        iliac = Path.through(
            (5, 16, -102, 7), (side * 24 + 4, 12, -150, 6), (side * 55, 0, -240, 6)
        )
        _paint_tube(slab, iliac, blood, None)
    _paint_tube(slab, cava, vein, Label.INFERIOR_VENA_CAVA)
    _paint_tube(slab, aorta, blood, Label.AORTA)


def _paint_tube(slab: Region, path: Path, hu: float, label: int | None) -> None:
    region = slab.within(*path.bounds)
    if region is not None:
        region.paint(tube(region, path), hu, label)


def _liver_vessels(rng: np.random.Generator) -> list[Path]:
    """Portal branches from the hilum outwards, hepatic veins from the cava down."""
    trees = []
    portal, cava = np.array([-46.0, -18.0, 28.0]), np.array([-26.0, 6.0, 92.0])
    for root, headings in (
        (portal, ((-1.0, -0.3, 0.4), (-1.0, 0.5, -0.4), (0.8, -0.9, 0.5), (-0.7, 0.2, 0.9))),
        (cava, ((-1.0, 0.2, -0.5), (-0.5, -1.0, -0.5), (0.5, -1.0, -0.3))),
    ):
        for heading in headings:
            trees += _branch(rng, root, np.array(heading), 5.0)
    return trees


def _branch(
    rng: np.random.Generator,
    start: np.ndarray[tuple[int], np.dtype[np.float64]],
    heading: np.ndarray[tuple[int], np.dtype[np.float64]],
    radius: float,
) -> list[Path]:
    """Grow a vessel that forks in two, thinner each time, down to 1.3 mm."""
    heading = heading / np.linalg.norm(heading)
    stop = start + heading * radius * 6.5
    middle = (start + stop) / 2 + rng.normal(0, 1.5, 3)
    path = Path(np.stack([start, middle, stop]), radius * np.array([1, 0.9, 0.8]))
    if radius < 1.5:
        return [path]
    grown = [path]
    for _ in range(2):
        grown += _branch(rng, stop, heading + rng.normal(0, 0.5, 3), 0.76 * radius)
    return grown


def _mesentery(rng: np.random.Generator) -> list[Path]:
    """Small vessels fanning out into the mesenteric fat."""
    paths = []
    for _ in range(40):
        z = rng.uniform(-150, -20)
        root = np.array([rng.uniform(-10, 15), -12.0, z + 15])
        stop = np.array([rng.uniform(-85, 85), rng.uniform(-75, -25), z - 15])
        middle = (root + stop) / 2 + rng.normal(0, 8, 3)
        stations = [(*p, r) for p, r in zip((root, middle, stop), (2.4, 1.9, 1.4), strict=True)]
        paths.append(Path.through(*stations))
    return paths


def _colon(rng: np.random.Generator) -> Path:
    """The frame of the colon, pouched by its haustra."""
    path = Path.through(
        (-88, -18, -150, 22),
        (-104, -2, -110, 24),
        (-108, 4, -70, 20),
        (-98, -22, -46, 19),
        (-70, -62, -52, 21),
        (-30, -74, -70, 20),
        (15, -76, -66, 20),
        (62, -66, -38, 20),
        (98, -30, 0, 18),
        (108, 8, 10, 16),
        (112, 24, -30, 15),
        (114, 18, -90, 14),
        (104, 2, -140, 14),
        (80, -10, -190, 14),
        (20, 10, -215, 14),
        step=5.0,
    )
    along = np.arange(len(path.points)) * 5.0
    pouches = 1 + 0.16 * np.sin(2 * np.pi * along / 33 + rng.uniform(0, 6))
    return path.scaled(pouches * (1 + rng.normal(0, 0.04, len(along))))
