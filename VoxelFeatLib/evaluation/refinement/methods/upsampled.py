"""A backbone's features of slices, upsampled linearly, in the form of a field.

What one has without a fit: un-augmented slices along the first slicing axis, one for every voxel;
between them linear, in them bilinear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.field.network import FieldNetwork, affine_of, apply_affine
from VoxelFeatLib.imaging.views import axis_view, slicing_axes
from VoxelFeatLib.imaging.volume import Volume


def upsampled_field(volume: Volume, backbone: Backbone) -> FeatureField:
    """Return the upsampled features of a volume's slices, which are encoded when first needed."""
    network = SlicesNetwork(volume, backbone)
    return FeatureField(network, backbone.name, backbone.fingerprint).to(backbone.device)


class SlicesNetwork(FieldNetwork):
    """Upsamples; has nothing to learn, and nothing to store.

    Args:
        volume: The volume.
        backbone: Encodes its slices, on its device.
    """

    name = "slices"

    def __init__(self, volume: Volume, backbone: Backbone) -> None:
        super().__init__(volume.geometry, backbone.levels)
        self._encoder = SliceEncoder(volume, backbone)
        self._axis = slicing_axes(volume.geometry)[0]
        self._to_index = affine_of(volume.geometry.ras_to_ijk).to(backbone.device)
        # Half precision errs by a thousandth at most, as in field files, and takes half the memory.
        self._maps: dict[int, list[torch.Tensor]] = {}

    def level(self, ras: torch.Tensor, index: int) -> torch.Tensor:
        """Return features of one level at positions (N, 3), mm: (N, channels)."""
        sizes = torch.tensor(self.geometry.shape_kji[::-1], dtype=torch.float32, device=ras.device)
        ijk = apply_affine(self._to_index, ras)
        columns, rows = (axis for axis in range(3) if axis != self._axis)
        across = (2 * (ijk + 0.5) / sizes - 1)[:, [columns, rows]]
        along = ijk[:, self._axis].clamp(0, float(sizes[self._axis]) - 1)
        low = along.floor()
        result = ras.new_zeros(len(ras), self.levels[index].channels)
        for step, shares in ((0, 1 - (along - low)), (1, along - low)):
            numbers = (low + step).long()
            for number in numbers[shares > 0].unique().tolist():
                near = ((numbers == number) & (shares > 0)).nonzero()[:, 0]
                values = functional.grid_sample(
                    self._slice(number)[index].float()[None],
                    across[near].view(1, 1, -1, 2),
                    padding_mode="border",
                    align_corners=False,
                )[0, :, 0]
                result.index_add_(0, near, values.T * shares[near, None])
        return result

    def project(self, ras: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Return features times weight (M, C) transposed: (N, M)."""
        levels = range(len(self.levels))
        return torch.cat([self.level(ras, index) for index in levels], dim=1) @ weight.T

    def project_on(self, lattice: Lattice, weight: torch.Tensor) -> torch.Tensor:
        """Return `project` on a regular box: (M, nk, nj, ni)."""
        ras = lattice.ras(self.geometry, weight.device).reshape(-1, 3)
        return self.project(ras, weight).T.reshape(-1, *lattice.shape_kji)

    def stored(self) -> dict[str, torch.Tensor]:
        """Return nothing: it is made of the volume again."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return nothing, likewise."""
        return {}

    def _slice(self, number: int) -> list[torch.Tensor]:
        """Return the maps (C, G, G) of the slice through a voxel index."""
        if number not in self._maps:
            maps = self._encoder.maps([axis_view(self.geometry, self._axis, float(number))])
            most = float(np.finfo(np.float16).max)
            self._maps[number] = [level[0].clamp(-most, most).half() for level in maps]
        return self._maps[number]
