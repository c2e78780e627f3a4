"""Counting, by hand, and the floor that follows from it."""

from __future__ import annotations

import _fit_work
import pytest
import torch
from _fit_work import CountedBackbone, step_work, view_work
from _mask_work import slices_work, whole_work
from _roofline import Roofline, Work, bytes_of, flop_of
from torch.nn import functional

from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.field.nfnet import NFNetwork
from VoxelFeatLib.fitting.presets import preset_named


@pytest.fixture
def a_roofline_of_known_rates() -> Roofline:
    """100 bytes a second, 10 operations a second in float32, 40 in bfloat16."""
    roofline = Roofline(torch.device("cpu"))
    roofline._copy = 100.0
    roofline._products = {torch.float32: 10.0, torch.bfloat16: 40.0}
    return roofline


@pytest.fixture
def a_grid(a_phantom) -> GridNetwork:
    """10 channels in 3 latents and 20 in 5."""
    levels = (FeatureLevel("fine", 4, 10), FeatureLevel("coarse", 8, 20))
    return GridNetwork(a_phantom.volume.geometry, levels, (20.0, 40.0), (3, 5))


def test_a_matrix_product():
    a, b = torch.rand(3, 4), torch.rand(4, 5)
    assert flop_of(lambda: a @ b) == 2 * 3 * 4 * 5
    assert bytes_of(a, b, [a.half(), b.double()]) == 4 * (12 + 20) + 2 * 12 + 8 * 20


def test_a_convolution():
    image, kernel = torch.rand(1, 3, 8, 8), torch.rand(5, 3, 3, 3)
    assert flop_of(lambda: functional.conv2d(image, kernel)) == 2 * (6 * 6 * 5) * (3 * 3 * 3)


def test_attention_is_two_products():
    query, key = torch.rand(1, 2, 8, 4), torch.rand(1, 2, 6, 4)
    each = 2 * 8 * 6 * 4
    assert flop_of(lambda: functional.scaled_dot_product_attention(query, key, key)) == 2 * 2 * each


def test_the_smallest_encoder_has_the_published_cost():
    """146 GMAC at 1024 pixels, counted on shapes alone."""
    pytest.importorskip("sam2")
    model = pytest.importorskip("VoxelFeatLib.backbones.sam2.model")
    encoder = model.Encoder(model.ARCHITECTURES["tiny"]).eval().to("meta")
    image = torch.empty(1, 3, 1024, 1024, device="meta")
    assert flop_of(lambda: encoder(image)) == pytest.approx(2 * 146e9, rel=0.01)


def test_the_larger_time_is_the_floor(a_roofline_of_known_rates):
    roofline = a_roofline_of_known_rates
    moving, computing = Work(flop=10, bytes=300), Work(flop=50, bytes=100)
    assert roofline.floor(moving) == 3
    assert roofline.floor(computing) == 5
    assert roofline.floor(moving, computing.times(2)) == 13
    assert roofline.floor(Work(80, 100, torch.bfloat16)) == 2
    assert roofline.share(20, computing) == 0.25


def test_ceilings_are_measured_once(a_roofline):
    assert a_roofline.copy_rate == a_roofline.copy_rate > 0
    assert a_roofline.product_rate(torch.float32) == a_roofline.product_rate(torch.float32) > 0
    assert {row.unit for row in a_roofline.rows()} == {"GB/s", "GFLOP/s"}


def test_a_step_of_grids(monkeypatch, a_grid):
    window = _fit_work._Window(cells=10, positions=40, nodes=7)
    monkeypatch.setattr(_fit_work, "_mean_window", lambda *_: window)
    preset = preset_named("fast")
    work = step_work(a_grid, preset, 64)
    mixing = 40 * 8 * 2 * 2 * (3 + 5)  # forward and backward, eight corners
    assert work.flop == preset.windows * mixing
    assert work.bytes == preset.windows * (2 * 10 * (4 + 6) + 3 * 4 * 7 * (3 + 5))


def test_a_step_of_the_paper(monkeypatch, a_phantom):
    network = NFNetwork(a_phantom.volume.geometry, (FeatureLevel("one", 4, 6),), 8, 1, 2)
    window = _fit_work._Window(cells=10, positions=40, nodes=0)
    monkeypatch.setattr(_fit_work, "_mean_window", lambda *_: window)
    preset = preset_named("paper")
    inputs = 3 + 3 * 2 * 2
    affine, forward = 2 * 3 * 3, 2 * (inputs * 8 + 2 * 8 * 8 + 8 * 6)
    work = step_work(network, preset, 64)
    assert work.flop == preset.windows * 3 * (affine + forward) * 40
    weights = 4 * sum(p.numel() for p in network.parameters())
    assert work.bytes == preset.windows * 10 * 6 * 2 + 10 * weights


def test_windows_hold_valid_cells_and_their_positions(a_grid, a_preset):
    window = _fit_work._mean_window(a_grid, a_preset, 64, 1)
    assert 0 < window.cells <= a_preset.window**2
    assert window.positions == pytest.approx(window.cells * a_preset.samples_at(8) ** 2)
    assert 8 <= window.nodes <= len(a_grid.grid(1).values)


def test_a_view_moves_image_and_maps(a_phantom):
    backbone = FilterBackbone.for_volume(a_phantom.volume)
    side = backbone.input_size
    maps = sum(level.channels * level.cells(side) ** 2 for level in backbone.levels)
    work = view_work(backbone)
    assert work.bytes == 4 * (backbone.encoding.channels * side**2 + maps)
    assert work.flop > 0


def test_views_are_counted(a_phantom):
    backbone = CountedBackbone(FilterBackbone.for_volume(a_phantom.volume))
    backbone(torch.zeros(2, backbone.encoding.channels, 128, 128))
    backbone(torch.zeros(1, backbone.encoding.channels, 128, 128))
    assert backbone.views == 3
    assert backbone.name == "filters"


def test_a_mask_reads_every_node_and_writes_every_voxel(a_phantom, a_grid):
    volume, field = a_phantom.volume, FeatureField(a_grid, "made up", "-")
    nodes = 3 * len(a_grid.grid(0).values) + 5 * len(a_grid.grid(1).values)
    voxels = volume.voxels.size
    assert whole_work(field, volume).bytes == 4 * nodes + voxels + 2 * voxels
    assert whole_work(field, volume, 0.5).bytes == 4 * nodes + voxels + voxels
    assert slices_work(field, volume).bytes < whole_work(field, volume).bytes
