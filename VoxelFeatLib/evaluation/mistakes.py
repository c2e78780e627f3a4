"""The largest mistake in a mask, and its deepest point, where a user would click next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.aliases import Mask, Position, Triple
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.components import Points, as_points, largest_component


@dataclass(frozen=True, eq=False)
class Mistake:
    """What a user corrects next.

    Attributes:
        mask: (K, J, I) the target before the first click, else the largest connected mistake.
        voxel_kji: Its deepest voxel.
        positive: Whether it was missed; else it was included by mistake.
    """

    mask: Mask
    voxel_kji: Triple
    positive: bool

    def click(self, geometry: Geometry, name: str = "") -> Click:
        """Return the click at the deepest voxel's centre."""
        return Click(position_of(self.voxel_kji, geometry), self.positive, name)


def next_click(
    target: npt.ArrayLike,
    prediction: npt.ArrayLike | None,
    geometry: Geometry,
    *,
    name: str = "",
    clicked: Iterable[Click] = (),
) -> Click | None:
    """Choose where a user who wants ``target`` would click next; arguments as `next_mistake`.

    Args:
        target: (K, J, I), non-zero inside.
        prediction: The same shape, or None.
        geometry: Of both masks.
        name: The click's label.
        clicked: Earlier clicks; their voxels are not clicked again.

    Returns:
        The click, at a voxel's centre; None when there is nothing to correct.

    Raises:
        InputError: As `next_mistake`.
    """
    taken = geometry.voxels_of([click.ras for click in clicked])
    mistake = next_mistake(target, prediction, geometry, taken)
    return None if mistake is None else mistake.click(geometry, name)


def next_mistake(
    target: npt.ArrayLike,
    prediction: npt.ArrayLike | None,
    geometry: Geometry,
    taken_kji: npt.ArrayLike = (),
) -> Mistake | None:
    """Find what a user who wants ``target`` would correct next.

    Without a prediction (None, or nothing predicted) that is the target at its deepest point; else
    the largest connected mistake (26 neighbours), positive where the target was missed, negative
    where something else was included. Depth is the distance in mm to the nearest voxel outside; the
    edge of the volume is outside. Of equally deep voxels the one nearest to their middle is taken,
    and of equally large mistakes what was missed, then the first in array order: the choice is
    always the same.

    Args:
        target: (K, J, I), non-zero inside.
        prediction: The same shape, or None.
        geometry: Of both masks.
        taken_kji: (N, 3) voxels that were clicked before: one click more there would tell nothing,
            so the deepest of the others is taken, and a mistake of which all are taken left alone.

    Returns:
        The mistake; None when the prediction is right wherever a click could tell something.

    Raises:
        InputError: The target is empty, or a mask does not have the geometry's shape.
    """
    wanted = _checked(target, geometry)
    if not wanted.any():
        raise InputError("The target of a simulated user must not be empty.")
    found = np.zeros_like(wanted) if prediction is None else _checked(prediction, geometry)
    taken = as_points(taken_kji)
    if not found.any():
        voxel = _deepest(wanted, geometry, taken)
        return None if voxel is None else Mistake(wanted, voxel, positive=True)
    all_missed, all_wrong = wanted & ~found, found & ~wanted
    while True:
        missed, wrong = largest_component(all_missed), largest_component(all_wrong)
        missed_size, wrong_size = (int(np.count_nonzero(part)) for part in (missed, wrong))
        if not missed_size and not wrong_size:
            return None
        positive = missed_size >= wrong_size
        mask = missed if positive else wrong
        voxel = _deepest(mask, geometry, taken)
        if voxel is not None:
            return Mistake(mask, voxel, positive)
        (all_missed if positive else all_wrong)[mask] = False


def position_of(voxel_kji: npt.ArrayLike, geometry: Geometry) -> Position:
    """Return the RAS position of a voxel's centre."""
    r, a, s = geometry.to_ras(np.asarray(voxel_kji)[::-1]).tolist()
    return r, a, s


def _checked(mask: npt.ArrayLike, geometry: Geometry) -> Mask:
    array = np.asarray(mask)
    if array.shape != geometry.shape_kji:
        raise InputError(
            f"A mask of shape {array.shape} does not belong to a volume of {geometry.shape_kji}."
        )
    return array != 0


def _deepest(mask: Mask, geometry: Geometry, taken_kji: Points) -> Triple | None:
    """Return the voxel farthest from the outside, of those that are not taken; None if all are."""
    box = bounding_box(mask)
    assert box is not None  # noqa: S101 - callers pass what is not empty
    # The frame of zeros makes the box's edge, and so the volume's, count as outside.
    inside = np.pad(mask[box], 1)
    depth = distance_transform_edt(inside, sampling=geometry.spacing[::-1])
    start = np.array([part.start for part in box]) - 1
    near = taken_kji - start
    depth[tuple(near[((near >= 0) & (near < depth.shape)).all(axis=1)].T)] = 0
    if not depth.any():
        return None
    # Rounding must not decide between equals.
    candidates = np.argwhere(depth >= depth.max() * (1 - 1e-9))
    offsets = (candidates - candidates.mean(axis=0)) * geometry.spacing[::-1]
    nearest = candidates[np.round((offsets**2).sum(axis=1), 6).argmin()]
    k, j, i = (nearest + start).tolist()
    return k, j, i
