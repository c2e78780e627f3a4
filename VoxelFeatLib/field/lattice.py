"""Regular boxes of sample points in a volume's index space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from VoxelFeatLib.imaging.aliases import FloatArray
    from VoxelFeatLib.imaging.geometry import Geometry


@dataclass(frozen=True)
class Lattice:
    """Points at index start + n * step along i, j and k; voxel centres are whole numbers.

    Attributes:
        start_ijk: Index of the first point.
        step_ijk: Index steps.
        shape_kji: Number of points along k, j and i.
    """

    start_ijk: tuple[float, float, float]
    step_ijk: tuple[float, float, float]
    shape_kji: tuple[int, int, int]

    @classmethod
    def of_voxels(cls, start_kji: tuple[int, int, int], stop_kji: tuple[int, int, int]) -> Lattice:
        """Make the lattice of every voxel centre of a box, start included, stop excluded."""
        k, j, i = start_kji
        shape = tuple(stop - start for start, stop in zip(start_kji, stop_kji, strict=True))
        return cls((float(i), float(j), float(k)), (1.0, 1.0, 1.0), (shape[0], shape[1], shape[2]))

    @classmethod
    def covering(
        cls,
        start_kji: tuple[int, int, int],
        stop_kji: tuple[int, int, int],
        spacing_kji: FloatArray,
        most: int,
    ) -> Lattice:
        """Cover a box of voxels with nearly cubic cells, no smaller than voxels, `most` at most.

        The points are the cells' centres.
        """
        first = np.array(start_kji)
        size = np.array(stop_kji) - first
        edge = spacing_kji.min()
        while True:
            step = np.maximum(edge / spacing_kji, 1.0)
            count = np.maximum(np.ceil(size / step - 1e-9), 1).astype(int)
            if count.prod() <= most:
                break
            edge *= max((count.prod() / most) ** (1 / 3), 1.01)
        step = size / count
        k, j, i = (first + (step - 1) / 2).tolist()
        dk, dj, di = step.tolist()
        return cls((i, j, k), (di, dj, dk), (int(count[0]), int(count[1]), int(count[2])))

    @property
    def size(self) -> int:
        """Number of points."""
        return self.shape_kji[0] * self.shape_kji[1] * self.shape_kji[2]

    def axis(self, axis: int, device: torch.device) -> torch.Tensor:
        """Return indices of the points along axis 0 = i, 1 = j, 2 = k; (n,) float32."""
        count = self.shape_kji[2 - axis]
        steps = torch.arange(count, device=device, dtype=torch.float32)
        return self.start_ijk[axis] + self.step_ijk[axis] * steps

    def ras(self, geometry: Geometry, device: torch.device) -> torch.Tensor:
        """Return RAS positions, mm, (nk, nj, ni, 3) float32."""
        i, j, k = (self.axis(axis, device) for axis in range(3))
        matrix = torch.tensor(geometry.ijk_to_ras, dtype=torch.float32, device=device)
        across = k[:, None, None, None] * matrix[:3, 2] + matrix[:3, 3]
        return across + j[:, None, None] * matrix[:3, 1] + i[:, None] * matrix[:3, 0]

    def slabs(self, most: int) -> Iterator[tuple[slice, Lattice]]:
        """Cut along k into slabs of about `most` points (at least one plane): (k range, slab)."""
        planes = max(1, most // max(1, self.shape_kji[1] * self.shape_kji[2]))
        i, j, k = self.start_ijk
        for first in range(0, self.shape_kji[0], planes):
            last = min(first + planes, self.shape_kji[0])
            start = (i, j, k + first * self.step_ijk[2])
            shape = (last - first, self.shape_kji[1], self.shape_kji[2])
            yield slice(first, last), replace(self, start_ijk=start, shape_kji=shape)
