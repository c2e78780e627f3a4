"""One yardstick for all recipes: held-out views that none of them trains on, scaled alike."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from VoxelFeatLib.backbones.protocol import Backbone
from VoxelFeatLib.backbones.slicing import SliceEncoder, SliceRenderer
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.fitting.channels import ChannelScaling
from VoxelFeatLib.fitting.heldout import HeldOut
from VoxelFeatLib.fitting.presets import Preset
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import ViewEncoder
from VoxelFeatLib.imaging.views import ViewSampler, slicing_axes
from VoxelFeatLib.imaging.volume import Volume

Quality = Mapping[str, Mapping[str, float]]


class Judge:
    """Held-out cosine and explained variance of any field of a volume.

    Each fit measures itself too, with channels scaled by its own statistics. Here all fields are
    compared with the same cells of the same views, and every channel counts by its variance there.

    Args:
        volume: The volume.
        backbone: The features to be matched.
        preset: Which sub-samples a cell is compared at.
        device: Where views are encoded.
        views: How many random views.
        cells: At most so many random cells of each level.
        seed: Of the fits: their held-out views are drawn alike, their training views otherwise.
    """

    def __init__(
        self,
        volume: Volume,
        backbone: Backbone,
        preset: Preset,
        device: torch.device,
        *,
        views: int = 8,
        cells: int = 1 << 14,
        seed: int = 0,
    ) -> None:
        sampler = ViewSampler(volume.geometry, slicing_axes(volume.geometry))
        drawn = [sampler.draw(generator_for(seed, Stream.HELD_OUT, n)) for n in range(views)]
        renderer = SliceRenderer(volume, backbone.encoding, backbone.input_size, device)
        slices = SliceEncoder(renderer, backbone)
        samples = tuple(preset.samples_at(level.stride) for level in backbone.levels)
        plain = ChannelScaling(
            *[[torch.full((1,), v, device=device)] * len(samples) for v in (0, 1)]
        )
        encoder = ViewEncoder(slices, plain, samples)
        encoded = [view for one in drawn for view in encoder.encode([one])]
        self._heldout = HeldOut(encoded, samples, generator_for(seed, Stream.HELD_OUT, views))
        self._scale(cells, np.random.default_rng(seed))

    def quality(self, field: FeatureField) -> Quality:
        """Return cosine and explained variance by level name."""
        network, predictions = field.network, []
        for level, channels in enumerate(network.channel_slices()):
            positions = self._heldout.positions[level]
            with torch.no_grad():
                parts = [
                    network.level(p.reshape(-1, 3), level).view(len(p), p.shape[1], -1).mean(1)
                    for p in positions.split(1024)
                ]
            raw = torch.cat(parts) * field.std[channels] + field.mean[channels]
            predictions.append((raw - self._means[level]) / self._stds[level])
        return self._heldout.compare(network, predictions)

    def _scale(self, cells: int, rng: np.random.Generator) -> None:
        """Keep some cells, and bring their channels to mean 0 and deviation 1."""
        heldout = self._heldout
        self._means, self._stds = [], []
        for level, every in enumerate(heldout.targets):
            kept = torch.from_numpy(rng.permutation(len(every))[:cells]).to(every.device)
            targets = every[kept]
            mean, std = targets.mean(0), targets.std(0)
            std = torch.where(std > 1e-3 * std.square().mean().sqrt(), std, 1.0)
            self._means.append(mean)
            self._stds.append(std)
            heldout.targets[level] = (targets - mean) / std
            heldout.positions[level] = heldout.positions[level][kept]


def mean_explained(quality: Quality) -> float:
    """Explained variance, the mean over levels."""
    return float(np.mean([values["explained_variance"] for values in quality.values()]))
