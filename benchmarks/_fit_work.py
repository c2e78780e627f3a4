"""What a fit has to compute and move at least: encoding a view, and a training step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _roofline import Work, bytes_of, flop_of
from torch import nn

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.interpolation import corner_weights
from VoxelFeatLib.field.network import FieldNetwork, apply_affine
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.imaging.views import View, ViewSampler, slicing_axes

# Random windows from which the mean one is estimated.
_WINDOWS = 16
# Positions at which a network's operations are counted.
_POSITIONS = 64
# Corners of a cell of a node grid.
_CORNERS = 8


class CountedBackbone:
    """A backbone that counts the views that it encodes; all else is the backbone's own."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.views = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backbone, name)

    def __call__(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Count, and encode."""
        self.views += len(images)
        return self.backbone(images)


def view_work(backbone: Backbone, batch: int = 1) -> Work:
    """Encoding one view of a batch: image and weights in, maps out."""
    side = backbone.input_size
    image = torch.rand(1, backbone.encoding.channels, side, side, device=backbone.device)
    maps: list[torch.Tensor] = []
    flop = flop_of(lambda: maps.extend(backbone(image)))
    weights = sum(bytes_of(module.parameters()) for module in modules_of(backbone))
    dtype = getattr(backbone, "precision", torch.float32)
    return Work(flop, bytes_of(image, maps) + weights / batch, dtype)


def step_work(network: FieldNetwork, preset: Preset, input_size: int) -> Work:
    """A training step without its patches: a little less than there is to do.

    Grid: interpolation forward and backward; every node touched is read twice and written once,
    targets, which are latent vectors and what these leave out, are read once. NFNet: every position
    forward and, twice as much, backward; targets, which are features, are read once; weights are
    read twice and their gradients written, then NAdam reads four values and writes three for each
    weight.
    """
    levels = range(len(network.levels))
    windows = [_mean_window(network, preset, input_size, level) for level in levels]
    flop = nbytes = 0.0
    for level, window in enumerate(windows):
        if isinstance(network, GridNetwork):
            latents = network.latents[level]
            flop += preset.windows * 4 * _CORNERS * latents * window.positions
            nbytes += preset.windows * window.cells * (latents + 1) * 2
            nbytes += preset.windows * window.nodes * latents * 4 * 3
        else:
            nbytes += preset.windows * window.cells * network.levels[level].channels * 2
            points = torch.zeros(_POSITIONS, 3, device=next(network.parameters()).device)
            forward = flop_of(lambda p=points, n=level: network.level(p, n)) / _POSITIONS
            flop += preset.windows * 3 * forward * window.positions
    if not isinstance(network, GridNetwork):
        nbytes += 10 * bytes_of(network.parameters())
    return Work(flop, nbytes)


@dataclass(frozen=True)
class _Window:
    """Mean counts of a window on one level: valid cells, their positions, nodes they touch."""

    cells: float
    positions: float
    nodes: float


def _mean_window(network: FieldNetwork, preset: Preset, input_size: int, level: int) -> _Window:
    geometry = network.geometry
    sampler = ViewSampler(geometry, slicing_axes(geometry))
    rng = np.random.default_rng(0)
    cells = network.levels[level].cells(input_size)
    scale = cells // network.levels[-1].cells(input_size)
    side = min(preset.window * scale, cells)
    samples = preset.samples_at(network.levels[level].stride)
    counts = []
    for _ in range(_WINDOWS):
        view = sampler.draw(rng)
        row, column = rng.integers(cells - side + 1, size=2)
        square = (slice(row, row + side), slice(column, column + side))
        inside = _valid(view, cells, samples, network)[square]
        positions = view.cell_positions(cells, samples)[square][inside].reshape(-1, 3)
        counts.append((inside.sum(), len(positions), _nodes(network, level, positions)))
    mean = np.mean(counts, axis=0)
    return _Window(*mean.tolist())


def _valid(view: View, cells: int, samples: int, network: FieldNetwork) -> np.ndarray:
    return view.valid_cells(cells, samples, network.geometry)


def _nodes(network: FieldNetwork, level: int, positions: np.ndarray) -> int:
    """How many nodes of a level's grid the positions touch."""
    if not isinstance(network, GridNetwork) or not len(positions):
        return 0
    grid = network.grid(level)
    ras = torch.tensor(positions, dtype=torch.float32)
    rows, _ = corner_weights(apply_affine(grid.to_nodes.cpu(), ras), grid.shape_kji)
    return len(rows.unique())


def modules_of(backbone: Backbone) -> Iterator[nn.Module]:
    """The networks that a backbone holds."""
    return (value for value in vars(backbone).values() if isinstance(value, nn.Module))
