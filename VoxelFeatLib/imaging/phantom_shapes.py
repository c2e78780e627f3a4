"""Geometry of the phantom: slabs of voxels, signed distances in mm, anti-aliased painting.

Positions are LPS-like millimetres (x to the patient's left, y to the back, z to the head) around
the centre of the field of view. Distances are negative inside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter

from VoxelFeatLib.imaging.aliases import FloatArray

Array = npt.NDArray[np.floating[Any]]  # single precision all along, for speed
Point = tuple[float, float, float]

# The distance of what is too far away to be computed.
FAR = 99.0

# Blur of the scanner's point spread at an edge, on top of the voxel's own size, mm.
_EDGE_BLUR = 0.7

# Slopes of distances are one; larger ones come from cut-off distances and widen no edge.
_STEEPEST = 1.5

# Farthest that the warp moves a point along one axis, mm.
WARP_REACH = 9.5


class Waves:
    """A smooth random function of position: a sum of products of cosines, within +-amplitude."""

    def __init__(
        self, rng: np.random.Generator, amplitude: float, wavelength: float, count: int = 3
    ) -> None:
        self._amplitude = amplitude / count
        lengths = wavelength * rng.uniform(0.7, 1.4, (count, 3))
        self._frequency = (2 * np.pi / lengths).astype(np.float32)
        self._phase = rng.uniform(0, 2 * np.pi, (count, 3)).astype(np.float32)

    def __call__(self, x: Array, y: Array, z: Array) -> Array:
        """Evaluate on axes that broadcast: (1, 1, I), (1, J, 1), (K, 1, 1) -> (K, J, I)."""
        total: Array | None = None
        for frequency, phase in zip(self._frequency, self._phase, strict=True):
            cos_x, cos_y, cos_z = (
                np.cos(f * axis + p) for f, axis, p in zip(frequency, (x, y, z), phase, strict=True)
            )
            term = (self._amplitude * cos_z * cos_y) * cos_x
            total = term if total is None else np.add(total, term, out=total)
        assert total is not None  # noqa: S101 - count is at least one
        return total


class Texture:
    """Unit-variance noise that belongs to the body: a periodic random block, 2 mm fine."""

    _STEP = 2.0
    _SIZE = 80

    def __init__(self, rng: np.random.Generator) -> None:
        block = rng.standard_normal((self._SIZE,) * 3, dtype=np.float32)
        block = gaussian_filter(block, 0.8, mode="wrap")
        self._block: Array = block / block.std()

    def __call__(self, x: Array, y: Array, z: Array) -> Array:
        """Interpolate trilinearly on axes that broadcast, as for `Waves`."""
        result = self._block
        for axis, positions in ((0, z), (1, y), (2, x)):
            index = positions.ravel() / self._STEP
            lower = np.floor(index).astype(np.int64)
            weight = (index - lower).astype(np.float32)
            weight = weight.reshape([-1 if n == axis else 1 for n in range(3)])
            below = np.take(result, lower % self._SIZE, axis=axis)
            above = np.take(result, (lower + 1) % self._SIZE, axis=axis)
            above -= below
            above *= weight
            result = below + above
        return result


@dataclass
class Region:
    """A box of voxels being painted; the arrays are views of the slab's.

    Attributes:
        axes: Positions of the voxels (1, 1, I), (1, J, 1), (K, 1, 1), mm.
        x, y, z: (K, J, I) the same positions after the anatomy's warp.
        hu, labels, texture: (K, J, I).
        cavity: (K, J, I) distance to the inside of the body wall.
        dome: (K, J, I) distance to the diaphragm, negative below it.
        spacing: Voxel size along x, y, z, mm.
    """

    axes: tuple[Array, Array, Array]
    x: Array
    y: Array
    z: Array
    hu: Array
    labels: npt.NDArray[np.uint8]
    texture: Array
    cavity: Array
    dome: Array
    spacing: Point

    def within(self, low: Point, high: Point) -> Region | None:
        """Return the part that can hold anatomy between two corners, None when there is none."""
        box = self.box(low, high)
        if box is None:
            return None
        k, j, i = box
        axis_x, axis_y, axis_z = self.axes
        return Region(
            (axis_x[:, :, i], axis_y[:, j], axis_z[k]),
            self.x[box],
            self.y[box],
            self.z[box],
            self.hu[box],
            self.labels[box],
            self.texture[box],
            self.cavity[box],
            self.dome[box],
            self.spacing,
        )

    def box(self, low: Point, high: Point) -> tuple[slice, slice, slice] | None:
        """Return the slices along k, j, i that `within` takes."""
        slices = []
        for axis, start, stop, step in zip(self.axes, low, high, self.spacing, strict=True):
            # The axis is regular, so its first value tells where any other is.
            margin = WARP_REACH + step + _EDGE_BLUR
            origin = float(axis.flat[0])
            first = max(0, math.ceil((start - margin - origin) / step))
            last = min(axis.size, math.floor((stop + margin - origin) / step) + 1)
            if first >= last:
                return None
            slices.append(slice(first, last))
        return slices[2], slices[1], slices[0]

    def paint(self, distance: Array, hu: float | Array, label: int | None = None) -> None:
        """Lay ``hu`` over what is there, in proportion to the part of each voxel inside."""
        # One voxel more than can be reached, for the differences.
        reached = np.flatnonzero(distance.min(axis=(0, 2)) < _widest_edge(self.spacing))
        if not len(reached):
            return
        rows = slice(max(0, int(reached[0]) - 1), int(reached[-1]) + 2)
        part = coverage(distance[:, rows], self.spacing)
        if label is not None:
            np.copyto(self.labels[:, rows], np.uint8(label), where=part >= 0.5)
        below = self.hu[:, rows]
        change = (hu[:, rows] if isinstance(hu, np.ndarray) else hu) - below
        change *= part
        below += change


def coverage(distance: Array, spacing: Point) -> Array:
    """Return the fraction of each voxel inside, from the distances at the voxel centres.

    The edge is as wide as the voxel's shadow on the surface normal; the normal's z is what its x
    and y leave of unit length, so that the answer does not depend on how slabs are cut.
    """
    step_x, step_y, step_z = (np.float32(step) for step in spacing)
    slope_x, slope_y = slope(distance, 2, spacing[0]), slope(distance, 1, spacing[1])
    for slopes in (slope_x, slope_y):
        np.abs(slopes, out=slopes)
        np.minimum(slopes, _STEEPEST, out=slopes)
    slope_z = 1 - slope_x * slope_x
    slope_z -= slope_y * slope_y
    np.sqrt(np.maximum(slope_z, 0, out=slope_z), out=slope_z)
    slope_x *= step_x
    slope_y *= step_y
    slope_z *= step_z
    slope_x += slope_y
    slope_x += slope_z
    slope_x += np.float32(_EDGE_BLUR)
    part = np.divide(distance, slope_x, out=slope_x)
    np.subtract(np.float32(0.5), part, out=part)
    np.maximum(part, 0, out=part)
    return np.minimum(part, 1, out=part)


def _widest_edge(spacing: Point) -> float:
    """Return the distance beyond which no voxel is touched, mm."""
    return 0.5 * (_STEEPEST * (spacing[0] + spacing[1]) + spacing[2] + _EDGE_BLUR)


def slope(values: Array, axis: int, step: float) -> Array:
    """Differentiate by central differences, one-sided at the ends; zero along a single voxel."""
    if values.shape[axis] == 1:
        return np.zeros_like(values)
    result = np.empty_like(values)
    source, target = values.swapaxes(axis, 0), result.swapaxes(axis, 0)
    np.subtract(source[2:], source[:-2], out=target[1:-1])
    np.subtract(source[1], source[0], out=target[0])
    np.subtract(source[-1], source[-2], out=target[-1])
    target[0] *= 2
    target[-1] *= 2
    result *= np.float32(0.5 / step)
    return result


def ellipsoid(region: Region, centre: Point, radii: Point, tilt: float = 0.0) -> Array:
    """Approximate distance to an ellipsoid; ``tilt`` (radians) turns it in the x-z plane."""
    x, y, z = region.x - centre[0], region.y - centre[1], region.z - centre[2]
    if tilt:
        cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
        x, z = cos * x + sin * z, cos * z - sin * x
    x /= radii[0]
    y /= radii[1]
    z /= radii[2]
    level = np.sqrt(x * x + y * y + z * z)
    x /= radii[0]
    y /= radii[1]
    z /= radii[2]
    steepness = np.sqrt(x * x + y * y + z * z)
    # |p/r| (|p/r| - 1) / |p/r^2|: exact to first order at the surface.
    distance: Array = level * (level - 1) / np.maximum(steepness, 1e-6)
    return distance


@dataclass(frozen=True)
class Path:
    """A tube's centre line: (n, 3) points and (n,) radii, mm."""

    points: FloatArray
    radii: FloatArray

    @classmethod
    def through(cls, *stations: tuple[float, float, float, float], step: float = 8.0) -> Path:
        """Make a smooth path through (x, y, z, radius) stations, with a point every ``step`` mm."""
        nodes = np.asarray(stations, dtype=np.float64)
        lengths = np.linalg.norm(np.diff(nodes[:, :3], axis=0), axis=1)
        at = np.concatenate(([0.0], np.cumsum(lengths)))
        count = max(2, int(at[-1] / step) + 1)
        dense = CubicSpline(at, nodes)(np.linspace(0, at[-1], count))
        return cls(dense[:, :3], np.maximum(dense[:, 3], nodes[:, 3].min()))

    def scaled(self, factors: FloatArray) -> Path:
        """Return the path with its radii multiplied."""
        return Path(self.points, self.radii * factors)

    @cached_property
    def bounds(self) -> tuple[Point, Point]:
        """Corners of a box around the tube."""
        low = (self.points - self.radii[:, None]).min(axis=0)
        high = (self.points + self.radii[:, None]).max(axis=0)
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def tube(region: Region, path: Path, margin: float = 3.0) -> Array:
    """Distance to a chain of round cones, right up to ``margin`` mm outside the edge."""
    result = np.full(region.hu.shape, FAR, dtype=np.float32)
    starts, stops = path.points[:-1], path.points[1:]
    reach = np.maximum(path.radii[:-1], path.radii[1:]) + margin + _widest_edge(region.spacing)
    lows = np.minimum(starts, stops) - reach[:, None]
    highs = np.maximum(starts, stops) + reach[:, None]
    # Most segments miss a thin slab: find them all at once.
    near = (lows[:, 2] < region.z.max()) & (highs[:, 2] > region.z.min())
    for n in np.flatnonzero(near):
        start, stop = starts[n], stops[n]
        radius, other = float(path.radii[n]), float(path.radii[n + 1])
        low, high = lows[n].tolist(), highs[n].tolist()
        box = region.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        if box is None:
            continue
        x, y, z = (
            axis[box] - np.float32(s)
            for axis, s in zip((region.x, region.y, region.z), start, strict=True)
        )
        along = [np.float32(v) for v in stop - start]
        part = (x * along[0] + y * along[1] + z * along[2]) / np.float32(sum(v * v for v in along))
        np.clip(part, 0, 1, out=part)
        x -= part * along[0]
        y -= part * along[1]
        z -= part * along[2]
        distance = np.sqrt(x * x + y * y + z * z)
        distance -= radius + part * (other - radius)
        np.minimum(result[box], distance, out=result[box])
    return result


def union(first: Array, second: Array, softness: float = 0.0) -> Array:
    """Join two shapes, with a fillet about ``softness`` mm wide (polynomial smooth minimum)."""
    if not softness:
        return np.minimum(first, second)
    blend = np.maximum(softness - np.abs(first - second), 0)
    joined: Array = np.minimum(first, second) - blend * blend / (4 * softness)
    return joined


def intersection(first: Array, second: Array, softness: float = 0.0) -> Array:
    """Keep what is in both shapes, with rounded edges."""
    return -union(-first, -second, softness)


def difference(shape: Array, carved: Array, softness: float = 0.0) -> Array:
    """Keep what is in ``shape`` only."""
    return intersection(shape, -carved, softness)
