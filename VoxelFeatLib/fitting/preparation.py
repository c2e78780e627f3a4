"""What comes before training: channel statistics, held-out views, the first field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting.channels import ChannelMeasure, ChannelScaling
from VoxelFeatLib.fitting.heldout import HeldOut, UpsamplingBaseline, heldout_samples
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import EncodedView, ViewEncoder
from VoxelFeatLib.fitting.warm_start import WarmStart, slice_positions
from VoxelFeatLib.imaging.views import ViewSampler, axis_view, slicing_axes

if TYPE_CHECKING:
    from VoxelFeatLib.backbones.protocol import Backbone
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.volume import Volume

_Item = TypeVar("_Item")


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

    def __init__(self, volume: Volume, backbone: Backbone, preset: Preset, seed: int) -> None:
        self.backbone = backbone
        self.preset = preset
        self.seed = seed
        self.geometry = volume.geometry
        self.axes = slicing_axes(volume.geometry)
        self.sampler = ViewSampler(volume.geometry, self.axes)
        self.samples = tuple(preset.samples_at(level.stride) for level in backbone.levels)
        self._slices = SliceEncoder(volume, backbone)
        self._baseline: UpsamplingBaseline | None = None

    def units(self, warm: bool) -> dict[str, int]:  # noqa: FBT001 - whether there is a warm start
        """Count the views to be encoded of every kind, for the estimate of time."""
        axes = self.axes if warm else self.axes[:1]
        slices = sum(len(self._positions(axis)) for axis in axes)
        return {"planes": self.preset.planes * (1 + self.preset.augmentations), "slices": slices}

    def measure(self) -> Iterator[int]:
        """Measure the channels; this and what follows yield how many views were encoded.

        Raises:
            InputError: The backbone's features are not finite.
        """
        preset = self.preset
        # Its samples are let go of with it: they are as many as some dozen views.
        measure = ChannelMeasure(self.sampler, self._slices)
        for number in range(preset.planes):
            rng = generator_for(self.seed, Stream.PLANES, number)
            yield from measure.add_plane(preset.augmentations, preset.batch, rng)
        statistics = measure.result()
        scaling, weights = statistics.scaling, statistics.weights
        numbers = (*scaling.means, *weights, *statistics.covariances)
        if not all(bool(values.isfinite().all()) for values in numbers):
            raise InputError(
                f"The features of the backbone “{self.backbone.name}” are not finite on this "
                "volume: its weights may be damaged, choose other ones."
            )
        self.scaling, self.weights = scaling, weights
        self._statistics = statistics

    def encode_heldout(self) -> Iterator[int]:
        """Encode the held-out views."""
        self.encoder = ViewEncoder(self._slices, self.scaling, self.samples)
        samples = tuple(heldout_samples(level.stride) for level in self.backbone.levels)
        encoder = ViewEncoder(self._slices, self.scaling, samples)
        drawn = [
            self.sampler.draw(generator_for(self.seed, Stream.HELD_OUT, number))
            for number in range(self.preset.heldout_views)
        ]
        views: list[EncodedView] = []
        for part in _groups(drawn, self.preset.batch):
            views += encoder.encode(part)
            yield len(part)
        rng = generator_for(self.seed, Stream.HELD_OUT, self.preset.heldout_views)
        self.heldout = HeldOut(views, samples, rng)

    def first_values(self, network: FieldNetwork) -> Iterator[int]:
        """Encode orthogonal slices: the start of a grid network, and the baseline."""
        axis = self.axes[0]
        positions = self._positions(axis)
        gap = float(positions[1] - positions[0]) if len(positions) > 1 else np.inf
        self._baseline = UpsamplingBaseline(self.heldout, self.geometry, axis, gap)
        warm = None
        slices = [(axis, float(position)) for position in positions]
        if isinstance(network, GridNetwork):
            warm = WarmStart(network, self._statistics, self.axes, self.preset.grid.slices)
            slices = warm.slices
        for part in _groups(slices, self.preset.batch):
            for maps, (slice_axis, position) in zip(self._maps(part), part, strict=True):
                if warm is not None:
                    warm.add(maps, slice_axis, position)
                if slice_axis == axis:
                    self._baseline.add(maps, position)
            yield len(part)

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
            tuple(tensors[f"channels.{n}.{kind}"].to(self.backbone.device) for n in levels)
            for kind in ("mean", "std", "weight")
        )
        self.scaling, self.weights = ChannelScaling(means, stds), weights

    def _positions(self, axis: int) -> np.ndarray:
        return slice_positions(self.geometry, axis, self.preset.grid.slices)

    @torch.no_grad()
    def _maps(self, slices: Sequence[tuple[int, float]]) -> list[list[torch.Tensor]]:
        """Standardised maps (C, G, G), one a level, of each un-augmented orthogonal slice."""
        views = [axis_view(self.geometry, axis, position) for axis, position in slices]
        levels = [
            self.scaling.standardise(maps.movedim(1, -1), level).movedim(-1, 1)
            for level, maps in enumerate(self._slices.maps(views))
        ]
        return [[maps[number] for maps in levels] for number in range(len(slices))]


def _groups(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[first : first + size] for first in range(0, len(items), size))
