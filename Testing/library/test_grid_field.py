"""Interpolation in node grids, and fields made of them, against scipy and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field import feature_field
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.grid import GridNetwork, NodeGrid
from VoxelFeatLib.field.interpolation import (
    corner_weights,
    interpolate_axis,
)
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry

LEVELS = (FeatureLevel("fine", 4, 5), FeatureLevel("coarse", 16, 7))


def random_geometry(seed, shape_kji=None):
    """Any rotation, spacing and position."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * rng.uniform(0.5, 3, size=3)
    matrix[:3, 3] = rng.uniform(-300, 300, size=3)
    shape = shape_kji or tuple(int(n) for n in rng.integers(2, 12, size=3))
    return Geometry(shape, matrix)


def filled(network, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network


def make_field(geometry, spacings=(1.5, 4.0), latents=(3, 2)):
    field = FeatureField(filled(GridNetwork(geometry, LEVELS, spacings, latents)), "filters", "-")
    field.mean.copy_(torch.linspace(-1, 1, 12))
    field.std.copy_(torch.linspace(0.5, 2, 12))
    return field


@pytest.fixture
def a_grid_field():
    return make_field(random_geometry(3, (6, 9, 11)))


def random_points(geometry, count=50, seed=1, beyond=0.3):
    """Positions in and around the volume."""
    rng = np.random.default_rng(seed)
    unit = rng.uniform(-beyond, 1 + beyond, size=(count, 3))
    index = unit * (np.array(geometry.shape_kji[::-1]) - 1)
    return torch.tensor(geometry.to_ras(index), dtype=torch.float32)


@pytest.mark.parametrize("seed", range(8))
def test_a_node_grid_interpolates_as_scipy_does(seed):
    geometry = random_geometry(seed)
    grid = filled(NodeGrid(geometry, spacing=2.0, latents=3))
    ras = random_points(geometry)

    values = grid(ras).detach().numpy()

    # Nodes span the voxel centres evenly; beyond them the edge's value.
    index = geometry.to_ijk(ras.double().numpy())[:, ::-1]
    last_voxel = np.array(geometry.shape_kji) - 1
    nodes = index * (np.array(grid.shape_kji) - 1) / np.maximum(last_voxel, 1)
    nodes = np.clip(nodes, 0, np.array(grid.shape_kji) - 1)
    table = grid.values.detach().numpy().reshape(*grid.shape_kji, 3)
    for channel in range(3):
        expected = map_coordinates(table[..., channel].astype(float), nodes.T, order=1)
        np.testing.assert_allclose(values[:, channel], expected, atol=2e-3)


def test_nodes_stand_on_voxels_when_asked_for_voxel_spacing(a_geometry):
    # 0.5 x 1 x 2 mm voxels: 0.1 mm nodes would be finer than any.
    grid = filled(NodeGrid(a_geometry, spacing=0.1, latents=2))
    assert grid.shape_kji == a_geometry.shape_kji
    ras = torch.tensor(a_geometry.to_ras([[0, 0, 0], [5, 4, 3], [1, 2, 3]]), dtype=torch.float32)
    rows = [0, grid.values.shape[0] - 1, 3 * 30 + 2 * 6 + 1]
    torch.testing.assert_close(grid(ras), grid.values[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("spacing", "shape"), [(1.0, (4, 5, 4)), (2.0, (4, 3, 3)), (2.5, (4, 3, 2)), (50, (2, 2, 2))]
)
def test_nodes_are_at_most_their_spacing_apart(a_geometry, spacing, shape):
    assert NodeGrid(a_geometry, spacing, 1).shape_kji == shape


def test_a_node_grid_of_a_single_slice_is_constant_across_it():
    geometry = random_geometry(5, (1, 6, 7))
    grid = filled(NodeGrid(geometry, 1.0, 2))
    index = np.array([[2.5, 3.5, k] for k in (-0.5, 0, 0.0)])
    values = grid(torch.tensor(geometry.to_ras(index), dtype=torch.float32))
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=0)


def test_corner_weights_sum_to_one_and_stay_in_the_grid():
    coordinates = torch.rand(200, 3, dtype=torch.float64) * 12 - 3
    rows, weights = corner_weights(coordinates, (4, 5, 6))
    assert rows.min() >= 0
    assert rows.max() < 4 * 5 * 6
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(1), torch.ones(200, dtype=torch.float64))


def test_interpolation_along_an_axis_is_linear_and_clamped():
    values = torch.tensor([[0.0, 10, 40], [1, 2, 3]])
    along = torch.tensor([-1.0, 0, 0.5, 1, 1.25, 2, 5])
    torch.testing.assert_close(
        interpolate_axis(values, 1, along),
        torch.tensor([[0, 0, 5, 10, 17.5, 40, 40], [1, 1, 1.5, 2, 2.25, 3, 3]]),
    )
    # One value is constant.
    torch.testing.assert_close(interpolate_axis(values[:, :1], 1, along)[0], torch.zeros(7))


def test_features_are_unstandardised_latents_times_basis(a_grid_field):
    network = a_grid_field.network
    ras = random_points(a_grid_field.geometry)
    parts = [network.grid(n)(ras) @ network.bases[n].T for n in range(2)]
    expected = torch.cat(parts, dim=1) * a_grid_field.std + a_grid_field.mean
    torch.testing.assert_close(a_grid_field.features(ras), expected.detach())


def test_project_is_an_affine_map_of_features(a_grid_field):
    ras = random_points(a_grid_field.geometry)
    weight, bias = torch.randn(4, 12), torch.randn(4)
    expected = a_grid_field.features(ras) @ weight.T + bias
    torch.testing.assert_close(
        a_grid_field.project(ras, weight, bias), expected, atol=1e-4, rtol=1e-4
    )


LATTICES = {
    "all voxels": Lattice.of_voxels((0, 0, 0), (6, 9, 11)),
    "some voxels": Lattice.of_voxels((1, 2, 3), (4, 9, 8)),
    "one voxel": Lattice.of_voxels((5, 8, 10), (6, 9, 11)),
    "one k plane": Lattice.of_voxels((3, 0, 0), (4, 9, 11)),
    "one j plane": Lattice((0.0, 4.3, 0.0), (0.5, 1.0, 0.5), (11, 1, 21)),
    "one i plane": Lattice((7.0, 0.0, 0.0), (1.0, 1.0, 1.0), (6, 9, 1)),
    "between voxels": Lattice((0.25, 0.1, 0.7), (0.3, 0.7, 0.4), (9, 10, 20)),
    "every third voxel": Lattice((0.0, 1.0, 1.0), (3.0, 3.0, 3.0), (2, 3, 4)),
    "beyond the volume": Lattice((-3.0, -2.0, -4.0), (2.0, 2.0, 2.0), (8, 8, 9)),
    "wholly outside": Lattice((20.0, -9.0, 12.0), (1.0, 1.0, 1.0), (2, 3, 2)),
    "backwards": Lattice((10.0, 8.0, 5.0), (-1.0, -0.5, -1.0), (6, 9, 11)),
    "empty": Lattice.of_voxels((2, 2, 2), (2, 4, 4)),
}


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
@pytest.mark.parametrize("spacings", [(0.1, 0.1), (1.5, 4.0), (100.0, 100.0)])
def test_on_a_lattice_a_field_has_the_values_at_its_positions(lattice, spacings):
    field = make_field(random_geometry(3, (6, 9, 11)), spacings)
    ras = lattice.ras(field.geometry, field.device).reshape(-1, 3)
    features = field.features(ras).view(*lattice.shape_kji, 12)
    torch.testing.assert_close(field.features_on(lattice), features, atol=2e-3, rtol=1e-3)

    weight, bias = torch.randn(3, 12), torch.randn(3)
    projected = field.project(ras, weight, bias).T.reshape(3, *lattice.shape_kji)
    torch.testing.assert_close(
        field.project_on(lattice, weight, bias), projected, atol=5e-3, rtol=1e-3
    )


def test_more_outputs_than_latents_cost_no_memory_for_nodes(a_grid_field, monkeypatch):
    """A sparse lattice must not blow every node up to all channels."""
    largest = []
    real = interpolate_axis

    def watched(values, dim, coordinates):
        largest.append(values.numel())
        return real(values, dim, coordinates)

    monkeypatch.setattr("VoxelFeatLib.field.grid.interpolate_axis", watched)
    a_grid_field.features_on(Lattice((0.0, 0.0, 0.0), (10.0, 8.0, 5.0), (2, 2, 2)))
    assert max(largest) <= max(grid.values.numel() for grid in a_grid_field.network.grids)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_any_batching_gives_the_same_numbers(a_grid_field, monkeypatch, chunk):
    lattice = LATTICES["between voxels"]
    ras = random_points(a_grid_field.geometry)
    weight, bias = torch.randn(3, 12), torch.randn(3)
    before = (
        a_grid_field.features(ras),
        a_grid_field.project(ras, weight, bias),
        a_grid_field.features_on(lattice),
        a_grid_field.project_on(lattice, weight, bias),
    )
    monkeypatch.setattr(feature_field, "_CHUNK", chunk)
    monkeypatch.setattr(feature_field, "_LATTICE_CHUNK", 3 * chunk)
    after = (
        a_grid_field.features(ras),
        a_grid_field.project(ras, weight, bias),
        a_grid_field.features_on(lattice),
        a_grid_field.project_on(lattice, weight, bias),
    )
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_outside_the_volume_the_edge_goes_on():
    geometry = Geometry((4, 5, 6), np.eye(4))
    field = make_field(geometry)
    inside = torch.tensor([[0.0, 2, 1], [5, 4, 3], [3, 0, 3]])
    outside = torch.tensor([[-8.0, 2, 1], [99, 99, 99], [3, -0.4, 3.4]])
    torch.testing.assert_close(field.features(inside), field.features(outside))


def test_no_positions_give_no_features(a_grid_field):
    nothing = torch.zeros(0, 3)
    assert a_grid_field.features(nothing).shape == (0, 12)
    assert a_grid_field.project(nothing, torch.ones(2, 12), torch.zeros(2)).shape == (0, 2)


def test_inference_keeps_no_graph_and_takes_float64(a_grid_field):
    ras = random_points(a_grid_field.geometry)
    features = a_grid_field.features(ras)
    assert not features.requires_grad
    assert torch.equal(a_grid_field.features(ras.double()), features)


def test_a_projection_on_a_level_leaves_the_others_out(a_grid_field):
    """The shortcut for levels whose weights are all zero changes nothing."""
    lattice = LATTICES["some voxels"]
    weight = torch.zeros(1, 12)
    weight[0, 6] = 1
    projected = a_grid_field.project_on(lattice, weight, torch.zeros(1))[0]
    torch.testing.assert_close(
        projected, a_grid_field.features_on(lattice)[..., 6], atol=1e-4, rtol=1e-4
    )


def test_settings_make_the_same_network_again(a_grid_field):
    network = a_grid_field.network
    again = GridNetwork(network.geometry, network.levels, **network.settings())
    again.load_state_dict(network.state_dict())
    ras = random_points(network.geometry)
    assert torch.equal(again.level(ras, 1), network.level(ras, 1))


def test_a_field_far_from_the_origin_loses_no_precision():
    matrix = np.diag([0.7, 0.7, 0.7, 1.0])
    near, far = (
        Geometry((8, 9, 10), matrix),
        Geometry(
            (8, 9, 10),
            matrix + np.array([[0, 0, 0, 1500.0], [0, 0, 0, -1200], [0, 0, 0, 2000], [0, 0, 0, 0]]),
        ),
    )
    index = np.random.default_rng(0).uniform(0, 7, size=(50, 3))
    one, other = (
        make_field(g).features(torch.tensor(g.to_ras(index), dtype=torch.float32))
        for g in (near, far)
    )
    # float32 millimetres at 2 m: a few thousandths of a node.
    torch.testing.assert_close(one, other, atol=5e-3, rtol=0)
