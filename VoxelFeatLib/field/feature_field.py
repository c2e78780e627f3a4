"""The field: positions in RAS to a backbone's features, as a pure function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from VoxelFeatLib.field.network import FieldNetwork

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import FeatureLevel
    from VoxelFeatLib.field.lattice import Lattice
    from VoxelFeatLib.imaging.geometry import Geometry

# Positions evaluated at once: bounds memory at any number of positions.
_CHUNK = 1 << 17
# Values (points times projections) made at once on a lattice.
_LATTICE_CHUNK = 1 << 24


class FeatureField(nn.Module):
    """An implicit network with its channel scaling.

    Args:
        network: Maps positions to standardised features.
        backbone: Name of the backbone whose features it holds.
        fingerprint: The backbone's fingerprint.

    Attributes:
        mean, std: (C,) scaling of the standardised channels.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: FieldNetwork, backbone: str, fingerprint: str) -> None:
        super().__init__()
        self.network = network
        self.backbone = backbone
        self.fingerprint = fingerprint
        self.register_buffer("mean", torch.zeros(network.channels))
        self.register_buffer("std", torch.ones(network.channels))

    def stored(self) -> dict[str, torch.Tensor]:
        """Return the state as field files keep it, by the names of `state_dict`."""
        network = {f"network.{name}": tensor for name, tensor in self.network.stored().items()}
        return network | {"mean": self.mean, "std": self.std}

    @property
    def geometry(self) -> Geometry:
        """The volume's geometry."""
        return self.network.geometry

    @property
    def levels(self) -> tuple[FeatureLevel, ...]:
        """The backbone's levels, finest first; `features` concatenates their channels."""
        return self.network.levels

    @property
    def channels(self) -> int:
        """Number of feature channels C."""
        return self.network.channels

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    @torch.no_grad()
    def features(self, ras: torch.Tensor) -> torch.Tensor:
        """Return features at positions (N, 3), mm RAS: (N, C), in the backbone's own units."""
        parts = []
        for chunk in ras.to(self.device, torch.float32).split(_CHUNK):
            levels = [self.network.level(chunk, i) for i in range(len(self.levels))]
            parts.append(torch.addcmul(self.mean, torch.cat(levels, dim=1), self.std))
        return torch.cat(parts) if parts else self.mean.new_zeros(0, self.channels)

    @torch.no_grad()
    def project(self, ras: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Return features(ras) @ weight.T + bias, folded into the last layer.

        Args:
            ras: Positions (N, 3), mm.
            weight: (M, C).
            bias: (M,).

        Returns:
            (N, M).
        """
        weight, bias = self._fold(weight, bias)
        parts = [
            self.network.project(chunk, weight) + bias
            for chunk in ras.to(self.device, torch.float32).split(_CHUNK)
        ]
        return torch.cat(parts) if parts else bias.new_zeros(0, bias.shape[0])

    @torch.no_grad()
    def features_on(self, lattice: Lattice) -> torch.Tensor:
        """Return features on a regular box: (nk, nj, ni, C)."""
        identity = torch.eye(self.channels, device=self.device)
        bias = torch.zeros(self.channels, device=self.device)
        return self.project_on(lattice, identity, bias).movedim(0, -1)

    @torch.no_grad()
    def project_on(
        self, lattice: Lattice, weight: torch.Tensor, bias: torch.Tensor
    ) -> torch.Tensor:
        """Return `project` on a regular box: (M, nk, nj, ni)."""
        weight, bias = self._fold(weight, bias)
        out = weight.new_empty(weight.shape[0], *lattice.shape_kji)
        for planes, slab in lattice.slabs(_LATTICE_CHUNK // weight.shape[0]):
            out[:, planes] = self.network.project_on(slab, weight)
        return out.add_(bias.view(-1, 1, 1, 1))

    def _fold(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """An affine map of features as one of standardised features."""
        weight = weight.to(self.device, torch.float32)
        return weight * self.std, bias.to(self.device, torch.float32) + weight @ self.mean
