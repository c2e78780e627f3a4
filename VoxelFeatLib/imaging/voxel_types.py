"""Which of the library's voxel types holds an image's values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.volume import VOXEL_TYPES


def voxel_type_for(
    kind: np.dtype[Any], value_range: Callable[[], tuple[float, float]]
) -> np.dtype[Any]:
    """Choose the smallest of our types that holds an image's values.

    Args:
        kind: The image's own type; kept if it is one of ours.
        value_range: Returns the smallest and the largest value; asked only where it matters.
    """
    if kind in VOXEL_TYPES:
        return kind.newbyteorder("=")
    if kind.kind in "iu":
        low, high = value_range()
        for smaller in (np.int16, np.uint16):
            if np.iinfo(smaller).min <= low and high <= np.iinfo(smaller).max:
                return np.dtype(smaller)
    return np.dtype(np.float32)


def as_voxel_type(voxels: npt.NDArray[Any], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return the values in the type chosen for them; too large for float32 becomes infinite."""
    with np.errstate(over="ignore"):
        return voxels.astype(kind, copy=False)


def count_not_finite(voxels: npt.NDArray[Any]) -> int:
    """Count the voxels that are NaN or infinite."""
    return 0 if voxels.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(voxels)))
