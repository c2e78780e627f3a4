from __future__ import annotations

import numpy as np
import pytest
import torch
from library.steps import done

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting import graph as module
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.graph import SHARPNESS, Graph, contrast, graph_of

CPU = torch.device("cpu")


def make_volume(voxels, modality="CT", spacing_ijk=(1.0, 1.0, 1.0)):
    geometry = Geometry(voxels.shape, np.diag([*spacing_ijk, 1.0]))
    return Volume(voxels, geometry, modality)


def overlap_mean(voxels, shape):
    """Mean of all voxels that a cell holds, wholly or in part, one axis after the other."""
    values = voxels.astype(np.float64)
    for axis, count in enumerate(shape):
        size = values.shape[axis]
        bounds = [(n * size // count, -(-(n + 1) * size // count)) for n in range(count)]
        parts = [values.take(range(a, b), axis).mean(axis, keepdims=True) for a, b in bounds]
        values = np.concatenate(parts, axis)
    return values


def test_weights_by_hand():
    values = torch.tensor([[[0.0, 0.1], [0.0, 0.0]]])
    graph = Graph(Lattice.of_voxels((0, 0, 0), (1, 2, 2)), values, values, (5.0, 2.0, 1.0))
    assert [tuple(w.shape) for w in graph.weights] == [(0, 2, 2), (1, 1, 2), (1, 2, 1)]
    edge = np.exp(-SHARPNESS * 0.01) + 1e-4
    flat = 1 + 1e-4
    np.testing.assert_allclose(graph.weights[1].numpy(), [[[flat / 4, edge / 4]]], rtol=1e-5)
    np.testing.assert_allclose(graph.weights[2].numpy(), [[[edge], [flat]]], rtol=1e-5)
    expected = [[[flat / 4 + edge, edge / 4 + edge], [flat / 4 + flat, edge / 4 + flat]]]
    np.testing.assert_allclose(graph.degree.numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.float32])
@pytest.mark.parametrize("shape", [(7, 11, 13), (1, 12, 9), (8, 1, 1), (30, 5, 4)])
def test_nodes_hold_the_mean_of_their_cells(dtype, shape):
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    graph, _ = done(graph_of(make_volume(voxels), Extent.whole(shape), 60, CPU))
    assert graph.lattice.size <= 60
    assert graph.values.dtype == torch.float32
    expected = overlap_mean(voxels, graph.lattice.shape_kji)
    np.testing.assert_allclose(graph.values.numpy(), expected, rtol=1e-5)


def test_enough_nodes_are_the_voxels_of_a_box():
    voxels = np.arange(120, dtype=np.int16).reshape(4, 5, 6)
    box = Extent((1, 2, 0), (3, 5, 6))
    graph, _ = done(graph_of(make_volume(voxels, spacing_ijk=(0.7, 0.7, 5)), box, 1000, CPU))
    np.testing.assert_array_equal(graph.values.numpy(), voxels[box.slices])
    assert graph.lattice == Lattice.of_voxels(box.start_kji, box.stop_kji)
    assert graph.spacing_kji == pytest.approx((5, 0.7, 0.7))


def test_thick_slices_are_not_joined_before_cells_are_cubes():
    voxels = np.zeros((10, 70, 70), dtype=np.int16)
    volume = make_volume(voxels, spacing_ijk=(0.7, 0.7, 5.0))
    graph, _ = done(graph_of(volume, Extent.whole(voxels.shape), 2000, CPU))
    assert graph.lattice.shape_kji[0] == 10
    assert max(graph.spacing_kji) == 5


def test_large_volumes_are_pooled_with_pauses(monkeypatch):
    voxels = np.random.default_rng(0).integers(0, 9, (12, 8, 8)).astype(np.int16)
    volume, whole = make_volume(voxels), Extent.whole(voxels.shape)
    at_once, pauses = done(graph_of(volume, whole, 50, CPU))
    assert pauses == 0
    monkeypatch.setattr(module, "_VOXELS_AT_ONCE", 64)
    in_pieces, pauses = done(graph_of(volume, whole, 50, CPU))
    assert pauses == in_pieces.lattice.shape_kji[0]
    assert torch.equal(at_once.values, in_pieces.values)


def test_contrast_is_steep_in_the_window_of_soft_tissue():
    volume = make_volume(np.zeros((1, 1, 2), dtype=np.int16))
    # The window: -160 to 240 HU; 400 HU beyond it count as 100 inside.
    values = contrast(volume, [-560, -160, 40, 240, 640])
    np.testing.assert_allclose(values, [-0.25, 0, 0.5, 1, 1.25], atol=1e-6)


def test_contrast_of_other_modalities_is_high_where_values_are_frequent():
    # Two like tissues make up most of what is not air; the range is that of a few bright voxels.
    rng = np.random.default_rng(0)
    tissues = np.concatenate([rng.normal(100, 4, 5000), rng.normal(120, 4, 5000)])
    voxels = np.concatenate([np.zeros(2000), tissues, rng.uniform(0, 1000, 500)])
    voxels = voxels.astype(np.float32).reshape(1, 1, -1)
    low, between, high, *rare = contrast(make_volume(voxels, "MR"), [100, 110, 120, 500, 520])
    even = 0.02
    assert high - low > 2.5 * even
    assert 0 < between - low < high - low
    assert 0.5 * even < rare[1] - rare[0] < even
    scaled = contrast(make_volume(3 * voxels + 50, "MR"), [350, 380, 410])
    np.testing.assert_allclose(scaled, [low, between, high], atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_volume_of_one_value_has_no_contrast(value):
    voxels = np.full((2, 3, 4), value, dtype=np.float32)
    assert not np.ptp(contrast(make_volume(voxels, "MR"), voxels))


def test_contrast_of_other_modalities_ends_with_their_window():
    voxels = np.linspace(0, 1000, 1001, dtype=np.float32).reshape(7, 11, 13)
    values = contrast(make_volume(voxels, "MR"), [-50, 5, 500, 995, 2000])
    np.testing.assert_allclose(values, [0, 0, 0.5, 1, 1], atol=1e-3)
