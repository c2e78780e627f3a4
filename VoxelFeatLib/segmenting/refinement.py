"""Refine a coarse mask with the field.

``paper``: the published protocol. A LayerNorm probe is trained on the coarse labels in the box of
the mask and replaces them there. It loses to plain anti-aliasing where the target does not differ
from its surroundings.

``prior`` (default): the probe may only move the border, as far as it has earned; see border.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import Mask
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.imaging.resampling import resample_labels_nearest
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.border import BAND, prior_logit, surface_distance, trusted_probe
from VoxelFeatLib.segmenting.coarse import underlying_grid
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.probe import LayerNormHead, fit_layernorm
from VoxelFeatLib.segmenting.samples import samples_at

Mode = Literal["prior", "paper"]

# Positions evaluated between two steps.
_POINTS = 1 << 16
# The paper's box is so many voxels larger than the mask's on every side.
_PAPER_MARGIN = 5
# Voxels that the paper's probe is trained on: 200 epochs of them take seconds.
_PAPER_VOXELS = 1 << 15
# Of them inside and outside of the mask, at least, where there are so many.
_PAPER_FEWEST = 64


@dataclass(frozen=True, eq=False)
class RefineProgress:
    """How far a refinement is.

    Attributes:
        stage: What is being done, for the user.
        fraction: 0 to 1.
        mask: (K, J, I) on the volume's grid; only at the end.
        trust: Weight of the probe's logit beside the prior (``prior`` mode, at the end).
    """

    stage: str
    fraction: float
    mask: Mask | None = None
    trust: float = 0.0


def refine_steps(
    volume: Volume,
    field: FeatureField,
    coarse_mask: Mask,
    coarse_geometry: Geometry | None = None,
    *,
    mode: Mode = "prior",
    coarse_mm: float | None = None,
    seed: int = 0,
) -> Iterator[RefineProgress]:
    """Refine a coarse mask step by step; stop asking for steps to cancel.

    Args:
        volume: The volume.
        field: Its field.
        coarse_mask: (K, J, I) on any grid; blocks of an up-sampled mask are recognised.
        coarse_geometry: The mask's grid; the volume's when None.
        mode: "prior", or "paper".
        coarse_mm: Edge of the coarse voxels, where it cannot be seen from the mask.
        seed: Chooses the folds, and what the probe is trained on.

    Returns:
        An iterator of steps; the last one carries the mask.

    Raises:
        InputError: The mask is empty, of another shape than its geometry, or outside the volume.
    """
    geometry = coarse_geometry or volume.geometry
    mask = np.asarray(coarse_mask, dtype=bool)
    if mask.shape != geometry.shape_kji:
        raise InputError(
            f"The coarse mask has shape {mask.shape}, but its geometry says {geometry.shape_kji}."
        )
    if not mask.any():
        raise InputError("The coarse mask is empty; there is nothing to refine.")
    if mode == "paper":
        return _paper_steps(volume, field, mask, geometry, seed)
    labels, grid = mask, geometry
    # A grid coarser than the volume's is the mask's own; on a fine one it may have been up-sampled.
    if coarse_mm is not None or geometry.spacing.max() < 1.5 * volume.geometry.spacing.max():
        labels, grid = underlying_grid(mask, geometry, coarse_mm)
    return _prior_steps(volume, field, labels, grid, seed)


def _prior_steps(
    volume: Volume, field: FeatureField, labels: Mask, grid: Geometry, seed: int
) -> Iterator[RefineProgress]:
    yield RefineProgress("Smoothing the mask", 0.0)
    extent = _extent_around(labels, grid, volume.geometry, margin=2.5)
    crop = volume.geometry.subgrid(extent.start_kji[::-1], (1, 1, 1), extent.shape)
    z = surface_distance(labels, grid, crop)
    yield RefineProgress("Fitting the probe", 0.05)
    probe = trusted_probe(volume, field, labels, grid, np.random.default_rng(seed))
    inner = z > 0
    if probe is not None:
        inference = VolumeInference(field, volume)
        band = np.argwhere(np.abs(z) < BAND)
        for first in range(0, len(band), _POINTS):
            part = band[first : first + _POINTS]
            ras = volume.geometry.to_ras((part + extent.start_kji)[:, ::-1])
            where = tuple(part.T)
            evidence = probe.evidence(inference.logits_at(probe.head, ras))
            inner[where] = prior_logit(z[where]) + evidence > 0
            done = (first + len(part)) / len(band)
            yield RefineProgress("Moving the border", 0.3 + 0.7 * done)
    result = np.zeros(volume.geometry.shape_kji, dtype=bool)
    result[extent.slices] = inner
    yield RefineProgress("Done", 1.0, result, 0.0 if probe is None else probe.weight)


def _paper_steps(
    volume: Volume, field: FeatureField, mask: Mask, geometry: Geometry, seed: int
) -> Iterator[RefineProgress]:
    yield RefineProgress("Sampling the box", 0.0)
    noisy = resample_labels_nearest(mask, geometry, volume.geometry)
    box = bounding_box(noisy)
    if box is None:
        raise InputError("The coarse mask lies outside the volume.")
    low = [part.start - _PAPER_MARGIN for part in box]
    high = [part.stop + _PAPER_MARGIN for part in box]
    whole = Extent.whole(volume.geometry.shape_kji)
    extent = Extent.of(low, high).clipped(whole)
    positive, negative = _box_samples(volume, field, noisy, extent, seed)
    yield RefineProgress("Training the probe", 0.2)
    head = _StandardisedHead.fit(positive, negative, seed)
    result = np.zeros(whole.shape, dtype=bool)
    done = 0
    for piece, inside in VolumeInference(field, volume).masks(head, extent):
        result[piece.slices] = inside
        done += piece.size
        yield RefineProgress("Evaluating the probe", 0.6 + 0.4 * min(done / extent.size, 1.0))
    yield RefineProgress("Done", 1.0, result)


@dataclass(frozen=True, eq=False)
class _StandardisedHead:
    """The paper's probe on channels of zero mean and unit deviation.

    LayerNorm mixes channels, so it needs them on one scale; those of the paper's backbone are,
    those of others need not be.
    """

    head: LayerNormHead
    mean: torch.Tensor
    scale: torch.Tensor

    @classmethod
    def fit(
        cls, positive: npt.NDArray[np.float32], negative: npt.NDArray[np.float32], seed: int
    ) -> _StandardisedHead:
        both = np.concatenate([positive, negative])
        mean, scale = both.mean(axis=0), np.maximum(both.std(axis=0), 1e-6)
        head = fit_layernorm((positive - mean) / scale, (negative - mean) / scale, seed=seed)
        return cls(head, torch.from_numpy(mean), torch.from_numpy(scale))

    def logits(self, features: torch.Tensor, intensity: torch.Tensor) -> torch.Tensor:
        """Map (N, C) features and (N,) intensities in [0, 1] to (N,) logits."""
        mean, scale = self.mean.to(features), self.scale.to(features)
        standardised = (features - mean[:-1]) / scale[:-1]
        return self.head.logits(standardised, (intensity - mean[-1]) / scale[-1])


def _box_samples(
    volume: Volume, field: FeatureField, noisy: Mask, extent: Extent, seed: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return [features, intensity] inside and outside the mask, at random voxels of a box.

    Over 200 epochs random slices come to all of them; few whole ones would make the probe depend
    on which they are.
    """
    part = noisy[extent.slices].ravel()
    generator = np.random.default_rng(seed)
    drawn = [(np.arange(part.size), _PAPER_VOXELS)]
    # A thin mask in a large box may not be among them.
    drawn += [(np.flatnonzero(kind), _PAPER_FEWEST) for kind in (part, ~part)]
    chosen = np.unique(
        np.concatenate(
            [generator.choice(of, min(most, len(of)), replace=False) for of, most in drawn]
        )
    )
    voxels = np.stack(np.unravel_index(chosen, extent.shape), axis=1) + extent.start_kji
    x = samples_at(field, volume, volume.geometry.to_ras(voxels[:, ::-1]))
    labels = part[chosen]
    return x[labels], x[~labels]


def _extent_around(labels: Mask, grid: Geometry, geometry: Geometry, *, margin: float) -> Extent:
    """Return the volume's voxels in the box of a mask on another grid, and so many beyond.

    Raises:
        InputError: The mask lies outside the volume.
    """
    box = bounding_box(labels)
    if box is None:
        raise InputError("The coarse mask is empty; there is nothing to refine.")
    if not geometry.contains(grid.to_ras(np.argwhere(labels)[:, ::-1])).any():
        raise InputError("The coarse mask lies outside the volume.")
    ends = [(part.start - 0.5 - margin, part.stop - 0.5 + margin) for part in reversed(box)]
    ijk = geometry.to_ijk(grid.to_ras(list(product(*ends))))
    start = np.maximum(np.floor(ijk.min(axis=0)), 0).astype(int)[::-1].tolist()
    size = geometry.shape_kji
    stop = np.minimum(np.ceil(ijk.max(axis=0))[::-1] + 1, size).astype(int).tolist()
    return Extent.of(start, stop)
