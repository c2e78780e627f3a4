"""Region growing by a range of grey levels, as in every medical viewer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from VoxelFeatLib.evaluation.clicks.methods.seeds import INSIDE, OUTSIDE, seed_labels
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.components import touched_components


class ThresholdRegion:
    """Voxels connected to a positive click whose grey level is like those around the clicks.

    The range is the mean ± `width` standard deviations of the voxels within `radius_mm` of positive
    clicks. Negative clicks cut: what is nearer to one of them than to any positive click is not in
    the region.

    Args:
        width: Half the range, in standard deviations.
        radius_mm: Of the balls whose voxels are looked at.
    """

    name = "threshold"

    def __init__(self, width: float = 2.5, radius_mm: float = 6.0) -> None:
        self.settings: dict[str, object] = {"width": width, "radius_mm": radius_mm}
        self._width, self._radius_mm = width, radius_mm
        self._volume: Volume | None = None

    def start(self, volume: Volume) -> None:
        """Begin a new target."""
        self._volume = volume

    def segment(self, clicks: tuple[Click, ...]) -> Mask:
        """Return the (K, J, I) region."""
        assert self._volume is not None  # noqa: S101 - start comes first
        voxels, geometry = self._volume.voxels, self._volume.geometry
        positive = [click for click in clicks if click.positive]
        if not positive:
            return np.zeros(voxels.shape, dtype=bool)
        near = voxels[seed_labels(positive, geometry, self._radius_mm) == INSIDE]
        mean, spread = float(near.mean()), self._width * float(near.std())
        region = (voxels >= mean - spread) & (voxels <= mean + spread)
        points = geometry.voxels_of([click.ras for click in positive])
        region[tuple(points.T)] = True
        region &= _nearer_to_positive(clicks, geometry)
        return touched_components(region, points, margin=0)


def _nearer_to_positive(clicks: Sequence[Click], geometry: Geometry) -> Mask:
    labels = seed_labels(clicks, geometry)
    spacing = geometry.spacing[::-1]
    if not (labels == OUTSIDE).any():
        return np.ones(labels.shape, dtype=bool)
    inside, outside = (
        distance_transform_edt(labels != value, sampling=spacing) for value in (INSIDE, OUTSIDE)
    )
    nearer: Mask = inside <= outside
    return nearer
