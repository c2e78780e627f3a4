"""Oblique views: planes through a volume, their augmentation, their cells' places in RAS.

A view is a base slice of H0 x W0 pixels (its `Frame`), mirror-padded, zoomed, cropped back to
H0 x W0 and resized to the backbone's square input (its `Augmentation`). All of this is affine, so a
view's whole cell map is three vectors: see `View.affine`. Source: VoxelFeat (MIDL 2025), section on
random slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.geometry import Geometry

# A slice whose sides differ by more than this (2|H-W|/(H+W)) is too elongated for a square input.
_ELONGATED = 0.5
# Spacings whose ratio stays below this count as near-isotropic.
_NEAR_ISOTROPIC = 1.5


@dataclass(frozen=True, eq=False)
class Frame:
    """A base slice; pixel (r, q) is at centre + ((q - (W-1)/2) e_u + (r - (H-1)/2) e_v) pitch.

    Attributes:
        centre: RAS position of the slice's centre, mm, shape (3,).
        e_u: Unit vector of increasing columns, RAS, shape (3,).
        e_v: Unit vector of increasing rows, RAS, shape (3,).
        shape: Rows H0 and columns W0.
        pitch: Distance of neighbouring pixels, mm.
    """

    centre: np.ndarray
    e_u: np.ndarray
    e_v: np.ndarray
    shape: tuple[int, int]
    pitch: float

    def points(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Map pixel coordinates to RAS mm; shapes broadcast, a last axis of 3 is added."""
        height, width = self.shape
        along_v = (np.asarray(rows) - (height - 1) / 2)[..., None] * (self.pitch * self.e_v)
        along_u = (np.asarray(columns) - (width - 1) / 2)[..., None] * (self.pitch * self.e_u)
        return self.centre + along_u + along_v


@dataclass(frozen=True)
class Augmentation:
    """Mirror padding, zoom and crop of a base slice, in its pixels.

    Attributes:
        pad: Pixels mirrored on every side.
        zoomed: Rows and columns of the padded image after the zoom.
        offset: First row and column of the crop in the zoomed image.
    """

    pad: int
    zoomed: tuple[int, int]
    offset: tuple[int, int]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Augmentation:
        """Make the augmentation that changes nothing on a slice of this shape."""
        return cls(0, shape, (0, 0))


@dataclass(frozen=True, eq=False)
class View:
    """One oblique slice as a backbone sees it, with the map from feature cells back to RAS."""

    frame: Frame
    augmentation: Augmentation

    @property
    def zoom(self) -> tuple[float, float]:
        """Zoom factors of rows and columns."""
        pad = self.augmentation.pad
        zoomed, shape = self.augmentation.zoomed, self.frame.shape
        return zoomed[0] / (shape[0] + 2 * pad), zoomed[1] / (shape[1] + 2 * pad)

    def slice_coordinates(self, s: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map input coordinates s (down) and t (right) in [0, 1] to base-slice pixels (r, q).

        Cell (a, b) of a G x G feature grid spans s in [a/G, (a+1)/G] and t in [b/G, (b+1)/G]:
        r = (s H0 + offset) / zoom - pad - 1/2.
        """
        height, width = self.frame.shape
        pad, offset, zoom = self.augmentation.pad, self.augmentation.offset, self.zoom
        r = (np.asarray(s) * height + offset[0]) / zoom[0] - pad - 0.5
        q = (np.asarray(t) * width + offset[1]) / zoom[1] - pad - 0.5
        return r, q

    def affine(self) -> np.ndarray:
        """Return the whole map, (3, 3) RAS mm: rows origin, per unit s, per unit t."""
        r, q = self.slice_coordinates(np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
        corners = self.frame.points(r, q)
        return np.stack([corners[0], corners[1] - corners[0], corners[2] - corners[0]])

    def cell_positions(self, grid: int, samples: int = 1) -> np.ndarray:
        """Return each cell's sub-samples in RAS mm, (grid, grid, samples, samples, 3)."""
        centres = (np.arange(grid * samples) + 0.5) / (grid * samples)
        r, q = self.slice_coordinates(centres, centres)
        points = self.frame.points(r[:, None], q[None, :])
        return points.reshape(grid, samples, grid, samples, 3).swapaxes(1, 2)

    def valid_cells(self, grid: int, samples: int, geometry: Geometry) -> np.ndarray:
        """Tell which cells lie wholly in the base slice and the volume: (grid, grid) bool."""
        centres = (np.arange(grid * samples) + 0.5) / (grid * samples)
        r, q = self.slice_coordinates(centres, centres)
        rows = (r > -0.5) & (r < self.frame.shape[0] - 0.5)
        columns = (q > -0.5) & (q < self.frame.shape[1] - 0.5)
        inside = geometry.contains(self.frame.points(r[:, None], q[None, :]))
        inside &= rows[:, None] & columns[None, :]
        return np.all(inside.reshape(grid, samples, grid, samples), axis=(1, 3))


@dataclass(frozen=True)
class ViewLimits:
    """Largest augmentations: padding in pixels, zoom as a fraction, rotations in degrees."""

    pad: int = 15
    zoom: float = 0.2
    in_plane: float = 7.0
    through_plane: float = 7.0


def slicing_axes(geometry: Geometry) -> tuple[int, ...]:
    """Return the index axes (0 = i, 1 = j, 2 = k) along which a volume is sliced.

    BiomedParse's rule: axial (k) unless its slices are too elongated, else the axis with the
    squarest slices. Near-isotropic volumes are also sliced along every other axis whose slices are
    not too elongated.
    """
    extent = geometry.spacing * np.array(geometry.shape_kji[::-1])
    sides = [np.delete(extent, axis) for axis in range(3)]
    ratios = [2 * abs(a - b) / (a + b) for a, b in sides]
    first = 2 if ratios[2] < _ELONGATED else int(np.argmin(ratios))
    if geometry.spacing.max() >= _NEAR_ISOTROPIC * geometry.spacing.min():
        return (first,)
    others = [axis for axis in (2, 1, 0) if axis != first and ratios[axis] < _ELONGATED]
    return (first, *others)


def axis_frame(geometry: Geometry, axis: int, position: float) -> Frame:
    """Return the un-rotated base slice across index axis `axis` at voxel index `position` along it.

    The slice covers the volume's whole extent in its plane, at the finer of the two in-plane
    spacings.
    """
    columns, rows = (a for a in range(3) if a != axis)
    sizes = np.array(geometry.shape_kji[::-1])
    pitch = float(min(geometry.spacing[columns], geometry.spacing[rows]))
    shape = tuple(
        max(1, round(float(sizes[a] * geometry.spacing[a] / pitch))) for a in (rows, columns)
    )
    index = (sizes - 1) / 2
    index[axis] = position
    e_u = geometry.directions[:, columns]
    e_v = geometry.directions[:, rows] - (geometry.directions[:, rows] @ e_u) * e_u
    return Frame(
        geometry.to_ras(index), e_u, e_v / np.linalg.norm(e_v), (shape[0], shape[1]), pitch
    )


def axis_view(geometry: Geometry, axis: int, position: float) -> View:
    """Return the un-augmented view across an index axis at a voxel index."""
    frame = axis_frame(geometry, axis, position)
    return View(frame, Augmentation.none(frame.shape))


def _rotation(axis: np.ndarray, degrees: float) -> np.ndarray:
    """Rodrigues' rotation matrix about a unit axis."""
    angle = np.deg2rad(degrees)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


@dataclass(frozen=True, eq=False)
class ViewSampler:
    """Draws random views of a volume: a pure function of the generator passed in."""

    geometry: Geometry
    axes: tuple[int, ...]
    limits: ViewLimits = ViewLimits()

    def draw(self, rng: np.random.Generator) -> View:
        """Draw a random view: slicing axis, position, both rotations, padding, zoom and crop."""
        axis = self.axes[rng.integers(len(self.axes))]
        size = self.geometry.shape_kji[::-1][axis]
        frame = axis_frame(self.geometry, axis, rng.uniform(-0.5, size - 0.5))
        return self.augment(self._rotate(frame, rng), rng)

    def augment(self, frame: Frame, rng: np.random.Generator) -> View:
        """Make a view of this very plane with random padding, zoom and crop."""
        # Mirroring needs one more pixel than it pads.
        pad = int(rng.integers(0, min(self.limits.pad, min(frame.shape) - 1) + 1))
        factor = rng.uniform(1.0, 1.0 + self.limits.zoom)
        zoomed = tuple(max(side, round((side + 2 * pad) * factor)) for side in frame.shape)
        offset = tuple(
            int(rng.integers(0, z - side + 1)) for z, side in zip(zoomed, frame.shape, strict=True)
        )
        return View(frame, Augmentation(pad, (zoomed[0], zoomed[1]), (offset[0], offset[1])))

    def _rotate(self, frame: Frame, rng: np.random.Generator) -> Frame:
        normal = np.cross(frame.e_u, frame.e_v)
        turn = _rotation(normal, rng.uniform(-self.limits.in_plane, self.limits.in_plane))
        e_u, e_v = turn @ frame.e_u, turn @ frame.e_v
        direction = rng.uniform(0, 2 * np.pi)
        hinge = np.cos(direction) * e_u + np.sin(direction) * e_v
        tilt = _rotation(hinge, rng.uniform(-self.limits.through_plane, self.limits.through_plane))
        return Frame(frame.centre, tilt @ e_u, tilt @ e_v, frame.shape, frame.pitch)
