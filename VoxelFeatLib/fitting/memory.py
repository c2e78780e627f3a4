"""How much memory a fit needs, asked before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from VoxelFeatLib.devices.memory import free_memory
from VoxelFeatLib.errors import NotEnoughMemoryError
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.nfnet import NFNetwork

if TYPE_CHECKING:
    import torch

    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.geometry import Geometry

_FLOAT, _HALF = 4, 2
# Interpreter, libraries and their work space, measured on small fits.
_BASE = 600 << 20
# Eight rows (of two) and weights and the coordinates of a position in a node grid; on a GPU also
# what it adds to each of its eight nodes.
_GRID_VALUES, _CORNERS = 64, 8


def fit_memory(
    geometry: Geometry, backbone: Backbone, network: FieldNetwork, preset: Preset
) -> int:
    """Return the peak bytes that a fit is expected to need on its device.

    The volume as float32, the network with what a step adds to it or its copy for the file (NAdam:
    gradient, two moments and a copy to work on), the held-out views and what the pool keeps of
    others, the views being encoded and their maps being standardised, and what a step keeps for
    its backward pass. The backbone's weights are on the device before a fit asks for memory.
    """
    voxels = _FLOAT * geometry.shape_kji[0] * geometry.shape_kji[1] * geometry.shape_kji[2]
    values = sum(p.numel() for p in network.parameters())
    copies = 2 if preset.network == "grid" else 5
    channels = [level.channels for level in backbone.levels]
    views = preset.heldout_views * _view_bytes(backbone, channels)
    views += min(preset.pool, preset.views) * _view_bytes(backbone, _kept_channels(network))
    maps = sum(n.channels * n.cells(backbone.input_size) ** 2 for n in backbone.levels)
    work = preset.batch * (backbone.work_bytes() + (_FLOAT + _HALF) * maps)
    kept = _FLOAT * _kept_values(backbone, network, preset)
    return _BASE + voxels + _FLOAT * copies * values + views + work + kept


def _kept_channels(network: FieldNetwork) -> list[int]:
    """Numbers that the pool keeps of a cell's features, by level."""
    if isinstance(network, GridNetwork):
        # Beside the latent vector what it leaves out.
        return [latents + 1 for latents in network.latents]
    return [level.channels for level in network.levels]


def _view_bytes(backbone: Backbone, channels: Sequence[int]) -> int:
    """A view in half precision with a byte for every cell's validity."""
    return sum(
        (_HALF * count + 1) * level.cells(backbone.input_size) ** 2
        for level, count in zip(backbone.levels, channels, strict=True)
    )


def _kept_values(backbone: Backbone, network: FieldNetwork, preset: Preset) -> int:
    """Numbers that a step's rendered positions keep until its backward pass."""
    pixels = min(preset.window * backbone.levels[-1].stride, backbone.input_size)
    total = 0
    for level, channels in zip(backbone.levels, _kept_channels(network), strict=True):
        cells = preset.windows * level.cells(pixels) ** 2
        positions = cells * preset.samples_at(level.stride) ** 2
        if isinstance(network, NFNetwork):
            # A block keeps both layers' inputs, what they were activated from, and its branch.
            hidden = network.width * (5 * network.block_count + 2)
            hidden += 2 * (3 + 6 * network.frequency_count)
            total += positions * (hidden + 3 * channels)
        else:
            total += positions * (_GRID_VALUES + _CORNERS * channels) + 3 * cells * channels
    return total


def check_memory(needed: int, device: torch.device, preset: str) -> None:
    """Refuse a fit with this preset that cannot run.

    Raises:
        NotEnoughMemoryError: `needed` bytes are more than the device has free.
    """
    free = free_memory(device)
    if needed > free:
        place = "on the GPU" if device.type == "cuda" else "in memory"
        smaller = "fast" if device.type == "cpu" else "small-gpu"
        # Who has a smaller preset already can still make the backbone's maps smaller.
        small = preset in {smaller, "draft"}
        choice = "a smaller input size" if small else f"the preset “{smaller}”"
        raise NotEnoughMemoryError(
            f"This fit needs about {needed / 1e9:.1f} GB, "
            f"but only {free / 1e9:.1f} GB are free {place}; "
            f"close other programs, crop or resample the volume, or choose {choice}."
        )
