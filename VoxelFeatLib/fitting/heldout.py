"""The held-out measure: rendered against true features on views never trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from VoxelFeatLib.field.network import affine_of, apply_affine

if TYPE_CHECKING:
    from VoxelFeatLib.field.network import FieldNetwork
    from VoxelFeatLib.fitting.views import EncodedView
    from VoxelFeatLib.imaging.geometry import Geometry

# Cells compared for every view and level.
_CELLS = 2048
# From this stride on a cell is the mean over 4 x 4 positions, below over 2 x 2; whatever a preset
# trains on, so that presets can be compared.
_COARSE_STRIDE = 16


def heldout_samples(stride: int) -> int:
    """Return K of a stride: a held-out cell is compared with the mean over K x K positions."""
    return 4 if stride >= _COARSE_STRIDE else 2


class HeldOut:
    """Random valid cells of held-out views, and how well a field or plain upsampling explains them.

    Features are standardised channel by channel first, so that no channel dominates and a constant
    offset earns nothing. Cosine: mean over cells of the cosine of predicted and true features.
    Explained variance: 1 - sum |F - f|^2 / sum |f - mean f|^2.
    """

    def __init__(
        self, views: list[EncodedView], samples: tuple[int, ...], rng: np.random.Generator
    ) -> None:
        self.samples = samples
        self.positions: list[torch.Tensor] = []
        self.targets: list[torch.Tensor] = []
        for level, count in enumerate(samples):
            chosen = [_choose(view, level, count, rng) for view in views]
            self.positions.append(torch.cat([p for p, _ in chosen]))
            self.targets.append(torch.cat([t for _, t in chosen]))

    @torch.no_grad()
    def of_field(self, network: FieldNetwork) -> dict[str, dict[str, float]]:
        """Return cosine and explained variance of the rendered field, by level name."""
        predictions = []
        for level, positions in enumerate(self.positions):
            parts = [
                network.level(p.reshape(-1, 3), level).view(len(p), p.shape[1], -1).mean(1)
                for p in positions.split(8192)
            ]
            predictions.append(torch.cat(parts))
        return self.compare(network, predictions)

    def compare(
        self, network: FieldNetwork, predictions: list[torch.Tensor]
    ) -> dict[str, dict[str, float]]:
        """Compare predictions, (n, C) a level: cosine and explained variance by level name."""
        return {
            level.name: _agreement(prediction, target)
            for level, prediction, target in zip(
                network.levels, predictions, self.targets, strict=True
            )
        }


class UpsamplingBaseline:
    """Trilinear upsampling of one axis' slice features, at the held-out cells, slice by slice."""

    def __init__(self, heldout: HeldOut, geometry: Geometry, axis: int, gap: float) -> None:
        self.heldout = heldout
        self.axis = axis
        self.gap = gap
        to_index = affine_of(geometry.ras_to_ijk)
        sizes = torch.tensor(geometry.shape_kji[::-1], dtype=torch.float32)
        self._along: list[torch.Tensor] = []
        self._across: list[torch.Tensor] = []
        self._sums: list[torch.Tensor] = []
        columns, rows = (a for a in range(3) if a != axis)
        for positions, target in zip(heldout.positions, heldout.targets, strict=True):
            index = apply_affine(to_index.to(positions), positions.reshape(-1, 3))
            normalised = 2 * (index + 0.5) / sizes.to(index) - 1
            self._along.append(index[:, axis].clamp(0, float(sizes[axis]) - 1))
            self._across.append(normalised[:, [columns, rows]])
            self._sums.append(target.new_zeros(len(index), target.shape[1]))

    @torch.no_grad()
    def add(self, maps: list[torch.Tensor], position: float) -> None:
        """Take one slice's standardised maps (C, G, G) at its voxel index along the axis."""
        for level, features in enumerate(maps):
            weights = (1 - (self._along[level] - position).abs() / self.gap).clamp(min=0)
            near = weights.nonzero()[:, 0]
            points = self._across[level][near].view(1, 1, -1, 2)
            values = functional.grid_sample(
                features[None], points, padding_mode="border", align_corners=False
            )[0, :, 0]
            self._sums[level].index_add_(0, near, values.T * weights[near, None])

    def result(self, network: FieldNetwork) -> dict[str, dict[str, float]]:
        """Return cosine and explained variance of the upsampled features, by level name."""
        predictions = [
            sums.view(len(target), -1, target.shape[1]).mean(1)
            for sums, target in zip(self._sums, self.heldout.targets, strict=True)
        ]
        return self.heldout.compare(network, predictions)


def _choose(
    view: EncodedView, level: int, samples: int, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random valid cells: regular sub-sample positions (n, K * K, 3) and targets (n, C)."""
    cells = view.valid[level].nonzero()
    kept = torch.from_numpy(np.sort(rng.permutation(len(cells))[:_CELLS]))
    cells = cells[kept].to(view.affine.device)
    strata = (torch.arange(samples, device=cells.device) + 0.5) / samples
    offsets = torch.cartesian_prod(strata, strata).view(-1, 2)
    st = (cells[:, None] + offsets) / view.valid[level].shape[0]
    positions = view.affine[0] + st[..., :1] * view.affine[1] + st[..., 1:] * view.affine[2]
    return positions, view.targets[level][cells[:, 0], cells[:, 1]].float()


def _agreement(prediction: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    if not len(target):
        return {"cosine": 0.0, "explained_variance": 0.0}
    cosine = functional.cosine_similarity(prediction, target, dim=1).mean()
    residual = (prediction - target).square().sum()
    variance = (target - target.mean(0)).square().sum()
    # Of features that never vary there is nothing to explain but themselves.
    explained = float(1 - residual / variance) if variance > 0 else float(residual == 0)
    return {"cosine": float(cosine), "explained_variance": explained}
