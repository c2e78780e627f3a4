"""The warm start: upsampled slice features, exactly where they can be exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting.channels import _statistics
from VoxelFeatLib.fitting.warm_start import WarmStart, slice_positions
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import axis_view

CHANNELS = 4
CELLS = 8
LEVEL = FeatureLevel("stride4", 4, CHANNELS)


def turned(shape_kji, spacing_ijk):
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * spacing_ijk
    matrix[:3, 3] = (-40, 25, 300)
    return Geometry(shape_kji, matrix)


def some_statistics():
    samples = torch.randn(100, CHANNELS, generator=torch.Generator().manual_seed(0))
    return _statistics([samples], [torch.tensor([1.0, 2.0, 3.0, 4.0])], [1])


def started(geometry, features_at, *, axes=(2,), spacing=0.1, most=128, latents=CHANNELS):
    """A network started from slices whose cells have `features_at(index ijk)` of their centres."""
    network = GridNetwork(geometry, (LEVEL,), (spacing,), (latents,))
    warm = WarmStart(network, some_statistics(), axes, most)
    for axis, position in warm.slices:
        points = axis_view(geometry, axis, position).cell_positions(CELLS)[:, :, 0, 0]
        index = geometry.to_ijk(points)
        features = torch.tensor(features_at(index), dtype=torch.float32).movedim(-1, 0)
        warm.add([features], axis, position)
    return network


def constant(index):
    return np.broadcast_to([1.0, -2.0, 3.0, 0.5], (*index.shape[:-1], CHANNELS))


def linear(index):
    return index @ np.array([[1.0, 0, 0, 0.2], [0, 1, 0, -0.3], [0, 0, 1, 0.1]]) + 2


def rendered(network, index):
    ras = torch.tensor(network.geometry.to_ras(index), dtype=torch.float32)
    return network.level(ras, 0).detach().numpy()


def voxels(geometry, margin=(0, 0, 0)):
    """Random positions; `margin` voxels (i, j, k) away from the volume's faces."""
    last = np.array(geometry.shape_kji[::-1]) - 1
    margin = np.minimum(margin, last / 2)
    return np.random.default_rng(1).uniform(margin, last - margin, size=(200, 3))


GEOMETRIES = {
    "cube": Geometry((16, 16, 16), np.eye(4)),
    "oblique": turned((16, 24, 16), (1.0, 1.0, 1.0)),
    "thick slices": turned((6, 32, 24), (0.8, 0.8, 4.0)),
    "one slice": turned((1, 32, 24), (0.8, 0.8, 4.0)),
    "two slices": turned((2, 32, 24), (0.8, 0.8, 4.0)),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("axes", [(2,), (2, 1), (2, 1, 0)])
@pytest.mark.parametrize("spacing", [0.1, 3.0, 50.0])
@pytest.mark.parametrize("most", [2, 5, 128])
def test_a_constant_field_is_reproduced_everywhere(geometry, axes, spacing, most):
    network = started(geometry, constant, axes=axes, spacing=spacing, most=most)
    index = voxels(geometry)
    np.testing.assert_allclose(rendered(network, index), constant(index), atol=1e-3)


# Across one or two slices another axis sees the border only.
@pytest.mark.parametrize(
    ("name", "axes"),
    [(n, (2,)) for n in GEOMETRIES] + [(n, (2, 1, 0)) for n in ("cube", "oblique", "thick slices")],
)
def test_a_linear_field_is_reproduced_between_the_outermost_cells(name, axes):
    geometry = GEOMETRIES[name]
    network = started(geometry, linear, axes=axes)
    # In a plane the outermost half cell is constant.
    half = np.array(geometry.shape_kji[::-1]) / CELLS / 2 + 1
    if axes == (2,):
        half[2] = 0
    index = voxels(geometry, half)
    np.testing.assert_allclose(rendered(network, index), linear(index), atol=2e-3)


def test_fewer_slices_than_nodes_are_mixed_linearly():
    geometry = GEOMETRIES["cube"]
    network = started(geometry, linear, most=3)
    index = voxels(geometry, (2, 2, 0))
    np.testing.assert_allclose(rendered(network, index), linear(index), atol=2e-3)


def test_more_slices_than_nodes_are_averaged_around_each_node():
    geometry = GEOMETRIES["cube"]
    network = started(geometry, linear, spacing=5.0)
    assert network.grid(0).shape_kji == (4, 4, 4)
    # Symmetric averages of a linear field are exact at inner nodes.
    index = np.array([[5.0, 5, 5], [10, 10, 10], [5, 10, 5]])
    np.testing.assert_allclose(rendered(network, index), linear(index), atol=2e-3)


def test_the_mean_of_the_axes_is_taken():
    geometry = GEOMETRIES["cube"]
    one, other = (started(geometry, linear, axes=(axis,)) for axis in (2, 0))
    both = started(geometry, linear, axes=(2, 0))
    expected = (one.grid(0).values + other.grid(0).values) / 2
    torch.testing.assert_close(both.grid(0).values, expected, atol=1e-4, rtol=1e-4)


def test_the_order_of_slices_does_not_matter_beyond_rounding():
    geometry = GEOMETRIES["cube"]
    statistics = some_statistics()
    values = []
    for step in (1, -1):
        network = GridNetwork(geometry, (LEVEL,), (2.0,), (CHANNELS,))
        warm = WarmStart(network, statistics, (2,), 128)
        for axis, position in warm.slices[::step]:
            generator = torch.Generator().manual_seed(int(position))
            warm.add([torch.randn(CHANNELS, CELLS, CELLS, generator=generator)], axis, position)
        values.append(network.grid(0).values)
    torch.testing.assert_close(*values)


def test_fewer_latents_than_channels_give_the_best_approximation():
    """With one latent, what remains is orthogonal to the axis in the objective's metric."""
    network = started(GEOMETRIES["cube"], constant, latents=1)
    basis = network.bases[0][:, 0].detach()
    seen = torch.tensor(rendered(network, np.array([[7.0, 7, 7]]))[0])
    rest = torch.tensor([1.0, -2.0, 3.0, 0.5]) - seen
    assert rest.norm() > 0.1
    assert seen.norm() > 0.01
    assert (rest * some_statistics().weights[0] * basis).sum().abs() < 1e-3


def test_slice_positions():
    geometry = Geometry((10, 1, 4), np.eye(4))
    assert slice_positions(geometry, 2, 128).tolist() == list(range(10))
    assert slice_positions(geometry, 2, 4).tolist() == [0, 3, 6, 9]
    assert slice_positions(geometry, 1, 128).tolist() == [0]
    assert slice_positions(geometry, 0, 2).tolist() == [0, 3]
