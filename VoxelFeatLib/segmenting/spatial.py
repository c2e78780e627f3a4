"""Position as evidence: what lies near a click more likely belongs with it.

Features know no place: a vertebra's neighbour looks like the vertebra. A Gaussian process over
position, with a squared-exponential kernel, gives the probe a smooth term that the clicks pull up
or down around them. Its reduced-rank form is a linear model on cosines of the volume's box, so it
joins the same convex fit, and on regular boxes it costs a few operations a voxel.

Source: Solin and Sarkka, Hilbert space methods for reduced-rank Gaussian process regression,
Statistics and Computing 30, 2020; here with reflecting (cosine) boundaries.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.imaging.aliases import FloatArray
from VoxelFeatLib.imaging.geometry import Geometry

if TYPE_CHECKING:
    from VoxelFeatLib.field.lattice import Lattice


# The kernel's length, of the volume's largest extent: some 5 cm in an abdominal CT.
_LENGTH = 1 / 8
# Cosines whose deviation is below this part of the constant's are left out.
_SMALLEST = 0.3


@dataclass(frozen=True)
class CosineBasis:
    """Products of cosines along a volume's axes, scaled to a Gaussian process of variance 1.

    Attributes:
        geometry: The volume's.
    """

    geometry: Geometry

    @cached_property
    def orders_kji(self) -> npt.NDArray[np.int64]:
        """(B, 3) half waves of every basis function along k, j, i; the constant is none."""
        deviations = self._deviations()
        orders = np.argwhere(deviations >= _SMALLEST)
        return orders[orders.any(axis=1)]

    @cached_property
    def scale(self) -> FloatArray:
        """(B,) factor of every basis function, so that their squares sum to 1 on average."""
        deviations = self._deviations()[tuple(self.orders_kji.T)]
        # The mean square of a cosine over the box is 1/2 along every axis where it is not constant.
        squares = deviations**2 * 0.5 ** (self.orders_kji > 0).sum(axis=1)
        unit = np.sqrt(squares.sum()) if len(squares) else 1.0
        return np.asarray(deviations / unit)

    def at(self, ras: npt.ArrayLike) -> FloatArray:
        """Return the basis functions at (N, 3) RAS mm: (N, B)."""
        kji = self.geometry.to_ijk(np.asarray(ras, dtype=np.float64).reshape(-1, 3))[:, ::-1]
        values = np.tile(self.scale, (len(kji), 1))
        for axis, order in enumerate(self.orders_kji.T):
            values *= self._cosines(axis, kji[:, axis])[:, order]
        return values

    def on(self, lattice: Lattice, coefficients: FloatArray) -> npt.NDArray[np.float32]:
        """Evaluate the sum of (B,) coefficients times basis functions on a box: (nk, nj, ni)."""
        table = np.zeros([n + 1 for n in self._most_orders()])
        table[tuple(self.orders_kji.T)] = coefficients * self.scale
        values = table.astype(np.float32)
        for axis, count in enumerate(lattice.shape_kji):
            steps = np.arange(count, dtype=np.float64)
            index = lattice.start_ijk[2 - axis] + lattice.step_ijk[2 - axis] * steps
            cosines = self._cosines(axis, index).astype(np.float32)
            # The contracted axis goes last, so that three turns restore the order k, j, i.
            values = np.tensordot(values, cosines, axes=(0, 1))
        return np.ascontiguousarray(values)

    def _cosines(self, axis: int, index: npt.NDArray[np.floating[Any]]) -> FloatArray:
        """(N, orders) cosines along an axis; the box ends half a voxel outside the centres."""
        phase = np.pi * (index + 0.5) / self.geometry.shape_kji[axis]
        return np.asarray(np.cos(phase[:, None] * np.arange(self._most_orders()[axis] + 1)))

    def _extents(self) -> FloatArray:
        return np.asarray(self.geometry.spacing[::-1] * self.geometry.shape_kji)

    def _most_orders(self) -> list[int]:
        length = _LENGTH * 2 * self.geometry.radius
        highest = np.sqrt(-4 * np.log(_SMALLEST)) / length
        return [int(n) for n in highest * self._extents() / np.pi]

    def _deviations(self) -> FloatArray:
        """Root of the kernel's spectral density at the frequency of every product of cosines."""
        length = _LENGTH * 2 * self.geometry.radius
        total = np.zeros(())
        for most, extent in zip(self._most_orders(), self._extents(), strict=True):
            total = total[..., None] + (np.pi * np.arange(most + 1) / extent) ** 2
        return np.asarray(np.exp(-(length**2) * total / 4))


@dataclass(frozen=True, eq=False)
class SpatialTerm:
    """A smooth function of position that is added to a head's logit.

    Attributes:
        basis: The functions it is made of.
        coefficients: (B,) their weights.
    """

    basis: CosineBasis
    coefficients: FloatArray

    def at(self, ras: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Evaluate at (N, 3) RAS mm: (N,)."""
        return np.asarray(self.basis.at(ras) @ self.coefficients, dtype=np.float32)

    def on(self, lattice: Lattice) -> npt.NDArray[np.float32]:
        """Evaluate on a regular box: (nk, nj, ni)."""
        return self.basis.on(lattice, self.coefficients)
