"""How alike the rest of a volume is to the voxel under a point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.statistics import FeatureStatistics

# Points whose features are held at once.
_POINTS = 1 << 16
# A vector shorter than this has no direction.
_SHORTEST = 1e-6


def similarity(
    volume: Volume,
    field: FeatureField,
    ras: Position,
    lattice: Lattice,
    statistics: FeatureStatistics | None = None,
) -> npt.NDArray[np.float32]:
    """Compare the point's x = [features, intensity] with that of every point of a lattice.

    Args:
        volume: The volume.
        field: Its field.
        ras: The point in mm.
        lattice: Where to compare; ``Lattice.of_voxels`` for a box of voxels.
        statistics: Compare in the whitened space, where unusual directions count and common ones
            do not; in the features' own units when None.

    Returns:
        (nk, nj, ni) float32 cosines, -1 to 1.

    Raises:
        InputError: The point lies outside the volume.
    """
    if not volume.geometry.contains(ras):
        raise InputError("The point lies outside the volume.", volume.geometry.bounds_text())
    reference = _directions(samples_at(field, volume, [ras]), statistics)[0]
    result = np.empty(lattice.shape_kji, dtype=np.float32)
    for planes, rows, slab in _slabs(lattice):
        positions = slab.ras(volume.geometry, field.device)
        features = field.features_on(slab).flatten(0, 2).float().cpu().numpy()
        intensity = volume.intensity_at(positions.reshape(-1, 3).cpu().numpy())
        x = np.concatenate([features, intensity[:, None]], axis=1)
        result[planes, rows] = (_directions(x, statistics) @ reference).reshape(slab.shape_kji)
    return np.clip(result, -1, 1)


def _slabs(lattice: Lattice) -> Iterator[tuple[slice, slice, Lattice]]:
    """Cut along k, and then along j where one plane holds too many points."""
    for planes, slab in lattice.slabs(_POINTS):
        (nk, nj, ni), (i, j, k) = slab.shape_kji, slab.start_ijk
        most = max(1, _POINTS // (nk * ni))
        for first in range(0, nj, most):
            last = min(first + most, nj)
            start = (i, j + first * slab.step_ijk[1], k)
            part = replace(slab, start_ijk=start, shape_kji=(nk, last - first, ni))
            yield planes, slice(first, last), part


def _directions(x: npt.NDArray[np.float32], statistics: FeatureStatistics | None) -> FloatArray:
    vectors = x.astype(np.float64) if statistics is None else statistics.whiten(x)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _SHORTEST))
