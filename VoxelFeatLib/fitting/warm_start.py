"""First values of a grid network: features of orthogonal slices, resampled directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from VoxelFeatLib.field.grid import GridNetwork, NodeGrid
    from VoxelFeatLib.fitting.channels import ChannelStatistics
    from VoxelFeatLib.imaging.geometry import Geometry


def slice_positions(geometry: Geometry, axis: int, most: int) -> np.ndarray:
    """Return at most `most` evenly spaced voxel indices along an axis, both ends included."""
    size = geometry.shape_kji[::-1][axis]
    return np.linspace(0, size - 1, min(size, most)) if size > 1 else np.zeros(1)


class WarmStart:
    """Sets a grid network to the mean of upsampled features of orthogonal slices.

    Along the slicing axis a node takes the linear mix of its two neighbouring slices, in the plane
    the bilinear mix of cells: before any training the field equals plain trilinear upsampling.
    """

    def __init__(
        self, network: GridNetwork, statistics: ChannelStatistics, axes: tuple[int, ...], most: int
    ) -> None:
        self.network = network
        self.statistics = statistics
        geometry = network.geometry
        self.slices = [(a, float(p)) for a in axes for p in slice_positions(geometry, a, most)]
        self._gaps = {a: _gap(slice_positions(geometry, a, most)) for a in axes}
        self._axes = axes
        for index, latents in enumerate(network.latents):
            network.bases[index].data = statistics.basis(index, latents).to(network.bases[index])
            network.grid(index).values.data.zero_()

    def add(self, maps: list[torch.Tensor], axis: int, position: float) -> None:
        """Take a slice's standardised maps (C, G, G), one a level, at its index along its axis."""
        for level, features in enumerate(maps):
            self._add(level, features, axis, position)

    @torch.no_grad()
    def _add(self, level: int, features: torch.Tensor, axis: int, position: float) -> None:
        grid = self.network.grid(level)
        # B' W f solves the weighted least squares problem, since B' W B = 1.
        projector = self.network.bases[level].T * self.statistics.weights[level]
        latent = torch.einsum("lc,chw->lhw", projector, features)
        node = position * grid.scale_ijk[axis]
        reach = max(1.0, self._gaps[axis] * grid.scale_ijk[axis])
        size = grid.shape_kji[2 - axis]
        weights = _hat(np.arange(size), node, reach)
        touched = np.flatnonzero(weights)
        if not touched.size:
            return
        plane = _on_nodes(latent, grid, self.network.geometry, axis)
        values = grid.values.data.view(*grid.shape_kji, -1).movedim(2 - axis, 0)
        shares = weights / self._totals(grid, axis)
        for index in touched:
            values[index] += float(shares[index]) * plane

    def _totals(self, grid: NodeGrid, axis: int) -> np.ndarray:
        """What all slices of all axes together give each node along this axis."""
        positions = np.array([p for a, p in self.slices if a == axis])
        nodes = positions * grid.scale_ijk[axis]
        reach = max(1.0, self._gaps[axis] * grid.scale_ijk[axis])
        everything = np.arange(grid.shape_kji[2 - axis])
        totals = _hat(everything[:, None], nodes[None, :], reach).sum(1)
        return np.maximum(totals, 1e-12) * len(self._axes)


def _hat(nodes: np.ndarray, centre: float | np.ndarray, reach: float) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(nodes - centre) / reach)


def _gap(positions: np.ndarray) -> float:
    return float(positions[1] - positions[0]) if len(positions) > 1 else np.inf


def _on_nodes(latent: torch.Tensor, grid: NodeGrid, geometry: Geometry, axis: int) -> torch.Tensor:
    """A slice's map (L, G, G) at the nodes' in-plane positions: (rows, columns, L)."""
    columns, rows = (a for a in range(3) if a != axis)
    coordinates = []
    for a in (columns, rows):
        size = geometry.shape_kji[::-1][a]
        nodes = np.arange(grid.shape_kji[2 - a]) / grid.scale_ijk[a]
        coordinates.append(torch.tensor(2 * (nodes + 0.5) / size - 1).to(latent))
    x, y = coordinates
    points = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)
    plane = functional.grid_sample(
        latent[None], points[None], padding_mode="border", align_corners=False
    )
    return plane[0].movedim(0, -1)
