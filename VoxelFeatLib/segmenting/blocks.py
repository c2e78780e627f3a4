"""Bounds of a logit over blocks of voxels, from a lattice of their corners.

A logit is a field part plus, per voxel, intensity_weight times the voxel's intensity. The two are
bounded separately. The field part varies at the scale of the feature grids: a block's range is
that of its corners, widened by the second differences of the lattice of corners, which measure how
far the field is from linear interpolation. The intensity is rough, but its least and greatest value
in a block are known exactly.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import Triple
from VoxelFeatLib.imaging.volume import Volume

Array = npt.NDArray[np.float32]

# Linear interpolation errs by at most 1/8 of the second difference where the curvature is even; the
# lattice may be coarser than the field's details, hence four times that.
_SAFETY = 0.5


class BlockBounds:
    """Bounds for one volume cut into blocks from voxel (0, 0, 0) on.

    Args:
        volume: Its intensities' ranges are taken once, here.
        block_kji: Voxels of a block.
    """

    def __init__(self, volume: Volume, block_kji: Triple) -> None:
        self._block_kji = block_kji
        # A window never reverses order, so pooling the voxels needs no copy of the intensities.
        self._darkest = volume.intensity_window(_pooled(volume.voxels, block_kji, np.minimum))
        self._brightest = volume.intensity_window(_pooled(volume.voxels, block_kji, np.maximum))

    def __call__(
        self, corners: Array, intensity_weight: float, blocks: tuple[slice, slice, slice]
    ) -> tuple[Array, Array]:
        """Bound the logits in a box of blocks.

        Args:
            corners: The field part at the blocks' corners, one more than blocks along each axis.
            intensity_weight: Logit per intensity.
            blocks: Which blocks.

        Returns:
            Lower and upper bound of every block.
        """
        bend = _second_differences(corners, self._block_kji)
        error = _SAFETY * _over_corners(bend, np.maximum)
        low = _over_corners(corners, np.minimum) - error
        high = _over_corners(corners, np.maximum) + error
        ends = intensity_weight * self._darkest[blocks], intensity_weight * self._brightest[blocks]
        return low + np.minimum(*ends), high + np.maximum(*ends)


def _pooled(voxels: npt.NDArray[np.generic], block_kji: Triple, pick: np.ufunc) -> Array:
    """Least or greatest voxel of every block; the last ones may be cut short."""
    k, j, i = block_kji
    rows, columns = np.arange(0, voxels.shape[1], j), np.arange(0, voxels.shape[2], i)
    layers = []
    for first in range(0, len(voxels), k):  # layer by layer: no large temporary arrays
        layer = pick.reduce(voxels[first : first + k], axis=0)
        layers.append(pick.reduceat(pick.reduceat(layer, rows, axis=0), columns, axis=1))
    return np.stack(layers)


def _second_differences(values: Array, steps: Triple) -> Array:
    """Sum over the axes of the second differences' sizes at every lattice point."""
    total = np.zeros_like(values)
    for axis, step in enumerate(steps):
        if step == 1:  # every voxel is a lattice point: nothing is interpolated along this axis
            continue
        along, out = np.moveaxis(values, axis, 0), np.moveaxis(total, axis, 0)
        if len(along) < 3:  # two points say nothing about curvature: take their difference for it
            out += np.abs(along[-1] - along[0])
            continue
        bend = np.abs(along[2:] - 2 * along[1:-1] + along[:-2])
        out[1:-1] += bend
        out[0] += bend[0]
        out[-1] += bend[-1]
    return total


def _over_corners(values: Array, pick: np.ufunc) -> Array:
    """Least or greatest value over the eight corners of every block."""
    for axis in range(3):
        along = np.moveaxis(values, axis, 0)
        values = np.moveaxis(pick(along[1:], along[:-1]), 0, axis)
    return values
