"""Trilinear interpolation in node grids stored as rows, differentiable, fast on CPUs too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch.nn import functional


def corner_weights(
    coordinates: torch.Tensor, shape_kji: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the eight nodes around each position and their trilinear weights.

    Args:
        coordinates: Node coordinates (N, 3), i j k; clamped to the grid.
        shape_kji: Nodes along each axis, at least two.

    Returns:
        Row numbers (N, 8) int64 and weights (N, 8) that sum to one.
    """
    nk, nj, ni = shape_kji
    last = coordinates.new_tensor([ni - 1, nj - 1, nk - 1])
    position = torch.minimum(coordinates.clamp(min=0), last)
    lower = torch.minimum(position.floor(), last - 1)
    upper_part = position - lower
    strides = torch.tensor([1, ni, ni * nj], device=coordinates.device)
    first = (lower.long() * strides).sum(1, keepdim=True)
    steps = torch.tensor([0, 1], device=coordinates.device)
    offsets = steps[:, None, None] * strides[2] + steps[:, None] * strides[1] + steps * strides[0]
    parts = torch.stack([1 - upper_part, upper_part], dim=2)
    weights = parts[:, 2, :, None, None] * parts[:, 1, None, :, None] * parts[:, 0, None, None, :]
    return first + offsets.reshape(-1), weights.reshape(-1, 8)


@dataclass
class NodeUsage:
    """How much recent backward passes used every node: the diagonal by which a step is divided.

    Attributes:
        weights: (n,) sums of interpolation weights.
    """

    weights: torch.Tensor

    def clear(self) -> None:
        """Forget everything."""
        self.weights.zero_()


class _WeightedRows(torch.autograd.Function):
    """sum_c weights[n, c] * nodes[rows[n, c]].

    embedding_bag computes it in one pass. Its own backward pass takes twenty times as long on a
    CPU as a transposed sparse product, and a gradient of the weights is not needed here.
    """

    @staticmethod
    def forward(
        ctx: Any,
        nodes: torch.Tensor,
        rows: torch.Tensor,
        weights: torch.Tensor,
        usage: NodeUsage | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.count = nodes.shape[0]
        ctx.usage = usage
        return functional.embedding_bag(rows, nodes, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weights = ctx.saved_tensors
        if ctx.usage is not None:
            ctx.usage.weights.scatter_add_(0, rows.reshape(-1), weights.reshape(-1))
        spread = _spread_cpu if rows.device.type == "cpu" else _spread
        return spread(gradients[0], rows, weights, ctx.count), None, None, None


def _spread_cpu(
    gradient: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor, count: int
) -> torch.Tensor:
    """The transposed product, (count, C)."""
    starts = range(0, rows.numel() + 1, rows.shape[1])
    matrix = csr_matrix(
        (weights.reshape(-1).numpy(), rows.reshape(-1).numpy(), starts),
        shape=(rows.shape[0], count),
    )
    return torch.from_numpy(matrix.T @ gradient.contiguous().numpy())


def _spread(
    gradient: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor, count: int
) -> torch.Tensor:
    parts = (gradient[:, None] * weights[..., None]).reshape(-1, gradient.shape[1])
    summed = gradient.new_zeros(count, gradient.shape[1])
    return summed.index_add_(0, rows.reshape(-1), parts)


def weighted_rows(
    nodes: torch.Tensor,
    rows: torch.Tensor,
    weights: torch.Tensor,
    usage: NodeUsage | None = None,
) -> torch.Tensor:
    """Sum weighted rows, differentiably: nodes (n, C), rows and weights (N, 8) -> (N, C).

    The backward pass adds to `usage`, where one is given.
    """
    result: torch.Tensor = _WeightedRows.apply(nodes, rows, weights, usage)
    return result


def interpolate_axis(values: torch.Tensor, dim: int, coordinates: torch.Tensor) -> torch.Tensor:
    """Interpolate linearly along one axis at node coordinates (n,), clamped to the grid."""
    last = values.shape[dim] - 1
    position = coordinates.clamp(0, last)
    lower = position.floor().clamp(max=max(last - 1, 0)).long()
    upper = (lower + 1).clamp(max=last)
    shape = [1] * values.ndim
    shape[dim] = -1
    weight = (position - lower).view(shape)
    return torch.lerp(values.index_select(dim, lower), values.index_select(dim, upper), weight)
