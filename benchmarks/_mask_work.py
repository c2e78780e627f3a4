"""What answering a click has to compute and move at least, on a field of node grids."""

from __future__ import annotations

import math

from _roofline import Work

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.imaging.volume import Volume

_FLOAT = 4
# A multiplication and an addition for each of eight corners.
_INTERPOLATION = 16


def whole_work(field: FeatureField, volume: Volume, evaluated: float = 1.0) -> Work | None:
    """Every node read and projected once, the mask written, a share of the voxels looked at."""
    network = field.network
    if not isinstance(network, GridNetwork):
        return None
    values = sum(network.grid(n).values.numel() for n in range(len(network.levels)))
    voxels = math.prod(volume.voxels.shape)
    looked_at = evaluated * voxels
    return Work(
        2 * values + _INTERPOLATION * len(network.levels) * looked_at,
        _FLOAT * values + voxels + looked_at * volume.voxels.itemsize,
    )


def slices_work(field: FeatureField, volume: Volume) -> Work | None:
    """The same for one slice across each axis: two layers of nodes, the slice's own voxels."""
    network = field.network
    if not isinstance(network, GridNetwork):
        return None
    shape = volume.voxels.shape
    pixels = sum(math.prod(shape) // size for size in shape)
    values = sum(
        2 * grid.values.numel() // size
        for grid in (network.grid(n) for n in range(len(network.levels)))
        for size in grid.shape_kji
    )
    return Work(
        2 * values + _INTERPOLATION * len(network.levels) * pixels,
        _FLOAT * values + pixels * (1 + volume.voxels.itemsize),
    )
