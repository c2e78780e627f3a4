"""Weighted sums of a grid's nodes: how cells are rendered, and how their errors go back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix

from VoxelFeatLib.field.grid import NodeGrid
from VoxelFeatLib.field.interpolation import corner_weights, weighted_rows
from VoxelFeatLib.field.network import apply_affine
from VoxelFeatLib.imaging.aliases import Triple

# In cells: nodes that a step hardly uses move less than their noisy mean error asks for.
_DAMPING = 0.25


@dataclass(frozen=True, eq=False)
class NodeBags:
    """Cells as weighted sums of nodes: cell n is sum_c weights[n, c] * nodes[rows[n, c]].

    Attributes:
        rows: (n, m) int64 numbers of nodes; the same one may come several times.
        weights: (n, m).
        shape_kji: The nodes' grid.
    """

    rows: torch.Tensor
    weights: torch.Tensor
    shape_kji: Triple

    @classmethod
    def of(cls, grid: NodeGrid, positions: torch.Tensor) -> NodeBags:
        """Cells that are means over positions (n, K, 3), RAS mm."""
        count, samples = positions.shape[:2]
        coordinates = apply_affine(grid.to_nodes, positions.reshape(-1, 3))
        rows, weights = corner_weights(coordinates, grid.shape_kji)
        return cls(rows.view(count, -1), weights.view(count, -1) / samples, grid.shape_kji)

    def gather(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the cells' values of nodes (nodes, L): (n, L)."""
        return weighted_rows(nodes, self.rows, self.weights)

    def add(
        self,
        nodes: torch.Tensor,
        moves: torch.Tensor,
        *,
        rate: float = 1.0,
        smoothness: float = 0.0,
    ) -> None:
        """Move every node (nodes, L) as its cells ask for, and towards its neighbours.

        A node of usage u (the sum of its weights) moves by
        (sum of weight * move + rate * smoothness * u * bend) / (u (1 + smoothness) + damping).

        Args:
            nodes: Changed in place.
            moves: (n, L) of the cells.
            rate: Share of the bend that is taken; the moves have theirs already.
            smoothness: Weight of the bend (see `bends`) beside the moves.
        """
        add = self._add_cpu if nodes.device.type == "cpu" else self._add
        add(nodes, moves, rate, smoothness)

    def _add_cpu(
        self, nodes: torch.Tensor, moves: torch.Tensor, rate: float, smoothness: float
    ) -> None:
        # A transposed sparse product takes a twentieth of the time of scattered additions, and
        # pages of its result that nothing is added to are never touched.
        starts = np.arange(0, self.rows.numel() + 1, self.rows.shape[1])
        entries = (self.weights.reshape(-1).numpy(), self.rows.reshape(-1).numpy(), starts)
        spread = csr_matrix(entries, shape=(len(moves), len(nodes))).T
        usage = spread @ np.ones(len(moves), dtype=np.float32)
        used = np.flatnonzero(usage)
        sums = (spread @ moves.contiguous().numpy())[used]
        rows, usage = torch.from_numpy(used), usage[used][:, None]
        if smoothness:
            sums += rate * smoothness * usage * bends(nodes, rows, self.shape_kji).numpy()
        sums /= usage * (1 + smoothness) + _DAMPING
        nodes.index_add_(0, rows, torch.from_numpy(sums))

    def _add(
        self, nodes: torch.Tensor, moves: torch.Tensor, rate: float, smoothness: float
    ) -> None:
        usage = self.weights.new_zeros(len(nodes))
        usage.index_add_(0, self.rows.reshape(-1), self.weights.reshape(-1))
        shares = self.weights / (usage[self.rows] * (1 + smoothness) + _DAMPING)
        parts = moves[:, None]
        if smoothness:
            parts = parts + rate * smoothness * bends(nodes, self.rows, self.shape_kji)
        parts = parts * shares[..., None]
        nodes.index_add_(0, self.rows.reshape(-1), parts.view(-1, nodes.shape[1]))


def bends(nodes: torch.Tensor, rows: torch.Tensor, shape_kji: Triple) -> torch.Tensor:
    """How far some nodes are from the mean of their six neighbours: (*rows.shape, L).

    At the grid's faces a node stands for the neighbour that it lacks.

    Args:
        nodes: (nk * nj * ni, L).
        rows: Numbers of nodes, of any shape.
        shape_kji: (nk, nj, ni).
    """
    around = torch.zeros((), device=nodes.device)
    stride = 1
    for size in reversed(shape_kji):
        place = rows // stride % size
        around = around + nodes[rows - stride * (place > 0)]
        around = around + nodes[rows + stride * (place < size - 1)]
        stride *= size
    return around / 6 - nodes[rows]
