"""One yardstick for all recipes: held-out views that none of them trains on, scaled alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.fitting.channels import ChannelMeasure, ChannelScaling
from VoxelFeatLib.fitting.heldout import HeldOut
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import ViewEncoder
from VoxelFeatLib.imaging.views import ViewSampler, slicing_axes
from VoxelFeatLib.imaging.volume import Volume

# Planes on which channels are scaled; a fit takes 8 to 32.
_PLANES = 32

Quality = Mapping[str, Mapping[str, float]]


class Judge:
    """Held-out cosine and explained variance of any field of a volume.

    Each fit measures itself too, with channels scaled by its own statistics. Here all fields are
    compared with the same cells of the same views, and channels are scaled alike.

    Args:
        volume: The volume.
        backbone: The features to be matched.
        preset: Which sub-samples a cell is compared at.
        views: How many random views.
        cells: At most so many random cells of each level.
        seed: Of the fits: their held-out views are drawn alike, their training views otherwise.
    """

    def __init__(
        self,
        volume: Volume,
        backbone: Backbone,
        preset: Preset,
        *,
        views: int = 8,
        cells: int = 1 << 14,
        seed: int = 0,
    ) -> None:
        sampler = ViewSampler(volume.geometry, slicing_axes(volume.geometry))
        slices = SliceEncoder(volume, backbone)
        self._scaling = _scaling(sampler, slices, seed)
        samples = tuple(preset.samples_at(level.stride) for level in backbone.levels)
        encoder = ViewEncoder(slices, self._scaling, samples)
        encoded = [
            encoder.encode([sampler.draw(generator_for(seed, Stream.HELD_OUT, n))])[0]
            for n in range(views)
        ]
        self._heldout = HeldOut(encoded, samples, generator_for(seed, Stream.HELD_OUT, views))
        rng = np.random.default_rng(seed)
        for level, targets in enumerate(self._heldout.targets):
            kept = torch.from_numpy(rng.permutation(len(targets))[:cells]).to(targets.device)
            self._heldout.targets[level] = targets[kept]
            self._heldout.positions[level] = self._heldout.positions[level][kept]

    @torch.no_grad()
    def quality(self, field: FeatureField) -> Quality:
        """Return cosine and explained variance by level name."""
        network, predictions = field.network, []
        for level, channels in enumerate(network.channel_slices()):
            parts = [
                network.level(p.reshape(-1, 3), level).view(len(p), p.shape[1], -1).mean(1)
                for p in self._heldout.positions[level].split(1024)
            ]
            raw = torch.cat(parts) * field.std[channels] + field.mean[channels]
            predictions.append(self._scaling.standardise(raw, level))
        return self._heldout.compare(network, predictions)


def _scaling(sampler: ViewSampler, slices: SliceEncoder, seed: int) -> ChannelScaling:
    """The channels' means and deviations on random planes, as fits measure them, but on more."""
    measure = ChannelMeasure(sampler, slices)
    for number in range(_PLANES):
        for _ in measure.add_plane(0, 1, generator_for(seed, Stream.PLANES, number)):
            continue
    return measure.result().scaling


def mean_explained(quality: Quality) -> float:
    """Explained variance, the mean over levels."""
    return float(np.mean([values["explained_variance"] for values in quality.values()]))
