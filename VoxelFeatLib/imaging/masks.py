"""Where a mask is."""

from __future__ import annotations

import numpy as np

from VoxelFeatLib.imaging.aliases import Mask


def bounding_box(mask: Mask) -> tuple[slice, slice, slice] | None:
    """Return the smallest box of (K, J, I) slices that holds every set voxel; None if none is."""
    # Each look narrows the next: most of a volume is passed over only once.
    used_k = _first_and_last(mask.any(axis=(1, 2)))
    if used_k is None:
        return None
    used_j = _first_and_last(mask[used_k].any(axis=(0, 2)))
    used_i = _first_and_last(mask[used_k].any(axis=(0, 1)))
    if used_j is None or used_i is None:  # cannot be: a voxel in k is one in j and i
        return None
    return used_k, used_j, used_i


def _first_and_last(used: Mask | np.bool_) -> slice | None:
    positions = np.flatnonzero(used)
    return slice(int(positions[0]), int(positions[-1]) + 1) if len(positions) else None
