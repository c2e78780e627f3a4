"""The `grid` network: one grid of latent vectors a level, interpolated, mapped linearly.

Interpolation and the last layer are both linear, so a linear probe can be applied to the nodes
first and its scalar result interpolated: a mask costs a few operations a voxel, whatever the number
of channels.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from VoxelFeatLib.devices.transfer import sent
from VoxelFeatLib.field.interpolation import corner_weights, interpolate_axis, weighted_rows
from VoxelFeatLib.field.network import FieldNetwork, affine_of, apply_affine

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import FeatureLevel
    from VoxelFeatLib.field.lattice import Lattice
    from VoxelFeatLib.imaging.geometry import Geometry

_CPU = torch.device("cpu")
# A product of nodes that do not lie together takes so many times longer.
_COPYING = 4


class NodeGrid(nn.Module):
    """Latent vectors on a regular grid that spans a volume's voxel centres along its own axes.

    Args:
        geometry: The volume's.
        spacing: Wanted distance of nodes, mm; never finer than the voxels, evenly fitted to the
            extent.
        latents: Length of the latent vectors.

    Attributes:
        values: (nodes, latents), i fastest.
    """

    to_nodes: torch.Tensor

    def __init__(self, geometry: Geometry, spacing: float, latents: int) -> None:
        super().__init__()
        sizes = np.array(geometry.shape_kji[::-1])
        steps = np.maximum(1.0, spacing / geometry.spacing)
        counts = np.maximum(2, np.ceil((sizes - 1) / steps - 1e-9).astype(int) + 1)
        self.shape_kji = (int(counts[2]), int(counts[1]), int(counts[0]))
        # Node coordinate = index * scale; an axis of a single voxel stays on its first node.
        self.scale_ijk = (counts - 1) / np.maximum(sizes - 1, 1)
        matrix = np.diag([*self.scale_ijk, 1.0]) @ geometry.ras_to_ijk
        self.register_buffer("to_nodes", affine_of(matrix), persistent=False)
        self.values = nn.Parameter(torch.zeros(math.prod(self.shape_kji), latents))

    def forward(self, ras: torch.Tensor) -> torch.Tensor:
        """Return interpolated latent vectors at positions (N, 3), mm: (N, latents)."""
        rows, weights = corner_weights(apply_affine(self.to_nodes, ras), self.shape_kji)
        return weighted_rows(self.values, rows, weights)

    def project_on(self, lattice: Lattice, weight: torch.Tensor) -> torch.Tensor:
        """Return latents times weight (M, latents) on a regular box: (M, nk, nj, ni)."""
        # Where to look is worked out on the CPU: asking a GPU would wait for it.
        places = [lattice.axis(a, _CPU) * float(self.scale_ijk[a]) for a in (2, 1, 0)]
        coordinates = [sent(along, self.values.device) for along in places]
        ranges = []
        for size, along in zip(self.shape_kji, places, strict=True):
            low, high = sorted((float(along[0]), float(along[-1])))
            first = min(max(math.floor(low), 0), size - 2)
            ranges.append(slice(first, min(max(math.floor(high) + 2, first + 2), size)))
        # The shorter vectors are interpolated: nodes can be many more than the lattice's points.
        first = weight.shape[0] <= self.values.shape[1]
        layers = self.values.view(*self.shape_kji, -1)[ranges[0]]
        values = layers[:, ranges[1], ranges[2]]
        if first and values.numel() * _COPYING > layers.numel():
            # Whole layers lie together; a product with parts of them would copy these first.
            values = (layers @ weight.T)[:, ranges[1], ranges[2]]
        elif first:
            values = values @ weight.T
        values = values.movedim(-1, 0)
        for dim, (along, part) in enumerate(zip(coordinates, ranges, strict=True), start=1):
            values = interpolate_axis(values, dim, along - part.start)
        return values if first else torch.tensordot(weight, values, dims=1)


class GridNetwork(FieldNetwork):
    """Multi-resolution feature grids.

    Args:
        geometry: The volume's.
        levels: The backbone's levels.
        spacings: Distance of nodes for each level, mm.
        latents: Latent channels for each level, at most its feature channels.
    """

    name = "grid"

    def __init__(
        self,
        geometry: Geometry,
        levels: tuple[FeatureLevel, ...],
        spacings: tuple[float, ...],
        latents: tuple[int, ...],
    ) -> None:
        super().__init__(geometry, levels)
        self.spacings = tuple(spacings)
        self.latents = tuple(latents)
        self.grids = nn.ModuleList(
            NodeGrid(geometry, s, n) for s, n in zip(spacings, latents, strict=True)
        )
        self.bases = nn.ParameterList(
            nn.Parameter(_identity(level.channels, n))
            for level, n in zip(levels, latents, strict=True)
        )

    def grid(self, index: int) -> NodeGrid:
        """Return the node grid of a level."""
        grid = self.grids[index]
        assert isinstance(grid, NodeGrid)  # noqa: S101 - ModuleList loses the type
        return grid

    def level(self, ras: torch.Tensor, index: int) -> torch.Tensor:
        """Return standardised features of one level at positions (N, 3), mm: (N, channels)."""
        return self.grid(index)(ras) @ self.bases[index].T

    def project(self, ras: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return standardised features times weight (M, C) transposed: (N, M)."""
        total = ras.new_zeros(ras.shape[0], weight.shape[0])
        for index, channels in enumerate(self.channel_slices()):
            total += self.grid(index)(ras) @ (weight[:, channels] @ self.bases[index]).T
        return total

    def project_on(self, lattice: Lattice, weight: torch.Tensor) -> torch.Tensor:
        """Return `project` on a regular box: (M, nk, nj, ni)."""
        total = weight.new_zeros(weight.shape[0], *lattice.shape_kji)
        parts = [weight[:, channels] for channels in self.channel_slices()]
        used = torch.stack([part.any() for part in parts]).tolist()
        for index, part in enumerate(parts):
            if used[index]:
                total += self.grid(index).project_on(lattice, part @ self.bases[index])
        return total

    def stored(self) -> dict[str, torch.Tensor]:
        """Return the state, node values in half precision: their error is a thousandth."""
        return {
            name: tensor.half() if name.endswith(".values") else tensor
            for name, tensor in self.state_dict().items()
        }

    def settings(self) -> dict[str, Any]:
        """Return JSON-able constructor arguments."""
        return {"spacings": list(self.spacings), "latents": list(self.latents)}


def _identity(rows: int, columns: int) -> torch.Tensor:
    # torch.eye on the meta device loads torch's compiler: seconds at a process' first fit.
    return torch.zeros(rows, columns).fill_diagonal_(1.0)
