"""What comes before training: channel statistics, held-out views, the first field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from VoxelFeatLib.backbones.slicing import SliceRenderer
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting.channels import ChannelMeasure, ChannelScaling
from VoxelFeatLib.fitting.heldout import HeldOut, UpsamplingBaseline
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import ViewEncoder
from VoxelFeatLib.fitting.warm_start import WarmStart, slice_positions
from VoxelFeatLib.imaging.views import ViewSampler, axis_view, slicing_axes

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.volume import Volume


class Preparation:
    """Does the work before training in short pieces, and keeps what training needs.

    Attributes:
        sampler: Draws views.
        scaling: Means and deviations of the channels, once measured or restored.
        weights: 1 / (w_i + eps), one (C,) a level, likewise.
        encoder: Encodes views, from `encode_heldout` on.
        heldout: The held-out measure, from the end of `encode_heldout` on.
    """

    scaling: ChannelScaling
    weights: tuple[torch.Tensor, ...]
    encoder: ViewEncoder
    heldout: HeldOut

    def __init__(
        self,
        volume: Volume,
        backbone: Backbone,
        preset: Preset,
        seed: int,
        device: torch.device,
    ) -> None:
        self.backbone = backbone
        self.preset = preset
        self.seed = seed
        self.geometry = volume.geometry
        self.axes = slicing_axes(volume.geometry)
        self.sampler = ViewSampler(volume.geometry, self.axes)
        self.renderer = SliceRenderer(volume, backbone.windows, backbone.input_size, device)
        self.samples = tuple(preset.samples_at(level.stride) for level in backbone.levels)
        self._measure = ChannelMeasure(self.sampler, self.renderer, backbone)
        self._baseline: UpsamplingBaseline | None = None

    def units(self, warm: bool) -> dict[str, int]:  # noqa: FBT001 - whether there is a warm start
        """Count the pieces of work of every kind, for the estimate of time."""
        axes = self.axes if warm else self.axes[:1]
        slices = sum(len(self._positions(axis)) for axis in axes)
        return {"planes": self.preset.planes, "slices": slices}

    def measure(self) -> Iterator[None]:
        """Measure the channels, a plane at a time."""
        for number in range(self.preset.planes):
            rng = generator_for(self.seed, Stream.PLANES, number)
            self._measure.add_plane(self.preset.augmentations, rng)
            yield
        statistics = self._measure.result()
        self.scaling, self.weights = statistics.scaling, statistics.weights
        self._statistics = statistics

    def encode_heldout(self) -> Iterator[None]:
        """Encode the held-out views, one at a time."""
        self.encoder = ViewEncoder(self.renderer, self.backbone, self.scaling, self.samples)
        views = []
        for number in range(self.preset.heldout_views):
            rng = generator_for(self.seed, Stream.HELD_OUT, number)
            views.append(self.encoder.encode(self.sampler.draw(rng)))
            yield
        rng = generator_for(self.seed, Stream.HELD_OUT, self.preset.heldout_views)
        self.heldout = HeldOut(views, self.samples, rng)

    def first_values(self, network: FieldNetwork) -> Iterator[None]:
        """Encode orthogonal slices: the start of a grid network, and the baseline."""
        axis = self.axes[0]
        positions = self._positions(axis)
        gap = float(positions[1] - positions[0]) if len(positions) > 1 else np.inf
        self._baseline = UpsamplingBaseline(self.heldout, self.geometry, axis, gap)
        if not isinstance(network, GridNetwork):
            for position in positions:
                self._baseline.add(self._slice(axis, float(position)), float(position))
                yield
            return
        warm = WarmStart(network, self._statistics, self.axes, self.preset.grid.slices)
        for slice_axis, position in warm.slices:
            maps = self._slice(slice_axis, position)
            warm.add(maps, slice_axis, position)
            if slice_axis == axis:
                self._baseline.add(maps, position)
            yield

    def upsampling(self, network: FieldNetwork) -> dict[str, dict[str, float]]:
        """Return the held-out measure of plain trilinear upsampling, by level name."""
        assert self._baseline is not None  # noqa: S101 - first_values made it
        result = self._baseline.result(network)
        self._baseline = None
        return result

    def state(self) -> dict[str, torch.Tensor]:
        """Return tensors from which `restore` makes scaling and weights again."""
        kinds = {"mean": self.scaling.means, "std": self.scaling.stds, "weight": self.weights}
        return {
            f"channels.{level}.{kind}": tensor
            for kind, tensors in kinds.items()
            for level, tensor in enumerate(tensors)
        }

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take the channels' statistics from a checkpoint; KeyError where they are missing."""
        levels = range(len(self.backbone.levels))
        means, stds, weights = (
            tuple(tensors[f"channels.{n}.{kind}"].to(self.renderer.device) for n in levels)
            for kind in ("mean", "std", "weight")
        )
        self.scaling, self.weights = ChannelScaling(means, stds), weights

    def _positions(self, axis: int) -> np.ndarray:
        return slice_positions(self.geometry, axis, self.preset.grid.slices)

    @torch.no_grad()
    def _slice(self, axis: int, position: float) -> list[torch.Tensor]:
        """Standardised maps (C, G, G) of an un-augmented orthogonal slice, one a level."""
        image = self.renderer.image(axis_view(self.geometry, axis, position))
        return [
            self.scaling.standardise(maps[0].movedim(0, -1), level).movedim(-1, 0)
            for level, maps in enumerate(self.backbone(image[None]))
        ]
