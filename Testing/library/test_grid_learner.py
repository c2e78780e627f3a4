"""Node grids learn in latent coordinates: the same agreement, and steps derived by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field.grid import GridNetwork
from VoxelFeatLib.fitting import node_bags, objective
from VoxelFeatLib.fitting.grid_learner import GridLearner
from VoxelFeatLib.fitting.latent_space import LatentSpace
from VoxelFeatLib.fitting.node_bags import NodeBags, bends
from VoxelFeatLib.fitting.objective import CellBatch
from VoxelFeatLib.imaging.geometry import Geometry

NO_PATCHES = torch.zeros(0, 24, 24, 3)
# No level is held to its neighbours.
ROUGH = (0.0, 0.0)


def orthonormal(channels, latents, weight, generator):
    """A basis with B' W B = 1."""
    axes = torch.linalg.qr(torch.randn(channels, channels, generator=generator)).Q[:, :latents]
    return axes / weight.sqrt()[:, None]


@pytest.fixture
def a_network():
    """Two levels of 6 and 5 channels, 3 and 4 latents, bases for `some_weights`."""
    geometry = Geometry((4, 6, 6), np.eye(4))
    levels = (FeatureLevel("fine", 4, 6), FeatureLevel("coarse", 8, 5))
    network = GridNetwork(geometry, levels, (1.0, 2.0), (3, 4))
    generator = torch.Generator().manual_seed(0)
    for index, weight in enumerate(some_weights()):
        basis = orthonormal(len(weight), network.latents[index], weight, generator)
        network.bases[index].data = basis
        values = network.grid(index).values
        values.data = torch.randn(values.shape, generator=generator)
    return network


def some_weights():
    return torch.tensor([0.5, 1, 2, 4, 8, 1]), torch.tensor([1.0, 2, 3, 1, 0.5])


def random_cells(channels, count=30, samples=4):
    generator = torch.Generator().manual_seed(1)
    positions = torch.rand(count, samples, 3, generator=generator) * torch.tensor([5.0, 5, 3])
    return CellBatch(positions, torch.randn(count, channels, generator=generator))


def kept(learner, batch, level):
    return CellBatch(batch.positions, learner.keep(batch.targets, level).float())


def agreement_of(network, level, batch, weight):
    """The objective's agreement, of features."""
    count, samples = batch.positions.shape[:2]
    features = network.level(batch.positions.reshape(-1, 3), level)
    return objective.agreement(features.view(count, samples, -1).mean(1), batch.targets, weight)


def test_the_agreement_in_latent_space_is_the_one_of_features(a_network):
    weights = some_weights()
    learner = GridLearner(a_network, weights, ROUGH)
    batches = [random_cells(6), random_cells(5)]
    expected = sum(
        agreement_of(a_network, n, batch, weights[n]).item() for n, batch in enumerate(batches)
    )
    found = learner.step(0.0, [kept(learner, b, n) for n, b in enumerate(batches)], NO_PATCHES)
    # Targets are kept in half precision.
    assert found == {"agreement": pytest.approx(expected, rel=2e-3)}


def test_what_the_basis_cannot_express_is_kept_as_a_length():
    weight = torch.tensor([1.0, 4.0, 1.0])
    basis = torch.tensor([[1.0, 0], [0, 0.5], [0, 0]])  # B' W B = 1
    # z = B' W f, and the third channel.
    assert LatentSpace(basis, weight).keep(torch.tensor([[3.0, 4, -12]])).tolist() == [[3, 8, 12]]


def test_targets_too_large_for_half_precision_stay_finite():
    space = LatentSpace(torch.ones(1, 1), torch.ones(1))
    assert torch.isfinite(space.keep(torch.tensor([[1e6], [-1e6]]))).all()


def test_a_step_follows_the_gradient_of_features_divided_by_usage(a_network):
    """Against torch's own gradient of the objective, and usage counted corner by corner."""
    weights, rate = some_weights(), 0.8
    learner = GridLearner(a_network, weights, ROUGH)
    batches = [random_cells(6), random_cells(5)]
    expected = []
    for level, batch in enumerate(batches):
        values = a_network.grid(level).values
        agreement = agreement_of(a_network, level, batch, weights[level])
        gradient = torch.autograd.grad(agreement, values)[0]
        bags = NodeBags.of(a_network.grid(level), batch.positions)
        usage = torch.zeros(len(values))
        for rows, shares in zip(bags.rows, bags.weights, strict=True):
            for row, share in zip(rows, shares, strict=True):
                usage[row] += share
        assert usage.sum().item() == pytest.approx(30, rel=1e-5)  # a cell counts once
        half = 0.5 * rate * 30 / (usage + node_bags._DAMPING)
        expected.append(values.detach() - half[:, None] * gradient)

    learner.step(rate, [kept(learner, b, n) for n, b in enumerate(batches)], NO_PATCHES)

    for level, after in enumerate(expected):
        values = a_network.grid(level).values.detach()
        torch.testing.assert_close(values, after, atol=5e-3, rtol=1e-3)


def test_steps_bring_the_agreement_down_to_what_the_basis_cannot_express(a_network):
    learner = GridLearner(a_network, some_weights(), ROUGH)
    cells = kept(learner, random_cells(6, count=3, samples=1), 0)
    batches = [cells, CellBatch(torch.zeros(0, 1, 3), torch.zeros(0, 5))]
    for _ in range(200):
        terms = learner.step(1.0, batches, NO_PATCHES)
    rest = cells.targets[:, -1].square().mean().item()
    assert rest > 0.1
    assert terms["agreement"] == pytest.approx(rest, rel=1e-3)


def test_windows_outside_the_volume_move_nothing(a_network):
    learner = GridLearner(a_network, some_weights(), (0.5, 0.5))
    nothing = [CellBatch(torch.zeros(0, 4, 3), torch.zeros(0, n)) for n in (4, 5)]
    before = [grid.values.detach().clone() for grid in a_network.grids]
    assert learner.step(1.0, nothing, NO_PATCHES) == {"agreement": 0}
    assert all(torch.equal(g.values, b) for g, b in zip(a_network.grids, before, strict=True))


def some_bags():
    """Three cells of two entries on five nodes; node 4 is never used, node 1 twice by a cell."""
    rows = torch.tensor([[0, 2], [2, 3], [1, 1]])
    weights = torch.tensor([[0.5, 1.0], [2.0, 1.0], [0.25, 0.75]])
    return NodeBags(rows, weights, (1, 1, 5))


def test_bags_sum_their_weighted_nodes():
    nodes = torch.tensor([[1.0], [10], [100], [1000], [10_000]])
    assert some_bags().gather(nodes).tolist() == [[100.5], [1200], [10]]


@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
def test_nodes_move_by_the_damped_weighted_mean_of_their_cells_moves(device):
    bags, nodes = some_bags(), torch.ones(5, 2)
    moves = torch.tensor([[1.0, 0], [0, 1], [2, 2]])
    add = bags._add_cpu if device == "cpu" else bags._add
    add(nodes, moves, 1.0, 0.0)
    damping = node_bags._DAMPING
    expected = torch.tensor(
        [
            [0.5 / (0.5 + damping), 0],
            [2 / (1 + damping), 2 / (1 + damping)],
            [1 / (3 + damping), 2 / (3 + damping)],
            [0, 1 / (1 + damping)],
            [0, 0],
        ]
    )
    torch.testing.assert_close(nodes, 1 + expected)


def test_a_bend_is_the_way_to_the_mean_of_the_six_neighbours():
    nodes = torch.zeros(27, 1)
    nodes[13] = 6  # in the middle of 3 x 3 x 3
    found = bends(nodes, torch.arange(27), (3, 3, 3)).view(3, 3, 3)
    expected = torch.zeros(3, 3, 3)
    expected[1, 1] = expected[:, 1, 1] = expected[1, :, 1] = 1
    expected[1, 1] = torch.tensor([1.0, -6, 1])
    assert torch.equal(found, expected)


def test_at_the_faces_of_a_grid_nodes_stand_for_missing_neighbours():
    nodes = torch.arange(24.0)[:, None].square()
    level = bends(torch.ones(24, 1), torch.arange(24), (2, 3, 4))
    assert torch.equal(level, torch.zeros(24, 1))
    # Node 0: neighbours 1, 4 and 12, and itself three times.
    assert bends(nodes, torch.tensor([[0]]), (2, 3, 4)).item() == pytest.approx((1 + 16 + 144) / 6)


@pytest.mark.parametrize("device", ["cpu", "elsewhere"])
def test_smooth_nodes_also_move_towards_their_neighbours(device):
    bags = some_bags()
    nodes = torch.tensor([[0.0], [6], [0], [0], [5]])
    before = nodes.clone()
    add = bags._add_cpu if device == "cpu" else bags._add
    rate, smoothness, damping = 0.5, 2.0, node_bags._DAMPING
    add(nodes, torch.zeros(3, 1), rate, smoothness)
    usage = torch.tensor([[0.5], [1], [3], [1], [0]])
    bend = bends(before, torch.arange(5), (1, 1, 5))
    expected = before + rate * smoothness * usage * bend / (usage * (1 + smoothness) + damping)
    torch.testing.assert_close(nodes, expected)
    assert nodes[4] == 5  # no cell used it
