"""Weighted sums of a grid's nodes: how cells are rendered, and how their errors go back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from VoxelFeatLib.field.grid import NodeGrid
from VoxelFeatLib.field.interpolation import corner_weights, weighted_rows
from VoxelFeatLib.field.network import apply_affine

# In cells: nodes that a step hardly uses move less than their noisy mean error asks for.
_DAMPING = 0.25


@dataclass(frozen=True, eq=False)
class NodeBags:
    """Cells as weighted sums of nodes: cell n is sum_c weights[n, c] * nodes[rows[n, c]].

    Attributes:
        rows: (n, m) int64 numbers of nodes; the same one may come several times.
        weights: (n, m).
    """

    rows: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, grid: NodeGrid, positions: torch.Tensor) -> NodeBags:
        """Cells that are means over positions (n, K, 3), RAS mm."""
        count, samples = positions.shape[:2]
        coordinates = apply_affine(grid.to_nodes, positions.reshape(-1, 3))
        rows, weights = corner_weights(coordinates, grid.shape_kji)
        return cls(rows.view(count, -1), weights.view(count, -1) / samples)

    def gather(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the cells' values of nodes (nodes, L): (n, L)."""
        return weighted_rows(nodes, self.rows, self.weights)

    def add(self, nodes: torch.Tensor, moves: torch.Tensor) -> None:
        """Add to every node (nodes, L) the weighted mean of the cells' moves (n, L)."""
        add = self._add_cpu if nodes.device.type == "cpu" else self._add
        add(nodes, moves)

    def _add_cpu(self, nodes: torch.Tensor, moves: torch.Tensor) -> None:
        # A transposed sparse product takes a twentieth of the time of scattered additions, and
        # pages of its result that nothing is added to are never touched.
        starts = np.arange(0, self.rows.numel() + 1, self.rows.shape[1])
        entries = (self.weights.reshape(-1).numpy(), self.rows.reshape(-1).numpy(), starts)
        spread = csr_matrix(entries, shape=(len(moves), len(nodes))).T
        usage = spread @ np.ones(len(moves), dtype=np.float32)
        used = np.flatnonzero(usage)
        sums = (spread @ moves.contiguous().numpy())[used]
        sums /= (usage[used] + _DAMPING)[:, None]
        nodes.index_add_(0, torch.from_numpy(used), torch.from_numpy(sums))

    def _add(self, nodes: torch.Tensor, moves: torch.Tensor) -> None:
        usage = self.weights.new_zeros(len(nodes))
        usage.index_add_(0, self.rows.reshape(-1), self.weights.reshape(-1))
        shares = self.weights / (usage[self.rows] + _DAMPING)
        parts = moves[:, None] * shares[..., None]
        nodes.index_add_(0, self.rows.reshape(-1), parts.view(-1, nodes.shape[1]))
