"""Fit presets: every number of a fit, as data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeVar

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.fitting.objective import ObjectiveWeights

_Setting = TypeVar("_Setting")


def of_level(settings: tuple[_Setting, ...], level: int) -> _Setting:
    """Return the setting of a level, finest first; levels beyond the last one share it."""
    return settings[min(level, len(settings) - 1)]


@dataclass(frozen=True)
class GridSettings:
    """Size of a `grid` network.

    Attributes:
        spacing: Distance of nodes in cells, from the finest level to the coarsest.
        latents: Most latent channels a level, likewise.
        smoothness: How much nodes are held to the mean of their neighbours, beside the views,
            likewise.
        most_values: Upper bound on all nodes' values together; spacings grow evenly to respect it.
        slices: Most orthogonal slices per axis for the warm start.
    """

    spacing: tuple[float, ...] = (0.5, 0.44, 0.4)
    latents: tuple[int, ...] = (10, 20, 64)
    smoothness: tuple[float, ...] = (0.0, 0.0, 0.5)
    most_values: int = 120_000_000
    slices: int = 128


@dataclass(frozen=True)
class NFNetSettings:
    """Size of an `nfnet` network: models of residual blocks, each serving some levels.

    Attributes:
        width: Neurons of every hidden layer.
        blocks: Residual blocks of two layers.
        frequencies: Fourier frequencies an axis.
    """

    width: int = 768
    blocks: int = 10
    frequencies: int = 32


@dataclass(frozen=True)
class Preset:
    """Everything that decides a fit but volume, backbone, seed and device.

    Attributes:
        name: For the command line.
        summary: One line for people.
        network: "grid" or "nfnet".
        views: Distinct random views encoded in all.
        pool: Views kept for training; the oldest leave first.
        first_views: Views encoded before the first step.
        batch: Views encoded together; new ones arrive by so many.
        fill: Fraction of the steps over which all further views arrive.
        steps: Optimiser steps.
        windows: Windows of cells in a step, each from a random view of the pool.
        window: Side of a window, in cells of the coarsest level.
        samples: Pairs of stride and K; a cell is compared with the mean of K x K jittered
            positions.
        learning_rate: Largest step.
        warm_up: Fraction of the steps with a linearly growing learning rate; then cosine.
        final_rate: Fraction of the learning rate at the end.
        planes, augmentations: For the channels' expected deviation (w_i).
        heldout_views: Views of the held-out measure.
        objective: Factors of the objective's terms, for networks other than grids.
    """

    name: str
    summary: str
    network: Literal["grid", "nfnet"]
    views: int
    pool: int
    first_views: int
    fill: float
    steps: int
    windows: int
    window: int
    learning_rate: float
    warm_up: float = 0.0
    final_rate: float = 0.0
    samples: tuple[tuple[int, int], ...] = ((4, 2), (8, 2), (16, 4))
    batch: int = 1
    planes: int = 32
    augmentations: int = 4
    heldout_views: int = 8
    objective: ObjectiveWeights = field(default_factory=ObjectiveWeights)
    grid: GridSettings = field(default_factory=GridSettings)
    nfnet: NFNetSettings = field(default_factory=NFNetSettings)

    def samples_at(self, stride: int) -> int:
        """Return K of a stride; strides between the listed ones take the next finer one's."""
        return [k for s, k in self.samples if s <= stride or s == self.samples[0][0]][-1]

    def views_at(self, step: int) -> int:
        """Return how many views have been encoded when a step starts: whole batches, or all."""
        later = self.views - self.first_views
        # The last view arrives for the last step of the filling, not after it.
        span = max(1.0, self.fill * self.steps - 1)
        asked = self.first_views + min(later, int(later * step / span))
        return min(self.views, math.ceil(asked / self.batch) * self.batch)

    def views_gone(self, step: int) -> int:
        """Return how many of the first views a fit resumed at a step need not encode again.

        The rest are whole batches, and among them all that the pool held.
        """
        seen = self.views_at(max(0, step - 1))
        return max(0, seen - self.pool) // self.batch * self.batch

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then cosine to `final_rate`."""
        warm = self.warm_up * self.steps
        if step < warm:
            return self.learning_rate * min(1.0, (step + 1) / warm)
        done = (step - warm) / max(1.0, self.steps - warm)
        return self.learning_rate * (
            self.final_rate + (1 - self.final_rate) * (1 + math.cos(math.pi * done)) / 2
        )


# Grids cannot tell four positions a side from two, at a quarter of the work.
_GRID_SAMPLES = ((4, 2),)

_FAST = Preset(
    name="fast",
    summary="For a CPU: feature grids, two hundred views, minutes.",
    network="grid",
    views=192,
    pool=192,
    first_views=12,
    fill=0.6,
    steps=1500,
    windows=12,
    window=8,
    learning_rate=1.0,
    samples=_GRID_SAMPLES,
    final_rate=0.1,
    planes=8,
    augmentations=2,
    heldout_views=6,
)

_BALANCED = Preset(
    name="balanced",
    summary="For a GPU: finer feature grids, a thousand views.",
    network="grid",
    views=1000,
    pool=400,
    first_views=32,
    batch=8,
    fill=0.8,
    steps=4000,
    windows=32,
    window=8,
    learning_rate=1.0,
    samples=_GRID_SAMPLES,
    final_rate=0.02,
    planes=16,
    grid=GridSettings(latents=(16, 24, 64), most_values=256_000_000),
)

PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        preset.name: preset
        for preset in (
            replace(
                _FAST,
                name="draft",
                summary="For a first look, and for tests: like fast, with a quarter of the views.",
                views=48,
                pool=48,
                steps=200,
            ),
            _FAST,
            _BALANCED,
            replace(
                _BALANCED,
                name="small-gpu",
                summary="For a GPU of 6 GB: like balanced, with a smaller pool and coarser grids.",
                pool=128,
                batch=2,
                grid=replace(_BALANCED.grid, most_values=100_000_000),
            ),
            Preset(
                name="paper",
                summary="The published recipe: NFNet, 300 epochs of 200 fresh views.",
                network="nfnet",
                views=60_000,
                pool=1,
                first_views=1,
                fill=1.0,
                steps=60_000,
                windows=4,
                window=16,
                learning_rate=0.002,
                warm_up=10 / 300,
            ),
        )
    }
)


def preset_named(name: str) -> Preset:
    """Return the named preset.

    Raises:
        InputError: No preset has that name.
    """
    try:
        return PRESETS[name]
    except KeyError:
        known = ", ".join(PRESETS)
        raise InputError(f"There is no preset named “{name}”; choose one of: {known}.") from None
