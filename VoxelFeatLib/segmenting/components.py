"""26-neighbour connected components, and those that a click touches."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.ndimage

from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.masks import bounding_box

Labels = npt.NDArray[np.int32]
Points = npt.NDArray[np.int64]

# A click beside a component by up to this many voxels still means that component [VISTA3D].
TOUCH_MARGIN = 2

_NEIGHBOURS_26 = np.ones((3, 3, 3), dtype=bool)


def label_components(mask: Mask) -> tuple[Labels, int]:
    """Number the 26-neighbour components of a (K, J, I) mask from 1 on, in array order.

    Returns:
        (K, J, I) int32 labels, 0 outside, and the number of components.
    """
    labels, count = scipy.ndimage.label(mask, structure=_NEIGHBOURS_26, output=np.int32)
    return labels, int(count)


def largest_component(mask: Mask) -> Mask:
    """Keep of a (K, J, I) mask its largest component, of equal ones the first in array order."""
    result = np.zeros(mask.shape, dtype=bool)
    box = bounding_box(mask)
    if box is None:
        return result
    labels, _ = label_components(mask[box])
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    result[box] = labels == sizes.argmax()
    return result


def component_near(labels: Labels, point_kji: npt.ArrayLike, margin: int = TOUCH_MARGIN) -> int:
    """Return the component under a voxel, else the nearest within 1, then 2, ... voxels.

    Args:
        labels: (K, J, I) numbers of components, 0 where there is none.
        point_kji: The voxel; it may lie outside the array.
        margin: The largest step, counted along each axis.

    Returns:
        The component's number, or 0 when none is that near. Of several components at the same
        distance the one first in array order.
    """
    point = np.asarray(point_kji, dtype=np.int64)
    for reach in range(margin + 1):
        start = np.maximum(point - reach, 0)
        stop = np.minimum(point + reach + 1, labels.shape)
        if (start >= stop).any():
            continue
        window = labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        found = np.argwhere(window)
        if len(found):
            nearest = np.square(found + start - point).sum(axis=1).argmin()
            return int(window[tuple(found[nearest])])
    return 0


def touched_components(mask: Mask, points_kji: npt.ArrayLike, margin: int = TOUCH_MARGIN) -> Mask:
    """Keep of a (K, J, I) mask the components that at least one of (N, 3) voxels touches."""
    result = np.zeros(mask.shape, dtype=bool)
    points = np.unique(as_points(points_kji), axis=0)
    box = bounding_box(mask) if len(points) else None
    if box is None:
        return result
    labels, count = label_components(mask[box])
    start = np.array([part.start for part in box])
    chosen = np.zeros(count + 1, dtype=bool)
    # Most points lie on a component, and a scribble has thousands.
    points = points - start
    inside = ((points >= 0) & (points < labels.shape)).all(axis=1)
    under = np.zeros(len(points), dtype=labels.dtype)
    under[inside] = labels[tuple(points[inside].T)]
    chosen[under] = True
    chosen[[component_near(labels, point, margin) for point in points[under == 0]]] = True
    chosen[0] = False
    if chosen.any():
        result[box] = chosen[labels]
    return result


def overlapping_components(mask: Mask, other: Mask) -> Mask:
    """Keep of a (K, J, I) mask the components that share a voxel with another mask."""
    result = np.zeros(mask.shape, dtype=bool)
    box = bounding_box(mask)
    if box is None:
        return result
    labels, count = label_components(mask[box])
    chosen = np.zeros(count + 1, dtype=bool)
    chosen[labels[other[box]]] = True
    chosen[0] = False
    result[box] = chosen[labels]
    return result


def as_points(points_kji: npt.ArrayLike) -> Points:
    """Return voxels as an (N, 3) integer array, (0, 3) when there are none."""
    return np.asarray(points_kji, dtype=np.int64).reshape(-1, 3)
