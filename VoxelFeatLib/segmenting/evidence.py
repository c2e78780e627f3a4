"""From clicks and existing masks to a fitted probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.imaging.aliases import FloatArray, Position
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.probe import AffineHead, LogisticProblem, fit_whitened
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.sampling import inside_and_around
from VoxelFeatLib.segmenting.segment import Wish
from VoxelFeatLib.segmenting.statistics import FeatureStatistics

# A click counts as many samples of an existing mask.
_CLICK_WEIGHT = 20.0
_RIDGE = 1.0
# Positions remembered: a click that is dragged leaves many behind.
_MOST_ROWS = 4096
# A click's neighbourhood, as part of the volume's half extent (3 mm in an abdominal CT), and how
# much of the click's weight its mean gets.
_NEIGHBOURHOOD = 1 / 60
_NEIGHBOURHOOD_WEIGHT = 0.75

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Samples:
    """What the probe learns from.

    Attributes:
        x: (N, C + 1) features and intensity.
        ras: (N, 3) where, mm.
        weights: (N,) how much each counts.
    """

    x: Rows
    ras: FloatArray
    weights: FloatArray

    def joined(self, other: Samples) -> Samples:
        """Return both together."""
        return Samples(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.ras, other.ras]),
            np.concatenate([self.weights, other.weights]),
        )

    def chosen(self, kept: npt.NDArray[np.bool_]) -> Samples:
        """Return some of them, (N,)."""
        return Samples(self.x[kept], self.ras[kept], self.weights[kept])


class Evidence:
    """Samples of one volume and field, each asked for once.

    Args:
        volume: The volume.
        field: Its field.
        seed: Chooses the random samples.
    """

    def __init__(self, volume: Volume, field: FeatureField, seed: int) -> None:
        self._volume = volume
        self._field = field
        self._seed = seed
        self._rows: dict[Position, Rows] = {}
        self._offsets = _star(volume.geometry.radius * _NEIGHBOURHOOD)
        self._of_masks: dict[PackedMask, tuple[Samples, Samples]] = {}

    def with_field(self, field: FeatureField) -> Evidence:
        """Return the same for a better field."""
        return Evidence(self._volume, field, self._seed)

    @cached_property
    def statistics(self) -> FeatureStatistics:
        """What is normal in the volume; computed when first needed."""
        return FeatureStatistics.of(self._field, self._volume, seed=self._seed)

    def fit(self, wish: Wish) -> AffineHead:
        """Fit the click probe to a segment's positions and its existing mask."""
        positive, negative = self._at(wish.positive), self._at(wish.negative)
        if wish.base is not None:
            inside, around = self._consistent(positive.x, negative.x, *self._of_mask(wish.base))
            positive, negative = positive.joined(inside), negative.joined(around)
        return fit_whitened(
            positive.x,
            negative.x,
            self.statistics,
            positive_ras=positive.ras,
            negative_ras=negative.ras,
            positive_weights=positive.weights,
            negative_weights=negative.weights,
        )

    def _consistent(
        self, positive: Rows, negative: Rows, inside: Samples, around: Samples
    ) -> tuple[Samples, Samples]:
        """Leave out what a plain fit contradicts: masks err, and clicks correct them.

        The probe insists on every sample it is given; mislabelled ones would turn it around.
        """
        parts = [positive, inside.x, negative, around.x]
        z = self.statistics.whiten(np.concatenate(parts))
        sizes = [len(part) for part in parts]
        signs = np.repeat([1.0, 1.0, -1.0, -1.0], sizes)
        weights = np.repeat([_CLICK_WEIGHT, 1.0, _CLICK_WEIGHT, 1.0], sizes)
        solution = LogisticProblem(z, signs, weights, _RIDGE).solve()
        right = signs * (z @ solution[:-1] + solution[-1]) > 0
        _, kept_inside, _, kept_around = np.split(right, np.cumsum(sizes)[:-1])
        if not len(positive) and not kept_inside.any():
            return inside, around
        return inside.chosen(kept_inside), around.chosen(kept_around)

    def _at(self, positions: Sequence[Position]) -> Samples:
        """Samples of clicks at RAS positions: each its own voxel and its neighbourhood's mean.

        Noise disturbs the mean less. Only new positions ask the field, all at once: a scribble is
        many clicks.
        """
        missing = [position for position in dict.fromkeys(positions) if position not in self._rows]
        if len(self._rows) + len(missing) > _MOST_ROWS:
            self._rows = {place: self._rows[place] for place in positions if place in self._rows}
        if missing:
            places = np.asarray(missing)[:, None] + self._offsets
            x = samples_at(self._field, self._volume, places.reshape(-1, 3))
            x = x.reshape(len(missing), len(self._offsets), -1)
            pairs = np.stack([x[:, 0], x.mean(axis=1)], axis=1)
            self._rows.update(zip(missing, pairs, strict=True))
        nothing = np.empty((0, self._field.channels + 1), dtype=np.float32)
        rows = np.concatenate([nothing, *(self._rows[position] for position in positions)])
        ras = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
        weights = [1 - _NEIGHBOURHOOD_WEIGHT, _NEIGHBOURHOOD_WEIGHT]
        return Samples(rows, ras.repeat(2, axis=0), np.tile(weights, len(ras)))

    def _of_mask(self, base: PackedMask) -> tuple[Samples, Samples]:
        if base not in self._of_masks:
            self._of_masks.clear()  # one at a time: a new mask replaces the old one
            inside, around = inside_and_around(base.mask(), self._volume.geometry, self._seed)
            self._of_masks[base] = (self._of_voxels(inside), self._of_voxels(around))
        return self._of_masks[base]

    def _of_voxels(self, ras: FloatArray) -> Samples:
        rows = samples_at(self._field, self._volume, ras)
        return Samples(rows, ras, np.ones(len(rows)))


def _star(reach: float) -> FloatArray:
    """The centre and its six neighbours at a distance, (7, 3) mm."""
    steps = reach * np.eye(3)
    return np.concatenate([np.zeros((1, 3)), steps, -steps])
