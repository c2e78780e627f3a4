"""Positions along a scribble; without torch and scipy, for Slicer's own process."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry


def along(polyline_ras: npt.ArrayLike, geometry: Geometry) -> FloatArray:
    """Resample a scribble so that successive points are at most one voxel apart on every axis.

    Args:
        polyline_ras: (N, 3) corners in mm; one corner gives one point.
        geometry: The volume's geometry.

    Returns:
        (M, 3) RAS mm, from the first corner to the last, at most one point in each voxel.

    Raises:
        InputError: No corner at all, or one outside the volume.
    """
    corners = np.asarray(polyline_ras, dtype=np.float64).reshape(-1, 3)
    if not len(corners):
        raise InputError("A scribble needs at least one point.")
    if not geometry.contains(corners).all():  # checked first: a far one would need endless points
        raise InputError("A scribble goes outside the volume.", geometry.bounds_text())
    pieces = [corners[:1]]
    for start, stop in pairwise(corners):
        steps = int(np.ceil(np.abs(geometry.to_ijk(stop) - geometry.to_ijk(start)).max() - 1e-9))
        weights = np.arange(1, steps + 1)[:, None] / max(steps, 1)
        pieces.append(start + weights * (stop - start))
    points = np.concatenate(pieces)
    voxels = np.rint(geometry.to_ijk(points)).astype(np.int64)
    _, first = np.unique(voxels, axis=0, return_index=True)
    return np.asarray(points[np.sort(first)])
