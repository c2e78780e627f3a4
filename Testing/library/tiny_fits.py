"""Fits of a few steps, as quick as fits can be."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.presets import NFNetSettings, preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.volume import Volume

GRID = dataclasses.replace(
    preset_named("fast"),
    views=8,
    pool=5,  # smaller than the views: old ones leave
    first_views=2,
    fill=0.7,
    steps=24,
    windows=4,
    window=4,
    planes=6,
    augmentations=1,
    heldout_views=2,
)
THREES = dataclasses.replace(GRID, batch=3)
NFNET = dataclasses.replace(
    GRID, network="nfnet", learning_rate=0.002, warm_up=0.1, nfnet=NFNetSettings(16, 2, 4)
)


def fitter_of(volume, preset, seed=0):
    return Fitter(volume, FilterBackbone.for_volume(volume), preset, seed=seed)


def fitted(volume, preset, seed=0):
    fitter = fitter_of(volume, preset, seed)
    return fitter, list(fitter)


def same_weights(one, other):
    tensors = other.field.state_dict()
    return all(torch.equal(tensors[name], t) for name, t in one.field.state_dict().items())


def tiny_phantom():
    return make_phantom((24, 40, 40), (6.0, 6.0, 9.5)).volume


def random_volume(shape_kji, spacing_ijk=(1.0, 1.0, 1.0)):
    rng = np.random.default_rng(0)
    voxels = rng.normal(50, 100, size=shape_kji).astype(np.int16)
    return Volume(voxels, Geometry(shape_kji, np.diag([*spacing_ijk, 1.0])), "CT")
