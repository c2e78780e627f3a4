"""Trilinear interpolation in node grids stored as rows, with a backward pass that is fast on CPUs too."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch.nn import functional


def corner_weights(
    coordinates: torch.Tensor, shape_kji: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The eight nodes around each position and their trilinear weights.

    Args:
        coordinates: node coordinates (N, 3), i j k; clamped to the grid.
        shape_kji: nodes along each axis, at least two.

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
    offsets = (
        steps[:, None, None] * strides[2] + steps[:, None] * strides[1] + steps * strides[0]
    )
    parts = torch.stack([1 - upper_part, upper_part], dim=2)
    weights = parts[:, 2, :, None, None] * parts[:, 1, None, :, None] * parts[:, 0, None, None, :]
    return first + offsets.reshape(-1), weights.reshape(-1, 8)


class _WeightedRows(torch.autograd.Function):
    """sum_c weights[n, c] * nodes[rows[n, c]].

    embedding_bag computes it in one pass. Its own backward pass takes twenty times as long on a CPU as a
    transposed sparse product, and needs no weights' gradient here.
    """

    @staticmethod
    def forward(
        ctx: Any, nodes: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.count = nodes.shape[0]
        return functional.embedding_bag(rows, nodes, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        (gradient,) = gradients
        if gradient.device.type == "cpu":
            starts = range(0, rows.numel() + 1, rows.shape[1])
            matrix = csr_matrix(
                (weights.reshape(-1).numpy(), rows.reshape(-1).numpy(), starts),
                shape=(rows.shape[0], ctx.count),
            )
            return torch.from_numpy(matrix.T @ gradient.numpy()), None, None
        spread = (gradient[:, None] * weights[..., None]).reshape(-1, gradient.shape[1])
        summed = gradient.new_zeros(ctx.count, gradient.shape[1])
        return summed.index_add_(0, rows.reshape(-1), spread), None, None


def weighted_rows(
    nodes: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Differentiable weighted sums of rows: nodes (n, C), rows and weights (N, 8) -> (N, C)."""
    result: torch.Tensor = _WeightedRows.apply(nodes, rows, weights)
    return result


def interpolate_axis(values: torch.Tensor, dim: int, coordinates: torch.Tensor) -> torch.Tensor:
    """Linear interpolation along one axis at node coordinates (n,), clamped to the grid."""
    last = values.shape[dim] - 1
    position = coordinates.clamp(0, last)
    lower = position.floor().clamp(max=max(last - 1, 0)).long()
    upper = (lower + 1).clamp(max=last)
    shape = [1] * values.ndim
    shape[dim] = -1
    weight = (position - lower).view(shape)
    return torch.lerp(values.index_select(dim, lower), values.index_select(dim, upper), weight)
