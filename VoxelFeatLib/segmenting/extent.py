"""Boxes of voxels, and what is said of the voxels in one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask, Triple
from VoxelFeatLib.imaging.geometry import Geometry


@dataclass(frozen=True)
class Extent:
    """A box of voxels, start included, stop excluded; one voxel thick for a slice."""

    start_kji: Triple
    stop_kji: Triple

    @classmethod
    def of(cls, start_kji: Sequence[int], stop_kji: Sequence[int]) -> Extent:
        """Make the extent from any two sequences of three whole numbers, such as arrays."""
        (k0, j0, i0), (k1, j1, i1) = map(int, start_kji), map(int, stop_kji)
        return cls((k0, j0, i0), (k1, j1, i1))

    @classmethod
    def whole(cls, shape_kji: Triple) -> Extent:
        """Make the extent of all voxels of an array."""
        return cls((0, 0, 0), shape_kji)

    @property
    def shape(self) -> Triple:
        """Number of voxels along k, j, i; 0 where it is empty."""
        k, j, i = (max(0, b - a) for a, b in zip(self.start_kji, self.stop_kji, strict=True))
        return k, j, i

    @property
    def size(self) -> int:
        """Number of voxels."""
        return math.prod(self.shape)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The extent as numpy takes it."""
        k, j, i = (slice(a, b) for a, b in zip(self.start_kji, self.stop_kji, strict=True))
        return k, j, i

    def clipped(self, other: Extent) -> Extent:
        """Return the voxels both share; its size is 0 when there are none."""
        start = tuple(map(max, self.start_kji, other.start_kji))
        return Extent.of(start, tuple(map(min, self.stop_kji, other.stop_kji)))

    def within(self, other: Extent) -> tuple[slice, slice, slice]:
        """Return the slices that cut this extent out of an array of another one's voxels."""
        k, j, i = (
            slice(a - first, b - first)
            for a, b, first in zip(self.start_kji, self.stop_kji, other.start_kji, strict=True)
        )
        return k, j, i

    def pieces(self, most_voxels: int) -> Iterator[Extent]:
        """Cut it along its slices, and slices along their rows where one is too large.

        The voxels of the pieces, one after the other, are those of the extent in C order.
        """
        if not self.size:
            return
        (k0, j0, i0), (k1, j1, i1) = self.start_kji, self.stop_kji
        rows = max(1, min(j1 - j0, most_voxels // (i1 - i0)))
        slices = max(1, most_voxels // (rows * (i1 - i0))) if rows == j1 - j0 else 1
        for k in range(k0, k1, slices):
            for j in range(j0, j1, rows):
                yield Extent((k, j, i0), (min(k + slices, k1), min(j + rows, j1), i1))


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of an answer that comes in parts.

    Attributes:
        extent: Which voxels.
        mask: (K, J, I) of the extent's shape.
        final: Whether this is the last chunk, after which every voxel asked for is answered.
        fraction: Of the work that is done, 0 to 1, as far as it is known.
    """

    extent: Extent
    mask: Mask
    final: bool
    fraction: float = 0.0

    @classmethod
    def pause(cls, fraction: float = 0.0) -> Chunk:
        """Say nothing of any voxel: a moment for the caller to look after other things."""
        return cls(Extent.whole((0, 0, 0)), np.zeros((0, 0, 0), dtype=bool), False, fraction)


def box_of_ras(corners_ras: npt.ArrayLike, geometry: Geometry) -> Extent:
    """Return the voxels whose centres lie in the index box around a box in RAS.

    Args:
        corners_ras: (2, 3) two opposite corners in mm, in any order.
        geometry: The volume's geometry; where its axes are oblique to RAS, the result is the
            box of voxels around the RAS box.

    Raises:
        InputError: Not two finite corners, or no voxel of the volume inside.
    """
    corners = np.asarray(corners_ras, dtype=np.float64)
    if corners.shape != (2, 3) or not np.isfinite(corners).all():
        raise InputError("A box needs two opposite corners in RAS millimetres.")
    ijk = geometry.to_ijk(list(product(*corners.T)))
    # Cut while still floating-point numbers: far corners would overflow integers.
    size = geometry.shape_kji[::-1]
    start = np.clip(np.ceil(ijk.min(axis=0) - 1e-6), 0, size).astype(np.int64)[::-1]
    stop = np.clip(np.floor(ijk.max(axis=0) + 1e-6) + 1, 0, size).astype(np.int64)[::-1]
    if (start >= stop).any():
        raise InputError("The box holds no voxel of the volume.", geometry.bounds_text())
    return Extent.of(start.tolist(), stop.tolist())


def check_box(box: Extent, geometry: Geometry) -> None:
    """Check that a box holds at least one voxel and does not leave the volume.

    Raises:
        InputError: It is empty, or partly outside.
    """
    if not box.size or box.clipped(Extent.whole(geometry.shape_kji)) != box:
        raise InputError(
            f"The box from {box.start_kji} to {box.stop_kji} (k, j, i) is empty or leaves the "
            f"volume, which has {geometry.shape_kji} voxels."
        )
