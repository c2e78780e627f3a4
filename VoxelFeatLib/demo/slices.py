"""Anatomical slices of a volume in any orientation, as a radiologist hangs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.geometry import Geometry

Orientation = Literal["axial", "coronal", "sagittal"]

# For each orientation: anatomical axes (0 R, 1 A, 2 S) across, down and through; the letters at the
# left, right, top and bottom. Slicer shows the patient's right at the left, anterior at the left.
_HANGING: dict[Orientation, tuple[tuple[int, int, int], str]] = {
    "axial": ((0, 1, 2), "RLAP"),
    "coronal": ((0, 2, 1), "RLSI"),
    "sagittal": ((1, 2, 0), "APSI"),
}


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice of a volume along its own axis nearest to an anatomical one.

    Attributes:
        orientation: Its name.
        letters: Directions at the left, right, top and bottom.
        size_mm: Width and height.
        position_mm: Along the slicing direction, in the volume's RAS.
    """

    orientation: Orientation
    letters: str
    size_mm: tuple[float, float]
    position_mm: float
    _geometry: Geometry
    _axes: tuple[int, int, int]
    _flipped: tuple[bool, bool]
    _index: int

    @classmethod
    def through(cls, geometry: Geometry, orientation: Orientation, ijk: npt.ArrayLike) -> Plane:
        """Make the slice of ``orientation`` that holds the voxel nearest to (i, j, k)."""
        anatomical, letters = _HANGING[orientation]
        nearest = _nearest_axes(geometry)
        across, down, through = (nearest[axis] for axis in anatomical)
        # The left and the top are the positive ends: R or A, and A or S.
        flipped = tuple(
            bool(geometry.directions[axis, nearest[axis]] > 0) for axis in anatomical[:2]
        )
        extent = np.array(geometry.shape_kji[::-1]) * geometry.spacing
        center = np.clip(np.rint(np.asarray(ijk)), 0, np.array(geometry.shape_kji[::-1]) - 1)
        return cls(
            orientation,
            letters,
            (float(extent[across]), float(extent[down])),
            float(geometry.to_ras(center)[anatomical[2]]),
            geometry,
            (across, down, through),
            (flipped[0], flipped[1]),
            int(center[through]),
        )

    def cut(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the (rows, columns) slice of a (K, J, I) array as it hangs."""
        across, down, through = self._axes
        image = np.take(array, self._index, axis=2 - through)
        if across > down:  # numpy's axes run k, j, i: the larger index axis is the rows
            image = image.T
        return image[:: -1 if self._flipped[1] else 1, :: -1 if self._flipped[0] else 1]

    def place(self, ras: npt.ArrayLike) -> tuple[float, float, float]:
        """Return a point's mm from the left edge, mm from the top, and mm off the slice."""
        ijk, spacing = self._geometry.to_ijk(ras), self._geometry.spacing
        across, down, through = self._axes
        place = [(ijk[axis] + 0.5) * spacing[axis] for axis in (across, down)]
        for n in range(2):
            if self._flipped[n]:
                place[n] = self.size_mm[n] - place[n]
        off = abs(ijk[through] - self._index) * spacing[through]
        return float(place[0]), float(place[1]), float(off)


def _nearest_axes(geometry: Geometry) -> tuple[int, int, int]:
    """Return which of i, j, k (0, 1, 2) runs along R, A and S; each once, best fit first."""
    fit = np.abs(geometry.directions)
    chosen = [0, 0, 0]
    for _ in range(3):
        anatomical, index = np.unravel_index(fit.argmax(), fit.shape)
        chosen[int(anatomical)] = int(index)
        fit[anatomical, :] = -1
        fit[:, index] = -1
    return chosen[0], chosen[1], chosen[2]
