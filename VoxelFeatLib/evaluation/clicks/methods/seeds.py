"""Clicks as seeds in a label map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.clicks import Click

INSIDE, OUTSIDE = 1, 2


def seed_labels(
    clicks: Sequence[Click], geometry: Geometry, radius_mm: float = 0.0
) -> npt.NDArray[np.int16]:
    """Return (K, J, I) labels: 1 at positive clicks, 2 at negative ones, else 0.

    Args:
        clicks: In the volume; where two meet, the later one counts.
        geometry: Of the labels.
        radius_mm: Of the ball that each click paints; 0 for its voxel alone.
    """
    labels = np.zeros(geometry.shape_kji, dtype=np.int16)
    spacing = geometry.spacing[::-1]
    reach = np.floor(radius_mm / spacing).astype(np.int64)
    steps = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    ball = steps[np.square(steps * spacing).sum(axis=1) <= radius_mm**2 + 1e-9]
    centres = geometry.voxels_of([click.ras for click in clicks])
    for centre, click in zip(centres, clicks, strict=True):
        voxels = centre + ball
        voxels = voxels[((voxels >= 0) & (voxels < labels.shape)).all(axis=1)]
        labels[tuple(voxels.T)] = INSIDE if click.positive else OUTSIDE
    # No brush may paint over the very place of another click.
    signs = [INSIDE if click.positive else OUTSIDE for click in clicks]
    labels[tuple(centres.T)] = signs
    return labels
