"""Where the voxels of a volume are: shape and the affine map from voxel indices to millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.errors import GeometryError
from VoxelFeatLib.imaging.aliases import FloatArray

# ITK's world is left-posterior-superior, ours (and Slicer's) right-anterior-superior.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])

# Volume of the box that the three unit axes span: 1 when perpendicular, 0 when they share a plane.
_SMALLEST_AXES_VOLUME = 1e-3


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape and the 4 x 4 map from (i, j, k) indices to RAS millimetres; any orientation.

    Voxel centres are at integer indices. Sheared and left-handed axes are allowed.

    Attributes:
        shape_kji: Number of voxels along k, j, i, as numpy counts them.
        ijk_to_ras: (4, 4) float64, last row 0 0 0 1; not writeable.

    Raises:
        GeometryError: The shape is not positive, the matrix is not finite, or its axes do not
            span three dimensions.
    """

    shape_kji: tuple[int, int, int]
    ijk_to_ras: FloatArray

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape_kji)
        if len(shape) != 3 or min(shape) < 1:
            raise GeometryError(f"A volume needs three positive sizes, not {shape}.")
        matrix = np.array(self.ijk_to_ras, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.array_equal(matrix[3], (0, 0, 0, 1)):
            raise GeometryError("The index-to-millimetre matrix must be an affine 4 x 4 matrix.")
        if not np.isfinite(matrix).all():
            raise GeometryError("The volume's position, spacing or axes are not finite numbers.")
        lengths = np.linalg.norm(matrix[:3, :3], axis=0)
        if lengths.min() <= 0:
            raise GeometryError(
                f"The voxel spacing must be positive, but it is {_listed(lengths)} mm.",
                "Repair the header before loading the volume.",
            )
        if abs(np.linalg.det(matrix[:3, :3] / lengths)) < _SMALLEST_AXES_VOLUME:
            raise GeometryError(
                "The volume's direction matrix is degenerate: its axes do not span three "
                "dimensions.",
                "Repair the header before loading the volume.",
            )
        matrix.flags.writeable = False
        object.__setattr__(self, "shape_kji", shape)
        object.__setattr__(self, "ijk_to_ras", matrix)

    @classmethod
    def from_lps(
        cls,
        shape_kji: Sequence[int],
        spacing_ijk: Sequence[float],
        origin_lps: Sequence[float],
        direction: Sequence[float],
    ) -> Geometry:
        """Convert ITK's description (LPS millimetres, 9 direction numbers row by row).

        Raises:
            GeometryError: A spacing is not positive, or the result is no valid geometry.
        """
        spacing = np.asarray(spacing_ijk, dtype=np.float64)
        if not (spacing > 0).all():
            raise GeometryError(
                f"The voxel spacing must be positive, but it is {_listed(spacing)} mm.",
                "Repair the header before loading the volume.",
            )
        axes = np.asarray(direction, dtype=np.float64).reshape(3, 3)
        matrix = np.eye(4)
        matrix[:3, :3] = _LPS_TO_RAS @ axes * spacing
        matrix[:3, 3] = _LPS_TO_RAS @ np.asarray(origin_lps, dtype=np.float64)
        k, j, i = shape_kji
        return cls((k, j, i), matrix)

    def to_lps(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Return spacing (i, j, k), origin (LPS) and the 9 direction numbers, as ITK takes them."""
        direction = _LPS_TO_RAS @ self.directions
        origin = _LPS_TO_RAS @ self.origin_ras
        return (
            tuple(self.spacing.tolist()),
            tuple((origin + 0.0).tolist()),  # + 0.0 turns -0.0 into 0.0
            tuple((direction + 0.0).ravel().tolist()),
        )

    @cached_property
    def spacing(self) -> FloatArray:
        """(3,) distance between voxel centres along i, j, k in mm."""
        return np.asarray(np.linalg.norm(self.ijk_to_ras[:3, :3], axis=0), dtype=np.float64)

    @property
    def voxel_ml(self) -> float:
        """What one voxel holds, millilitres; of sheared axes, too."""
        return abs(float(np.linalg.det(self.ijk_to_ras[:3, :3]))) / 1000

    @cached_property
    def directions(self) -> FloatArray:
        """(3, 3) unit vectors of the i, j, k axes in RAS, as columns."""
        return np.asarray(self.ijk_to_ras[:3, :3] / self.spacing)

    @property
    def origin_ras(self) -> FloatArray:
        """(3,) centre of voxel (0, 0, 0)."""
        return self.ijk_to_ras[:3, 3]

    @property
    def shear(self) -> float:
        """Largest cosine between two axes: 0 when all are perpendicular."""
        return largest_cosine(self.ijk_to_ras[:3, :3])

    @cached_property
    def ras_to_ijk(self) -> FloatArray:
        """(4, 4) inverse of ``ijk_to_ras``."""
        inverse = np.asarray(np.linalg.inv(self.ijk_to_ras))
        inverse[3] = (0, 0, 0, 1)
        return inverse

    @cached_property
    def centre_ras(self) -> FloatArray:
        """(3,) middle of the volume's box."""
        return self.to_ras((self._shape_ijk - 1) / 2)

    @cached_property
    def radius(self) -> float:
        """Half the largest physical extent (voxels times spacing) in mm."""
        return float((self._shape_ijk * self.spacing).max() / 2)

    @cached_property
    def ras_to_unit(self) -> FloatArray:
        """(4, 4) map to unit coordinates u = (p - centre) / radius, one scale for all axes."""
        matrix = np.diag([1.0, 1.0, 1.0, self.radius]) / self.radius
        matrix[:3, 3] = -self.centre_ras / self.radius
        return matrix

    def to_ras(self, ijk: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) indices (i, j, k) to RAS mm."""
        points = np.asarray(ijk, dtype=np.float64)
        return points @ self.ijk_to_ras[:3, :3].T + self.ijk_to_ras[:3, 3]

    def to_ijk(self, ras: npt.ArrayLike) -> FloatArray:
        """Map (..., 3) RAS mm to indices (i, j, k), not rounded."""
        # Subtracting the origin first keeps the digits when the volume is far from the origin.
        points = np.asarray(ras, dtype=np.float64) - self.origin_ras
        return points @ self.ras_to_ijk[:3, :3].T

    def contains(self, ras: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell for (..., 3) RAS mm which lie in the box of voxels: -1/2 < index < n - 1/2."""
        ijk = self.to_ijk(ras)
        inside = (ijk > -0.5) & (ijk < self._shape_ijk - 0.5)
        return np.asarray(inside.all(axis=-1))

    def voxels_of(self, ras: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the (N, 3) voxels (k, j, i) that hold (N, 3) RAS mm, which may lie outside."""
        ijk = self.to_ijk(np.asarray(ras, dtype=np.float64).reshape(-1, 3))
        return np.rint(ijk).astype(np.int64)[:, ::-1]

    def bounds_text(self) -> str:
        """Say where the volume is: the box around its voxels in RAS mm."""
        corners = self.to_ras(list(product(*((-0.5, n - 0.5) for n in self._shape_ijk))))
        low, high = corners.min(axis=0), corners.max(axis=0)
        spans = (f"{axis} {a:.1f} to {b:.1f}" for axis, a, b in zip("RAS", low, high, strict=True))
        return f"The volume spans {', '.join(spans)} mm."

    def subgrid(
        self, first_ijk: npt.ArrayLike, step_ijk: npt.ArrayLike, shape_kji: Sequence[int]
    ) -> Geometry:
        """Return the grid that starts at an index of this one and steps by indices of it."""
        matrix = self.ijk_to_ras.copy()
        matrix[:3, :3] *= np.asarray(step_ijk, dtype=float)
        matrix[:3, 3] = self.to_ras(first_ijk)
        k, j, i = shape_kji
        return Geometry((k, j, i), matrix)

    def matches(self, other: Geometry, tolerance: float = 1e-3) -> bool:
        """Tell whether both have the same shape and no voxel is more than ``tolerance`` mm off."""
        if self.shape_kji != other.shape_kji:
            return False
        # An affine difference is largest at a corner.
        corners = np.array(list(product(*((0, n - 1) for n in self._shape_ijk))), dtype=np.float64)
        offsets = self.to_ras(corners) - other.to_ras(corners)
        return bool(np.linalg.norm(offsets, axis=1).max() <= tolerance)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape_kji == other.shape_kji and np.array_equal(
            self.ijk_to_ras, other.ijk_to_ras
        )

    def __hash__(self) -> int:
        return hash((self.shape_kji, tuple(self.ijk_to_ras.ravel().tolist())))

    @property
    def _shape_ijk(self) -> npt.NDArray[np.int64]:
        return np.array(self.shape_kji[::-1], dtype=np.int64)


def largest_cosine(axes: FloatArray) -> float:
    """Return the largest absolute cosine between two of the columns of a (3, 3) matrix."""
    unit = axes / np.linalg.norm(axes, axis=0)
    return float(np.abs(unit.T @ unit - np.eye(3)).max())


def _listed(numbers: npt.ArrayLike) -> str:
    return " x ".join(f"{number:g}" for number in np.asarray(numbers).tolist())
