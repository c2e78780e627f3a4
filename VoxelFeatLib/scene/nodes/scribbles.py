"""Scribbles: strokes drawn in a slice view, and the voxels that they go through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.scribbles import along

# Corners closer than this many voxels to the one before say nothing new about which voxels.
_THINNING = 0.5


@dataclass(frozen=True)
class Scribble:
    """A stroke.

    Attributes:
        points: Its corners in the volume's own space, mm.
        positive: Whether it is inside of what is wanted.
    """

    points: tuple[Position, ...]
    positive: bool


def voxel_positions(corners_ras: FloatArray, geometry: Geometry) -> list[Position]:
    """Return a position in every voxel of the volume that a stroke goes through.

    Args:
        corners_ras: (N, 3) in the volume's own space, mm; what lies outside is left out.
        geometry: The volume's.
    """
    inside = geometry.contains(corners_ras)
    borders = np.flatnonzero(np.diff(inside.astype(np.int8))) + 1
    found: dict[tuple[int, ...], Position] = {}
    for run, is_inside in zip(
        np.split(corners_ras, borders), np.split(inside, borders), strict=True
    ):
        if not len(run) or not is_inside[0]:
            continue
        points = along(run, geometry)
        for voxel, (r, a, s) in zip(
            geometry.voxels_of(points).tolist(), points.tolist(), strict=True
        ):
            found.setdefault(tuple(voxel), (r, a, s))
    return list(found.values())


def thinned(corners_ras: FloatArray, geometry: Geometry) -> FloatArray:
    """Leave out corners of a stroke that are near the one before; the ends are kept."""
    if len(corners_ras) < 3:
        return corners_ras
    ijk = geometry.to_ijk(corners_ras)
    kept = [0]
    for number in range(1, len(ijk) - 1):
        if np.abs(ijk[number] - ijk[kept[-1]]).max() >= _THINNING:
            kept.append(number)
    return np.asarray(corners_ras[[*kept, len(ijk) - 1]])
