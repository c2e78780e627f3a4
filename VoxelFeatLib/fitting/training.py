"""One optimiser step: windows of cells and patches in, losses out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.fitting import objective
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import ViewEncoder, ViewPool

if TYPE_CHECKING:
    from VoxelFeatLib.fitting.learner import Learner
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.views import ViewSampler


class Trainer:
    """Feeds a learner from a growing pool of views.

    Args:
        learner: Trains the network.
        encoder: Encodes new views.
        sampler: Draws them.
        preset: Numbers of the fit.
        seed: Decides views, windows and jitter.
    """

    def __init__(
        self,
        learner: Learner,
        encoder: ViewEncoder,
        sampler: ViewSampler,
        preset: Preset,
        seed: int,
    ) -> None:
        self.learner = learner
        self.encoder = encoder
        self.sampler = sampler
        self.preset = preset
        self.seed = seed
        self.pool = ViewPool(preset.pool)
        self.views = 0

    def add_views(self, count: int) -> None:
        """Draw, encode and pool the next views."""
        numbers = range(self.views, self.views + count)
        drawn = [self.sampler.draw(generator_for(self.seed, Stream.VIEWS, n)) for n in numbers]
        for number, view in zip(numbers, self.encoder.encode(drawn), strict=True):
            kept = [self.learner.keep(maps, level) for level, maps in enumerate(view.targets)]
            self.pool.add(number, replace(view, targets=kept))
        self.views += count

    def skip_to(self, step: int) -> None:
        """Leave out the views that a resumed fit's pool no longer holds."""
        self.views = self.preset.views_gone(step)

    def step(self, number: int) -> dict[str, float]:
        """Take optimiser step `number`; the objective's weighted terms."""
        rng = generator_for(self.seed, Stream.STEPS, number)
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 62)))
        preset, pool = self.preset, self.pool
        windows = objective.draw_windows(pool, preset.windows, preset.window, generator)
        patches = objective.gather_patches(pool, windows.places[: self.learner.patches], generator)
        batches = [
            objective.gather_cells(pool, level, windows, samples, generator)
            for level, samples in enumerate(self.encoder.samples)
        ]
        return self.learner.step(preset.rate_at(number), batches, patches)
