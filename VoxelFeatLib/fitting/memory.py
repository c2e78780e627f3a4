"""How much memory a fit needs, asked before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import torch

from VoxelFeatLib.errors import NotEnoughMemoryError

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.geometry import Geometry

_FLOAT, _HALF = 4, 2
# Interpreter, libraries and their work space, measured on small fits.
_BASE = 600 << 20
# A view's image and maps while the backbone works, as copies of its input at four channels.
_WORK_COPIES = 12


def fit_memory(
    geometry: Geometry, backbone: Backbone, network: FieldNetwork, preset: Preset
) -> int:
    """Peak bytes a fit is expected to need on its device.

    The volume as float32, the network with its gradient (NAdam: and two moments), the pool of
    encoded views, and one view being encoded.
    """
    voxels = _FLOAT * geometry.shape_kji[0] * geometry.shape_kji[1] * geometry.shape_kji[2]
    values = sum(p.numel() for p in network.parameters())
    copies = 2 if preset.network == "grid" else 4
    per_view = sum(
        (_HALF * level.channels + 1) * level.cells(backbone.input_size) ** 2
        for level in backbone.levels
    )
    views = min(preset.pool, preset.views) + preset.heldout_views
    work = _WORK_COPIES * _FLOAT * backbone.input_size**2
    return _BASE + voxels + _FLOAT * copies * values + views * per_view + work


def free_memory(device: torch.device) -> int:
    """Bytes free on a device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def check_memory(needed: int, device: torch.device) -> None:
    """Refuse a fit that cannot run.

    Raises:
        NotEnoughMemoryError: `needed` bytes are more than the device has free.
    """
    free = free_memory(device)
    if needed > free:
        place = "on the GPU" if device.type == "cuda" else "in memory"
        raise NotEnoughMemoryError(
            f"This fit needs about {needed / 1e9:.1f} GB, "
            f"but only {free / 1e9:.1f} GB are free {place}; "
            "close other programs, crop or resample the volume, or choose the preset “fast”."
        )
