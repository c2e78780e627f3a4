from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.graph import Graph, contrast
from VoxelFeatLib.segmenting.potential import Potential


def make_potential(voxels, lattice, values, contrasts=None):
    volume = Volume(voxels, Geometry(voxels.shape, np.eye(4)), "CT")
    values = np.asarray(values, dtype=np.float32).reshape(lattice.shape_kji)
    if contrasts is None:
        contrasts = np.zeros_like(values)
    seen = torch.as_tensor(contrasts, dtype=torch.float32).reshape(values.shape)
    step = lattice.step_ijk
    graph = Graph(lattice, seen, seen, (step[2], step[1], step[0]))
    return Potential(volume, graph, Extent.whole(voxels.shape), values)


def trilinear(potential, extent):
    """Voxel by voxel, by the definition: corners count by share and likeness."""
    lattice, seen = potential.graph.lattice, potential.graph.seen
    own = contrast(potential.volume, potential.volume.voxels)
    mask = np.zeros(extent.shape, dtype=bool)
    for place in np.ndindex(extent.shape):
        voxel = np.add(place, extent.start_kji)
        nodes = (voxel - lattice.start_ijk[::-1]) / lattice.step_ijk[::-1]
        nodes = np.clip(nodes, 0, np.array(lattice.shape_kji) - 1)
        total = share = 0.0
        for corner in np.ndindex(2, 2, 2):
            node = np.minimum(np.floor(nodes).astype(int) + corner, np.array(seen.shape) - 1)
            along = np.where(corner, nodes - np.floor(nodes), 1 - nodes + np.floor(nodes))
            alike = np.exp(-300 * (seen[tuple(node)] - own[tuple(voxel)]) ** 2) + 1e-3
            weight = along.prod() * alike
            total += weight * potential.values[tuple(node)]
            share += weight
        mask[place] = total / share > 0.5
    return mask


def test_at_the_nodes_it_is_their_value():
    values = np.random.default_rng(0).random((3, 4, 5))
    lattice = Lattice.of_voxels((0, 0, 0), (3, 4, 5))
    potential = make_potential(np.zeros((3, 4, 5), dtype=np.int16), lattice, values)
    np.testing.assert_array_equal(potential.mask(potential.extent), values > 0.5)


def test_between_nodes_that_look_alike_it_is_linear_and_beyond_them_constant():
    lattice = Lattice((1.5, 0.0, 0.0), (4.0, 1.0, 1.0), (1, 1, 3))
    # 1/2 is crossed at voxels 1.5 + 4 * 5/8 = 4 and 9.5 - 4 * 1/4 = 8.5.
    voxels = np.full((1, 1, 12), -160, dtype=np.int16)
    mask = make_potential(voxels, lattice, [0.0, 0.8, 0.4]).mask(Extent.whole((1, 1, 12)))
    assert np.flatnonzero(mask).tolist() == [5, 6, 7, 8]
    mask = make_potential(voxels, lattice, [0.9, 0.0, 0.6]).mask(Extent.whole((1, 1, 12)))
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3, 9, 10, 11]


def test_voxels_take_after_the_node_that_they_look_like():
    lattice = Lattice((1.5, 0.0, 0.0), (4.0, 1.0, 1.0), (1, 1, 2))
    voxels = np.array([[[-160, -160, -160, 240, 240, 240, 240, 240]]], dtype=np.int16)
    mask = make_potential(voxels, lattice, [0.0, 1.0], [0.0, 1.0]).mask(Extent.whole((1, 1, 8)))
    assert np.flatnonzero(mask).tolist() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize("shape", [(6, 7, 9), (1, 7, 9), (6, 1, 1), (1, 1, 1)])
@pytest.mark.parametrize("most", [1, 8, 30, 400])
def test_it_follows_the_definition_in_every_part(shape, most):
    rng = np.random.default_rng(0)
    voxels = rng.integers(-160, 240, shape).astype(np.int16)
    lattice = Lattice.covering((0, 0, 0), shape, np.array([2.0, 1.0, 1.0]), most)
    values = rng.random(lattice.shape_kji)
    contrasts = rng.random(lattice.shape_kji)
    potential = make_potential(voxels, lattice, values, contrasts)
    expected = trilinear(potential, potential.extent)
    np.testing.assert_array_equal(potential.mask(potential.extent), expected)
    for piece in (*potential.extent.pieces(7), Extent((0, 0, 0), (shape[0], 1, shape[2]))):
        np.testing.assert_array_equal(potential.mask(piece), expected[piece.slices])


@pytest.mark.parametrize("value", [0.2, 0.9])
def test_where_all_nodes_agree_so_do_the_voxels(value):
    lattice = Lattice.covering((0, 0, 0), (5, 6, 7), np.ones(3), 12)
    voxels = np.zeros((5, 6, 7), dtype=np.float32)
    potential = make_potential(voxels, lattice, np.full(lattice.shape_kji, value))
    mask = potential.mask(Extent((1, 0, 2), (4, 6, 3)))
    assert mask.shape == (3, 6, 1)
    assert mask.all() == mask.any() == (value > 0.5)
