"""Coarse masks: made for the protocol, smoothed as the baseline does, and understood.

Source of the protocol: the method's refinement experiment, in which a reference mask is
down-sampled (nearest neighbour, centred) and smoothed with a Gaussian (anti-aliasing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray, Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.resampling import resample_labels_nearest


def coarsen(
    mask: Mask,
    geometry: Geometry,
    *,
    factor: float | Sequence[float] | None = None,
    mm: float | None = None,
) -> tuple[Mask, Geometry]:
    """Down-sample a mask by nearest neighbour on a grid with the same centre.

    Args:
        mask: (K, J, I).
        geometry: Of the mask.
        factor: Coarse voxels are this many voxels wide, one number or three (i, j, k); or
        mm: their edge in millimetres. No axis becomes finer; where a coarse centre falls between
            two voxels the later one counts.

    Returns:
        The coarse mask and its geometry.

    Raises:
        InputError: Not exactly one of factor and mm, or not positive.
    """
    if (factor is None) == (mm is None):
        raise InputError("Give either a factor or a size in mm for the coarse voxels.")
    wanted = np.asarray(factor, dtype=float) if mm is None else mm / geometry.spacing
    if not ((wanted > 0) & np.isfinite(wanted)).all():
        raise InputError("Coarse voxels need a positive, finite size.")
    if (wanted > geometry.shape_kji[::-1]).all():
        raise InputError("The coarse voxels are larger than the whole mask; choose smaller ones.")
    step = np.maximum(np.broadcast_to(wanted, 3), 1.0)
    size = np.array(geometry.shape_kji[::-1])
    count = np.ceil(size / step - 1e-9).astype(int)
    first = (size - 1) / 2 - (count - 1) / 2 * step
    grid = geometry.subgrid(first, step, (count[2], count[1], count[0]))
    return resample_labels_nearest(mask, geometry, grid), grid


def anti_alias(mask: Mask, geometry: Geometry, sigma_mm: float = 3.0) -> Mask:
    """Smooth a (K, J, I) mask with a Gaussian and cut it at one half: the baseline."""
    return smoothed(mask, geometry.spacing, np.full(3, sigma_mm)) > 0.5


def smoothed(mask: Mask, spacing_ijk: FloatArray, sigma_mm: FloatArray) -> npt.NDArray[np.float32]:
    """Smooth a (K, J, I) mask with a Gaussian of (3,) widths (i, j, k) in mm; edges repeat."""
    sigma = (sigma_mm / spacing_ijk)[::-1]
    return np.asarray(
        scipy.ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest"),
        dtype=np.float32,
    )


# A mask that its blocks do not reproduce (beyond rounding) has none: it was edited, or smooth.
_MOST_WRONG = 0.02


@dataclass(frozen=True)
class _Blocks:
    """How wide the blocks of a mask are along one axis, in voxels, and where one begins."""

    width: float
    begin: float


def underlying_grid(
    mask: Mask, geometry: Geometry, coarse_mm: float | None = None
) -> tuple[Mask, Geometry]:
    """Undo nearest-neighbour up-sampling: find the coarse grid a blocky mask was made from.

    The planes in which a blocky mask changes are whole numbers of blocks apart. A mask without
    blocks is its own grid.

    Args:
        mask: (K, J, I).
        geometry: Of the mask.
        coarse_mm: Edge of the coarse voxels where it is known.

    Returns:
        The mask's value at the centre of every coarse voxel, and the coarse geometry.
    """
    if coarse_mm is not None:
        return coarsen(mask, geometry, mm=coarse_mm)
    box = bounding_box(mask)
    if box is None:
        return mask, geometry
    grown = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in box)
    blocks = [_blocks(mask[grown], axis, grown[axis].start) for axis in (2, 1, 0)]
    known = [b.width * d for b, d in zip(blocks, geometry.spacing, strict=True) if b is not None]
    usual = float(np.median(known)) if known else 0.0
    first, step, shape = np.zeros(3), np.ones(3), list(mask.shape)
    for axis, found in enumerate(blocks):
        block = found or _Blocks(max(usual / geometry.spacing[axis], 1.0), 0.0)
        size = mask.shape[2 - axis]
        before = np.ceil(block.begin / block.width - 1e-6)
        begin = block.begin - before * block.width
        first[axis] = begin + (block.width - 1) / 2
        step[axis] = block.width
        shape[2 - axis] = int(np.ceil((size - begin) / block.width - 1e-6))
    grid = geometry.subgrid(first, step, shape)
    labels = resample_labels_nearest(mask, geometry, grid)
    wrong = np.count_nonzero(resample_labels_nearest(labels, grid, geometry) != mask)
    if wrong > _MOST_WRONG * np.count_nonzero(mask):
        return mask, geometry
    return labels, grid


def _blocks(mask: Mask, axis: int, start: int) -> _Blocks | None:
    """Measure the distances between planes of change; None where there are too few of them."""
    moved = np.moveaxis(mask, axis, 0)
    (planes,) = np.nonzero((moved[1:] != moved[:-1]).any(axis=(1, 2)))
    if len(planes) < 3:
        return None
    gaps = np.diff(planes)
    smallest = int(gaps.min())
    counts = np.rint(gaps / (smallest + 0.5 * (smallest > 1 or gaps.max() > 1)))
    near = gaps <= 2 * smallest + 1
    width = float(gaps[near].sum() / counts[near].sum())
    numbers = np.concatenate([[0], np.cumsum(np.rint(gaps / width))])
    begin = float(np.mean(start + planes + 1 - numbers * width))
    return _Blocks(width, begin)
