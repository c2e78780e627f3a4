"""Masks and labels of one voxel grid, brought onto another of any orientation and spacing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry

# Index differences below this are rounding of the two maps. Halves (a voxel centre midway between
# two others, as in down-sampling by an even factor) then always go the same way: up.
_DIGITS = 9


def resample_labels_nearest(
    labels: npt.NDArray[Any], from_geometry: Geometry, to_geometry: Geometry
) -> npt.NDArray[Any]:
    """Take at each voxel centre of ``to_geometry`` the label of the voxel it lies in.

    Args:
        labels: (K, J, I) of any type, on ``from_geometry``.
        from_geometry: Where the labels are.
        to_geometry: Where they are wanted.

    Returns:
        Array of ``to_geometry.shape_kji`` and the labels' type; 0 (False) outside the labels' box.

    Raises:
        InputError: The labels are not of the geometry's shape.
    """
    _check_shape(labels, from_geometry)
    matrix = np.round(from_geometry.ras_to_ijk @ to_geometry.ijk_to_ras, _DIGITS)
    linear = matrix[:3, :3]
    one_per_row = (linear != 0).sum(axis=1) == 1
    if one_per_row.all() and np.linalg.det(linear) != 0:
        return _nearest_parallel(labels, matrix, to_geometry.shape_kji)
    return _nearest_oblique(labels, matrix, to_geometry.shape_kji)


def _check_shape(values: npt.NDArray[Any], geometry: Geometry) -> None:
    if values.shape != geometry.shape_kji:
        raise InputError(
            f"The labels have shape {values.shape}, but their geometry says {geometry.shape_kji}."
        )


def _nearest_parallel(
    labels: npt.NDArray[Any], matrix: FloatArray, shape_kji: tuple[int, int, int]
) -> npt.NDArray[Any]:
    """Resample where every axis runs along one of the other grid's: one index list per axis."""
    source_of_row = [int(np.nonzero(row)[0][0]) for row in matrix[:3, :3]]  # ijk axes of the target
    picked = []
    for row, source in enumerate(source_of_row):
        count = shape_kji[2 - source]
        index = _rounded(matrix[row, source] * np.arange(count) + matrix[row, 3])
        picked.append(index)
    inside = [
        (index >= 0) & (index < size)
        for index, size in zip(picked, labels.shape[::-1], strict=True)
    ]
    result = np.zeros(shape_kji, dtype=labels.dtype)
    block = labels[np.ix_(*(i[keep] for i, keep in zip(picked[::-1], inside[::-1], strict=True)))]
    # The block's axes are the source's k, j, i; bring them into the target's order.
    target_axes = [2 - source for source in source_of_row[::-1]]
    keep_of_target = dict(zip(target_axes, inside[::-1], strict=True))
    result[np.ix_(*(keep_of_target[axis] for axis in range(3)))] = block.transpose(
        np.argsort(target_axes)
    )
    return result


def _nearest_oblique(
    labels: npt.NDArray[Any], matrix: FloatArray, shape_kji: tuple[int, int, int]
) -> npt.NDArray[Any]:
    result = np.zeros(shape_kji, dtype=labels.dtype)
    sizes_kji = labels.shape
    _, rows, columns = shape_kji
    for k in range(shape_kji[0]):  # by slice: the positions of a whole volume would fill memory
        indices = []
        inside = np.ones((rows, columns), dtype=bool)
        for axis, size in zip((2, 1, 0), sizes_kji, strict=True):
            across = matrix[axis, 0] * np.arange(columns)
            down = matrix[axis, 1] * np.arange(rows)[:, None]
            index = _rounded(across + down + (matrix[axis, 2] * k + matrix[axis, 3]))
            inside &= (index >= 0) & (index < size)
            indices.append(index)
        result[k][inside] = labels[tuple(index[inside] for index in indices)]
    return result


def _rounded(index: FloatArray) -> npt.NDArray[np.int64]:
    return np.floor(np.round(index, _DIGITS - 3) + 0.5).astype(np.int64)
