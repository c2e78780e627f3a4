"""One optimiser step: windows of cells and patches in, losses out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from VoxelFeatLib.fitting import objective
from VoxelFeatLib.fitting.objective import CellBatch
from VoxelFeatLib.fitting.streams import Stream, generator_for
from VoxelFeatLib.fitting.views import ViewEncoder, ViewPool

if TYPE_CHECKING:
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.optimisers import Optimiser
    from VoxelFeatLib.fitting.presets import Preset
    from VoxelFeatLib.imaging.views import ViewSampler

# Patches of a step for total variation and blur.
_PATCHES = 2


class Trainer:
    """Trains a network on a growing pool of views.

    Args:
        network: Trained in place.
        optimiser: Steps it.
        encoder: Encodes new views.
        sampler: Draws them.
        weights: The objective's 1 / (w_i + eps), one (C,) a level.
        preset: Numbers of the fit.
        seed: Decides views, windows and jitter.
    """

    def __init__(
        self,
        network: FieldNetwork,
        optimiser: Optimiser,
        encoder: ViewEncoder,
        sampler: ViewSampler,
        weights: tuple[torch.Tensor, ...],
        preset: Preset,
        seed: int,
    ) -> None:
        self.network = network
        self.optimiser = optimiser
        self.encoder = encoder
        self.sampler = sampler
        self.weights = weights
        self.preset = preset
        self.seed = seed
        self.pool = ViewPool(preset.pool)
        self.views = 0

    def add_views(self, count: int) -> None:
        """Draw, encode and pool the next views."""
        numbers = range(self.views, self.views + count)
        drawn = [self.sampler.draw(generator_for(self.seed, Stream.VIEWS, n)) for n in numbers]
        for number, view in zip(numbers, self.encoder.encode(drawn), strict=True):
            self.pool.add(number, view)
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
        patches = objective.gather_patches(pool, windows.places[:_PATCHES], generator)
        terms: dict[str, torch.Tensor] = {}
        rendered = []
        for level, samples in enumerate(self.encoder.samples):
            batch = objective.gather_cells(pool, level, windows, samples, generator)
            rendered.append(batch.positions.shape[0] * samples**2)
            for name, value in self._level_terms(level, batch, patches).items():
                terms[name] = terms[name] + value if name in terms else value
        total = torch.stack(list(terms.values())).sum()
        total.backward()
        self.optimiser.step(preset.rate_at(number), rendered)
        return {name: float(value.detach()) for name, value in terms.items()}

    def _level_terms(
        self, level: int, batch: CellBatch, patches: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """One level's terms; cells and patches go through the network together."""
        count, samples = batch.positions.shape[:2]
        positions = torch.cat([batch.positions.reshape(-1, 3), patches.reshape(-1, 3)])
        features = self.network.level(positions, level)
        points = features[count * samples :].view(*patches.shape[:3], -1)
        factors = self.preset.objective
        terms = {
            "variation": factors.variation * objective.variation(points),
            "blur": factors.blur * objective.blur(points),
        }
        if count:  # windows can fall wholly outside the volume
            rendered = features[: count * samples].view(count, samples, -1).mean(1)
            terms["agreement"] = objective.agreement(rendered, batch.targets, self.weights[level])
            terms["magnitude"] = factors.magnitude * objective.magnitude(rendered, batch.targets)
        return terms
