"""What a field's network is: a pointwise function of position with a linear last layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import FeatureLevel
    from VoxelFeatLib.field.lattice import Lattice
    from VoxelFeatLib.imaging.aliases import FloatArray
    from VoxelFeatLib.imaging.geometry import Geometry


class FieldNetwork(nn.Module, ABC):
    """Maps RAS positions to standardised features, level by level.

    Attributes:
        geometry: The volume's.
        levels: The backbone's feature levels; their channels are concatenated in this order.
    """

    name: str

    def __init__(self, geometry: Geometry, levels: tuple[FeatureLevel, ...]) -> None:
        super().__init__()
        self.geometry = geometry
        self.levels = levels

    @property
    def channels(self) -> int:
        """All levels' channels."""
        return sum(level.channels for level in self.levels)

    def channel_slices(self) -> list[slice]:
        """Return where each level's channels stand among all."""
        slices, first = [], 0
        for level in self.levels:
            slices.append(slice(first, first + level.channels))
            first += level.channels
        return slices

    @abstractmethod
    def level(self, ras: torch.Tensor, index: int) -> torch.Tensor:
        """Return standardised features of one level at positions (N, 3), mm: (N, channels)."""

    @abstractmethod
    def project(self, ras: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return standardised features times weight (M, C) transposed, unmade: (N, M)."""

    @abstractmethod
    def project_on(self, lattice: Lattice, weight: torch.Tensor) -> torch.Tensor:
        """Return `project` on a regular box: (M, nk, nj, ni)."""

    @abstractmethod
    def stored(self) -> dict[str, torch.Tensor]:
        """Return the state as files keep it, rounded where they round."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return arguments, as JSON, that with geometry and levels make the same network again."""


def affine_of(matrix: FloatArray) -> torch.Tensor:
    """Return a 4 x 4 map of positions as float32 (3, 4), for `apply_affine`."""
    return torch.tensor(matrix[:3], dtype=torch.float32)


def apply_affine(affine: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Apply an affine map (3, 4) to positions (N, 3)."""
    return torch.addmm(affine[:, 3], positions, affine[:, :3].T)
