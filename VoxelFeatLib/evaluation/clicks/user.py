"""How the simulated user clicks: exactly, or as people do, with noise, strokes and a first look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.mistakes import Mistake, next_mistake, position_of
from VoxelFeatLib.imaging.aliases import FloatArray, Mask, Position
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting.clicks import Click
from VoxelFeatLib.segmenting.components import Points
from VoxelFeatLib.segmenting.scribbles import along

# Where the click outside the target is that some methods need to start, mm from it.
NEGATIVE_MM = (6.0, 12.0)

# A user who sees that the hand missed clicks again, so often at most.
_TRIES = 20

# Directions in a slice that a stroke may take.
_DIRECTIONS = 12


@dataclass(frozen=True)
class Habits:
    """How a simulated user clicks.

    Attributes:
        clicks: The user gives up after so many.
        negative: Whether one click outside the target, 6 to 12 mm from it, comes before the first.
            It is not counted.
        noise_mm: Standard deviation of a click's position along every axis. A click that would
            land on the wrong side of the target's border is placed again.
        stroke_mm: Length of the strokes that the user draws instead of clicks; 0 for clicks. A
            stroke lies in the slice of its middle and within the mistake.
        seed: Of all that is random.
    """

    clicks: int = 20
    negative: bool = False
    noise_mm: float = 0.0
    stroke_mm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.clicks < 1 or self.seed < 0:
            raise InputError("A simulated user needs at least one click, and a seed of 0 or more.")
        if not (0 <= self.noise_mm < np.inf and 0 <= self.stroke_mm < np.inf):
            raise InputError("Noise and strokes are lengths in mm, 0 or more.")


class SimulatedUser:
    """Somebody who wants one target and corrects the largest mistake each time.

    Args:
        target: (K, J, I), not empty.
        geometry: Of the target.
        habits: How the user clicks.

    Raises:
        InputError: The target is empty, fills the volume though a click outside is wanted, or is
            not of the geometry's shape.
    """

    def __init__(self, target: Mask, geometry: Geometry, habits: Habits) -> None:
        self._target = np.asarray(target) != 0
        self._geometry = geometry
        self._habits = habits
        # Of its own, so that all methods get the same first clicks.
        self._random = np.random.default_rng((habits.seed, 1))
        self._taken: list[Points] = []

    def before(self) -> list[Click]:
        """Return the clicks that come before the first counted one: none, or one outside."""
        if not self._habits.negative:
            return []
        return [outside_click(self._target, self._geometry, self._habits.seed)]

    def next(self, prediction: Mask | None) -> list[Click]:
        """Return the next click, or the clicks along the next stroke; empty when all is well.

        Raises:
            InputError: As `next_mistake`.
        """
        taken = np.concatenate([np.zeros((0, 3), dtype=np.int64), *self._taken])
        mistake = next_mistake(self._target, prediction, self._geometry, taken)
        return [] if mistake is None else self._clicks_at(mistake)

    def told(self, prediction: Mask, place: Position | None) -> list[Click]:
        """Return the click, or the stroke, at a place that somebody else chose.

        The user says which side of the target's border it is on. Empty where there is no place, or
        all is well.
        """
        if place is None or np.array_equal(prediction, self._target):
            return []
        k, j, i = self._geometry.voxels_of(place)[0].tolist()
        positive = bool(self._target[k, j, i])
        side = self._target if positive else ~self._target
        return self._clicks_at(Mistake(side, (k, j, i), positive))

    def _clicks_at(self, mistake: Mistake) -> list[Click]:
        aimed = np.array([mistake.voxel_kji], dtype=np.int64)
        voxels = aimed
        if self._habits.noise_mm:
            voxels = self._missed(mistake)
        if self._habits.stroke_mm:
            voxels = stroke(mistake.mask, voxels[0], self._geometry, self._habits.stroke_mm)
        # What was aimed at counts as taken, too: noise must not make the user aim there for ever.
        self._taken += [aimed, voxels]
        return [Click(position_of(voxel, self._geometry), mistake.positive) for voxel in voxels]

    def _missed(self, mistake: Mistake) -> Points:
        """Return the voxel that an unsteady hand hits, on the right side of the border."""
        spacing = self._geometry.spacing[::-1]
        for _ in range(_TRIES):
            offset = self._random.normal(0.0, self._habits.noise_mm, 3) / spacing
            voxel = np.rint(np.array(mistake.voxel_kji) + offset).astype(np.int64)
            if _holds(self._target if mistake.positive else ~self._target, voxel):
                return np.asarray(voxel[None])
        return np.array([mistake.voxel_kji], dtype=np.int64)


def outside_click(target: Mask, geometry: Geometry, seed: int) -> Click:
    """Return a click at a random voxel 6 to 12 mm outside a (K, J, I) target.

    Where voxels are so large that there is none, at the voxel whose distance is the nearest to it.

    Raises:
        InputError: The target fills the volume.
    """
    distance: FloatArray = distance_transform_edt(~target, sampling=geometry.spacing[::-1])
    if not distance.any():
        raise InputError("The target fills the volume, so there is no place to click outside.")
    low, high = NEGATIVE_MM
    off = np.where(target, np.inf, np.maximum(low - distance, distance - high).clip(min=0.0))
    places = np.argwhere(off == off.min())
    chosen = places[np.random.default_rng((seed, 0)).integers(len(places))]
    return Click(position_of(chosen, geometry), positive=False)


def stroke(mask: Mask, middle_kji: npt.ArrayLike, geometry: Geometry, length_mm: float) -> Points:
    """Return the (N, 3) voxels of a straight stroke through a voxel, in its slice and in a mask.

    Of twelve directions the one is taken in which the stroke gets the longest.

    Args:
        mask: (K, J, I) that the stroke must not leave.
        middle_kji: The stroke's middle.
        geometry: Of the mask.
        length_mm: The longest it may be.
    """
    middle = np.asarray(middle_kji, dtype=np.int64)
    best: Sequence[npt.NDArray[np.float64]] = [middle.astype(np.float64)] * 2
    longest = 0.0
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        # One mm along the direction, in voxels.
        step = np.array([0.0, np.sin(angle), np.cos(angle)]) / geometry.spacing[::-1]
        ends = [_end(mask, middle, sign * step, length_mm / 2) for sign in (-1.0, 1.0)]
        length = float(np.linalg.norm((ends[1] - ends[0]) * geometry.spacing[::-1]))
        if length > longest + 1e-9:
            best, longest = ends, length
    points = along(geometry.to_ras(np.array(best)[:, ::-1]), geometry)
    voxels: Points = np.unique(geometry.voxels_of(points), axis=0)
    return voxels


def _end(
    mask: Mask, start: Points, step: npt.NDArray[np.float64], reach_mm: float
) -> npt.NDArray[np.float64]:
    """Walk from a voxel, at most half a mm at a time, as long as the way is in the mask."""
    count = max(1, int(np.ceil(reach_mm / 0.5)))
    ways = start + np.linspace(0.0, reach_mm, count + 1)[:, None] * step
    voxels = np.rint(ways).astype(np.int64)
    stop = 1
    while stop < len(ways) and _holds(mask, voxels[stop]):
        stop += 1
    return ways[stop - 1]


def _holds(mask: Mask, voxel: Points) -> bool:
    return bool(((voxel >= 0) & (voxel < mask.shape)).all() and mask[tuple(voxel)])
