"""Benchmarks are scripts beside each other; here they are imported as they import one another."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from _roofline import Roofline
from _subjects import Choice, phantom_of

from VoxelFeatLib.fitting.presets import NFNetSettings, Preset, preset_named
from VoxelFeatLib.imaging.phantom import Phantom


@pytest.fixture(scope="session")
def a_phantom() -> Phantom:
    return phantom_of("40x40x24")


@pytest.fixture
def filters() -> Choice:
    return Choice("filters", torch.device("cpu"))


@pytest.fixture(scope="session")
def a_roofline() -> Roofline:
    return Roofline(torch.device("cpu"), scale=16)


@pytest.fixture
def a_preset() -> Preset:
    fast = preset_named("fast")
    return replace(
        fast,
        views=6,
        pool=6,
        first_views=3,
        steps=10,
        windows=2,
        window=2,
        planes=2,
        augmentations=1,
        heldout_views=1,
        grid=replace(fast.grid, slices=8),
    )


@pytest.fixture
def a_paper() -> Preset:
    return replace(
        preset_named("paper"),
        windows=1,
        window=2,
        planes=2,
        augmentations=1,
        heldout_views=1,
        grid=replace(preset_named("paper").grid, slices=4),
        nfnet=NFNetSettings(16, 1, 4),
    )
