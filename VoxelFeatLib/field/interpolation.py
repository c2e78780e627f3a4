"""Trilinear interpolation in node grids stored as rows."""

from __future__ import annotations

import torch
from torch.nn import functional

from VoxelFeatLib.devices.transfer import sent


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
    last = sent(torch.tensor([ni - 1.0, nj - 1.0, nk - 1.0]), coordinates.device)
    position = torch.minimum(coordinates.clamp(min=0), last)
    lower = torch.minimum(position.floor(), last - 1)
    upper_part = position - lower
    i, j, k = lower.long().unbind(1)
    first = (i + j * ni + k * (ni * nj))[:, None]
    steps = torch.arange(2, device=coordinates.device)
    offsets = steps[:, None, None] * (ni * nj) + steps[:, None] * ni + steps
    parts = torch.stack([1 - upper_part, upper_part], dim=2)
    weights = parts[:, 2, :, None, None] * parts[:, 1, None, :, None] * parts[:, 0, None, None, :]
    return first + offsets.reshape(-1), weights.reshape(-1, 8)


def weighted_rows(nodes: torch.Tensor, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Sum weighted rows: nodes (n, C), rows and weights (N, m) -> (N, C)."""
    if nodes.device.type == "mps":
        # Before torch 2.10 Apple's GPUs have no embedding_bag, and lending it to the processor
        # would copy all nodes every time.
        return torch.bmm(weights[:, None], nodes[rows]).squeeze(1)
    return functional.embedding_bag(rows, nodes, per_sample_weights=weights, mode="sum")


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
