"""The network a preset asks for, sized for a volume and a backbone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.nfnet import NFNetwork
from VoxelFeatLib.fitting.presets import of_level
from VoxelFeatLib.imaging.views import axis_frame, slicing_axes

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.presets import GridSettings, Preset
    from VoxelFeatLib.imaging.geometry import Geometry


def network_for(preset: Preset, geometry: Geometry, backbone: Backbone) -> FieldNetwork:
    """Make a new network with its initial weights."""
    if preset.network == "nfnet":
        settings = preset.nfnet
        return NFNetwork(
            geometry, backbone.levels, settings.width, settings.blocks, settings.frequencies
        )
    return _grid(preset.grid, geometry, backbone)


def _grid(settings: GridSettings, geometry: Geometry, backbone: Backbone) -> GridNetwork:
    frame = axis_frame(geometry, slicing_axes(geometry)[0], 0.0)
    side = max(frame.shape) * frame.pitch
    spacings, latents = [], []
    for number, level in enumerate(backbone.levels):
        share = of_level(settings.spacing, number)
        spacings.append(share * side / level.cells(backbone.input_size))
        latents.append(min(level.channels, of_level(settings.latents, number)))
    # Coarsen evenly until the values fit; the count is a step function of the factor.
    factor = 1.0
    while _values(geometry, spacings, latents, factor) > settings.most_values:
        factor *= 1.03
    return GridNetwork(
        geometry, backbone.levels, tuple(factor * s for s in spacings), tuple(latents)
    )


def _values(geometry: Geometry, spacings: list[float], latents: list[int], factor: float) -> int:
    """Node values that grids of these spacings hold."""
    total = 0
    for spacing, count in zip(spacings, latents, strict=True):
        steps = np.maximum(1.0, factor * spacing / geometry.spacing)
        nodes = np.maximum(2, np.ceil((np.array(geometry.shape_kji[::-1]) - 1) / steps) + 1)
        total += count * math.prod(int(n) for n in nodes)
    return total
