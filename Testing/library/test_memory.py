"""The estimate of a fit's memory, and the refusal."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.devices.memory import free_memory
from VoxelFeatLib.errors import NotEnoughMemoryError
from VoxelFeatLib.fitting import fitter, memory
from VoxelFeatLib.fitting.fitter import Fitter
from VoxelFeatLib.fitting.memory import check_memory, fit_memory
from VoxelFeatLib.fitting.networks import network_for
from VoxelFeatLib.fitting.presets import NFNetSettings, preset_named
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import CT_WINDOWS

CPU = torch.device("cpu")
FAST = preset_named("fast")
SMALL_PAPER = dataclasses.replace(
    preset_named("paper"), nfnet=NFNetSettings(64, 3, 8), windows=8, window=4
)
GEOMETRY = Geometry((20, 64, 64), np.diag([3.0, 3.0, 5.0, 1.0]))
BACKBONE = FilterBackbone((CT_WINDOWS["soft"], CT_WINDOWS["bone"]), 128)


def needed(preset, geometry=GEOMETRY):
    return fit_memory(geometry, BACKBONE, network_for(preset, geometry, BACKBONE), preset)


def test_every_pooled_view_counts():
    more = dataclasses.replace(FAST, pool=FAST.pool + 10, views=FAST.views + 10)
    latents = network_for(FAST, GEOMETRY, BACKBONE).latents
    sides = [level.cells(128) for level in BACKBONE.levels]
    # Half-precision latent targets and their rest, and a byte for validity.
    one = sum((2 * (n + 1) + 1) * s**2 for n, s in zip(latents, sides, strict=True))
    assert needed(more) - needed(FAST) == 10 * one


def test_every_view_that_an_nfnet_is_trained_on_counts_with_all_its_channels():
    more = dataclasses.replace(SMALL_PAPER, pool=SMALL_PAPER.pool + 10)
    one = sum((2 * lv.channels + 1) * lv.cells(128) ** 2 for lv in BACKBONE.levels)
    assert needed(more) - needed(SMALL_PAPER) == 10 * one


def test_voxels_and_nodes_count():
    larger = Geometry((40, 64, 64), GEOMETRY.ijk_to_ras)
    nodes = [
        sum(p.numel() for p in network_for(FAST, g, BACKBONE).parameters())
        for g in (GEOMETRY, larger)
    ]
    difference = needed(FAST, larger) - needed(FAST)
    # The volume as float32; values and their gradient.
    assert difference >= 4 * 20 * 64 * 64 + 8 * (nodes[1] - nodes[0])


def test_what_training_keeps_for_the_backward_pass_counts():
    """Compared with the tensors that torch really saves, without the parameters themselves."""
    network = network_for(SMALL_PAPER, GEOMETRY, BACKBONE)
    parameters = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        if tensor.data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    # Positions of one step: cells of all windows and levels, and two patches a level.
    outputs = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for index, level in enumerate(BACKBONE.levels):
            side = SMALL_PAPER.window * 16 // level.stride
            cells = SMALL_PAPER.windows * side**2
            positions = cells * SMALL_PAPER.samples_at(level.stride) ** 2 + 2 * 24**2
            outputs.append(network.level(torch.randn(positions, 3), index))
    activations = sum(kept.values())

    estimate = needed(SMALL_PAPER) - needed(dataclasses.replace(SMALL_PAPER, windows=0))
    patches = 3 * 2 * 24**2 / sum(len(output) for output in outputs)
    assert estimate == pytest.approx(activations * (1 - patches), rel=0.25)


def test_the_paper_needs_more_than_ten_gigabytes_of_activations():
    """65,000 positions at the finest level, ten blocks of 768 wide layers."""
    paper = preset_named("paper")
    backbone = FilterBackbone((CT_WINDOWS["soft"],), 1024)
    network = network_for(paper, GEOMETRY, backbone)
    assert fit_memory(GEOMETRY, backbone, network, paper) > 10e9


def test_free_memory_is_what_the_system_has():
    assert 1 << 20 < free_memory(CPU) < 1 << 50


def test_too_little_memory_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda _: 2_000_000_000)
    check_memory(2_000_000_000, CPU, "balanced")
    with pytest.raises(NotEnoughMemoryError) as caught:
        check_memory(3_400_000_000, CPU, "balanced")
    message = str(caught.value)
    assert "3.4 GB" in message
    assert "2.0 GB" in message
    assert "in memory" in message
    assert "\n" not in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("device", "preset"), [("cpu", "fast"), ("cpu", "draft"), ("cuda", "small-gpu")]
)
def test_nobody_is_sent_to_the_preset_they_have(monkeypatch, device, preset):
    monkeypatch.setattr(memory, "free_memory", lambda _: 1)
    with pytest.raises(NotEnoughMemoryError, match="smaller input size") as caught:
        check_memory(2, torch.device(device), preset)
    assert preset not in str(caught.value)


def test_the_gpu_is_named(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda _: 1)
    with pytest.raises(NotEnoughMemoryError, match="on the GPU"):
        check_memory(2, torch.device("cuda"), "balanced")


def test_a_fit_asks_before_it_starts(monkeypatch):
    made = []

    def recorded(*arguments):
        made.append(network_for(*arguments))
        return made[-1]

    monkeypatch.setattr(fitter, "network_for", recorded)
    monkeypatch.setattr(memory, "free_memory", lambda _: 100 << 20)
    voxels = np.zeros((20, 64, 64), dtype=np.int16)
    with pytest.raises(NotEnoughMemoryError):
        Fitter(Volume(voxels, GEOMETRY, "CT"), BACKBONE, FAST)
    assert all(parameter.is_meta for network in made for parameter in network.parameters())


@pytest.mark.parametrize(("preset", "limit"), [("balanced", 12e9), ("small-gpu", 6e9)])
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_presets_keep_to_their_gpus(preset, limit, precision):
    """The largest encoder at SAM2's own input, on 512 x 512 x 300 voxels, its weights included."""
    sam2 = pytest.importorskip("VoxelFeatLib.backbones.sam2.backbone").Sam2Backbone
    parts = SimpleNamespace(precision=precision, architecture="large", input_size=1024)
    backbone = SimpleNamespace(
        levels=sam2.levels, input_size=1024, work_bytes=lambda: sam2.work_bytes(parts)
    )
    geometry = Geometry((300, 512, 512), np.diag([0.75, 0.75, 1.5, 1.0]))
    with torch.device("meta"):
        network = network_for(preset_named(preset), geometry, backbone)
    weights = 4 * 212_700_000
    needed = fit_memory(geometry, backbone, network, preset_named(preset)) + weights
    assert limit / 3 < needed < limit


def test_maps_of_a_batch_count_while_they_are_standardised():
    more = dataclasses.replace(FAST, batch=FAST.batch + 1)
    numbers = sum(level.channels * level.cells(128) ** 2 for level in BACKBONE.levels)
    assert needed(more) - needed(FAST) == BACKBONE.work_bytes() + (4 + 2) * numbers


@pytest.mark.parametrize(("device", "preset"), [("cpu", "fast"), ("cuda", "small-gpu")])
def test_a_refusal_names_a_preset_that_needs_less(monkeypatch, device, preset):
    monkeypatch.setattr(memory, "free_memory", lambda _: 1)
    with pytest.raises(NotEnoughMemoryError, match=f"the preset “{preset}”"):
        check_memory(2, torch.device(device), "balanced")


def test_grids_respect_their_bound():
    preset = dataclasses.replace(FAST, grid=dataclasses.replace(FAST.grid, most_values=50_000))
    network = network_for(preset, GEOMETRY, BACKBONE)
    values = sum(math.prod(grid.values.shape) for grid in network.grids)
    assert 25_000 < values <= 50_000
