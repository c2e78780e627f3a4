"""Statistics of a backbone's channels on a volume: scaling, expected deviation, principal axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from VoxelFeatLib.imaging.views import Augmentation, View

if TYPE_CHECKING:
    import numpy as np

    from VoxelFeatLib.backbones.slicing import SliceEncoder
    from VoxelFeatLib.imaging.views import ViewSampler

# Eq. 1's epsilon.
EPSILON = 1e-6
_FEATURES_PER_PLANE = 4096
# A deviation below this part of its level's typical one is rounding or chance.
_HARDLY = 1e-3


@dataclass(frozen=True, eq=False)
class ChannelScaling:
    """Mean and standard deviation of every channel, one (C,) pair a level."""

    means: tuple[torch.Tensor, ...]
    stds: tuple[torch.Tensor, ...]

    def standardise(self, features: torch.Tensor, level: int) -> torch.Tensor:
        """Bring features (..., C) of one level to mean 0 and deviation 1."""
        return (features - self.means[level]) / self.stds[level]


@dataclass(frozen=True, eq=False)
class ChannelStatistics:
    """What the objective and the warm start need to know of the channels.

    Attributes:
        scaling: Mean and deviation.
        weights: 1 / (w_i + eps) of Eq. 1 for standardised channels, (C,) a level.
        covariances: Of standardised channels, (C, C) a level.
    """

    scaling: ChannelScaling
    weights: tuple[torch.Tensor, ...]
    covariances: tuple[torch.Tensor, ...]

    def basis(self, level: int, latents: int) -> torch.Tensor:
        """Return principal axes B (C, latents) in the objective's metric W: B' W B = 1.

        With them a step against the gradient in latent space is a step against the error itself.
        """
        root = self.weights[level].sqrt()
        covariance = root[:, None] * self.covariances[level] * root
        _, vectors = torch.linalg.eigh(covariance.cpu().double())
        axes = vectors.flip(1)[:, :latents].to(root)
        # Contiguous as after loading: products with another memory layout round differently.
        return (axes / root[:, None]).contiguous()


class ChannelMeasure:
    """Estimates the statistics from random planes, each plain and with several augmentations.

    sigma_i is the root mean square difference of channel i between an augmented view and the plain
    view of the same plane, both at the augmented view's cell centres;
    w_i = sigma_i / (mean sigma_i + eps).
    """

    def __init__(self, sampler: ViewSampler, encoder: SliceEncoder) -> None:
        self._sampler = sampler
        self._encoder = encoder
        levels, device = encoder.backbone.levels, encoder.renderer.device
        self._features: list[list[torch.Tensor]] = [[] for _ in levels]
        self._squares = [torch.zeros(level.channels, device=device) for level in levels]
        self._counts = [0] * len(levels)

    @torch.no_grad()
    def add_plane(self, augmentations: int, batch: int, rng: np.random.Generator) -> Iterator[int]:
        """Measure one more random plane; yields how many views were encoded, `batch` at most."""
        frame = self._sampler.draw(rng).frame
        plain = View(frame, Augmentation.none(frame.shape))
        views = [plain, *(self._sampler.augment(frame, rng) for _ in range(augmentations))]
        reference: list[torch.Tensor] = []
        for first in range(0, len(views), batch):
            part = views[first : first + batch]
            maps = self._encoder.maps(part)
            if first == 0:
                reference = [level[0] for level in maps]
                self._add_features(reference)
            for number, view in enumerate(part):
                if view is not plain:
                    self._add_differences([m[number] for m in maps], reference, view)
            yield len(part)

    def _add_features(self, maps: list[torch.Tensor]) -> None:
        for level, features in enumerate(maps):
            stride = max(1, features[0].numel() // _FEATURES_PER_PLANE)
            self._features[level].append(features.flatten(1).T[::stride])

    def _add_differences(
        self, maps: list[torch.Tensor], reference: list[torch.Tensor], view: View
    ) -> None:
        for level, features in enumerate(maps):
            difference = _matched_difference(features, reference[level], view)
            self._squares[level] += difference.square().sum(0)
            self._counts[level] += difference.shape[0]

    def result(self) -> ChannelStatistics:
        """Return the statistics of all planes so far."""
        features = [torch.cat(parts) for parts in self._features]
        return _statistics(features, self._squares, self._counts)


def _statistics(
    features: list[torch.Tensor], squares: list[torch.Tensor], counts: list[int]
) -> ChannelStatistics:
    means = tuple(f.mean(0) for f in features)
    stds = tuple(_scale(f.std(0)) for f in features)
    scaling = ChannelScaling(means, stds)
    sigmas = [(s / max(n, 1)).sqrt() / std for s, n, std in zip(squares, counts, stds, strict=True)]
    mean_sigma = torch.cat(sigmas).mean()
    weights = tuple(_weight(sigma, mean_sigma) for sigma in sigmas)
    covariances = tuple(
        (z.T @ z) / z.shape[0] for z in (scaling.standardise(f, i) for i, f in enumerate(features))
    )
    return ChannelStatistics(scaling, weights, covariances)


def _scale(std: torch.Tensor) -> torch.Tensor:
    """The deviations of a level's channels; one that hardly changed takes the level's typical one.

    Divided by its own, a channel that happened to change little on the planes measured would
    reach millions of deviations elsewhere.
    """
    typical = std.square().mean().sqrt()
    typical = torch.where(typical > EPSILON, typical, 1.0)
    return torch.where(std > _HARDLY * typical, std, typical)


def _weight(sigma: torch.Tensor, mean_sigma: torch.Tensor) -> torch.Tensor:
    """1 / (w + eps), bounded: a channel that never changes must not outweigh all others."""
    w = sigma / (mean_sigma + EPSILON)
    return 1 / (w.clamp(min=0.1) + EPSILON)


def _matched_difference(augmented: torch.Tensor, plain: torch.Tensor, view: View) -> torch.Tensor:
    """Augmented minus plain features at the augmented cells inside the base slice, (n, C)."""
    cells = augmented.shape[-1]
    centres = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells
    r, q = view.slice_coordinates(centres.numpy(), centres.numpy())
    height, width = view.frame.shape
    # The plain view's input coordinates in [-1, 1].
    y = torch.from_numpy(2 * (r + 0.5) / height - 1).to(plain)
    x = torch.from_numpy(2 * (q + 0.5) / width - 1).to(plain)
    inside = (y.abs() <= 1)[:, None] & (x.abs() <= 1)[None, :]
    points = torch.stack(torch.broadcast_tensors(x[None, :], y[:, None]), dim=-1)
    matched = functional.grid_sample(
        plain[None], points[None], padding_mode="border", align_corners=False
    )[0]
    return (augmented - matched)[:, inside].T
