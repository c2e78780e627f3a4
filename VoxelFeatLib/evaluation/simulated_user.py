"""A simulated user: clicks in the middle of the largest mistake."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.components import largest_component


def next_click(
    target: npt.ArrayLike,
    prediction: npt.ArrayLike | None,
    geometry: Geometry,
    *,
    name: str = "",
) -> Click | None:
    """Choose where a user who wants ``target`` would click next.

    Without a prediction (None, or nothing predicted yet) that is the deepest point of the target;
    else the deepest point of the largest connected mistake (26 neighbours), positive where the
    target was missed, negative where something else was included. Depth is the distance in mm to
    the nearest voxel outside; the edge of the volume is outside. Of equally deep voxels the one
    nearest to their middle is taken, so the choice is always the same.

    Args:
        target: (K, J, I), non-zero inside.
        prediction: The same shape, or None.
        geometry: Of both masks.
        name: The click's label.

    Returns:
        The click, at a voxel's centre; None when the prediction is right everywhere.

    Raises:
        InputError: The target is empty, or a mask does not have the geometry's shape.
    """
    wanted = _checked(target, geometry)
    if not wanted.any():
        raise InputError("The target of a simulated user must not be empty.")
    found = np.zeros_like(wanted) if prediction is None else _checked(prediction, geometry)
    if not found.any():
        return Click(_deepest(wanted, geometry), positive=True, label=name)
    missed, wrong = largest_component(wanted & ~found), largest_component(found & ~wanted)
    missed_size, wrong_size = (int(np.count_nonzero(part)) for part in (missed, wrong))
    if not missed_size and not wrong_size:
        return None
    positive = missed_size >= wrong_size
    return Click(_deepest(missed if positive else wrong, geometry), positive, name)


def _checked(mask: npt.ArrayLike, geometry: Geometry) -> Mask:
    array = np.asarray(mask)
    if array.shape != geometry.shape_kji:
        raise InputError(
            f"A mask of shape {array.shape} does not belong to a volume of {geometry.shape_kji}."
        )
    return array != 0


def _deepest(mask: Mask, geometry: Geometry) -> Position:
    """Return the RAS position of the voxel farthest from the outside."""
    box = bounding_box(mask)
    assert box is not None  # noqa: S101 - callers pass what is not empty
    # The frame of zeros makes the box's edge, and so the volume's, count as outside.
    inside = np.pad(mask[box], 1)
    depth = distance_transform_edt(inside, sampling=geometry.spacing[::-1])
    # Rounding must not decide between equals.
    candidates = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    offsets = (candidates - candidates.mean(axis=0)) * geometry.spacing[::-1]
    nearest = candidates[np.round((offsets**2).sum(axis=1), 6).argmin()]
    k, j, i = (int(n) - 1 + s.start for n, s in zip(nearest, box, strict=True))
    r, a, s = geometry.to_ras((i, j, k)).tolist()
    return r, a, s
