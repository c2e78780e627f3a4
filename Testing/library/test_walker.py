from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from library.steps import done
from scipy.sparse.linalg import spsolve
from skimage.segmentation import random_walker

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.segmenting import walker
from VoxelFeatLib.segmenting.graph import SHARPNESS, Graph
from VoxelFeatLib.segmenting.walker import NodePriors, solve

SHAPES = [(3, 4, 5), (1, 6, 7), (4, 1, 1), (1, 1, 1)]


@pytest.fixture
def an_exact_solver(monkeypatch):
    monkeypatch.setattr(walker, "_TOLERANCE", 1e-6)


def make_graph(shape, spacing_kji=(1.0, 1.0, 1.0), contrast=0.05):
    values = contrast * np.random.default_rng(0).standard_normal(shape)
    values = torch.from_numpy(values.astype(np.float32))
    return Graph(Lattice.of_voxels((0, 0, 0), shape), values, values, spacing_kji)


def make_potentials(shape, strength=0.05):
    """About a fifth of the nodes are known: 0 or 1."""
    generator = torch.Generator().manual_seed(1)
    prior = torch.rand(shape, generator=generator)
    fixed = torch.rand(shape, generator=generator) < 0.2
    prior = torch.where(fixed, prior.round(), prior)
    return NodePriors(prior, strength * (1 + torch.rand(shape, generator=generator)), fixed)


def direct_solution(graph, asked):
    """Assembled and factorised."""
    size = asked.prior.numel()
    numbers = np.arange(size).reshape(asked.prior.shape)
    rows, columns, weights = [], [], []
    for axis, along in enumerate(graph.weights):
        count = numbers.shape[axis]
        one, other = numbers.take(range(count - 1), axis), numbers.take(range(1, count), axis)
        rows += [one.ravel(), other.ravel()]
        columns += [other.ravel(), one.ravel()]
        weights += 2 * [along.numpy().astype(np.float64).ravel()]
    joined = [np.concatenate(parts) for parts in (weights, rows, columns)]
    adjacency = scipy.sparse.coo_matrix((joined[0], (joined[1], joined[2])), (size, size)).tocsr()
    strength = asked.strength.numpy().ravel().astype(np.float64)
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    matrix = scipy.sparse.diags(degree + strength) - adjacency
    prior = asked.prior.numpy().ravel().astype(np.float64)
    free = ~asked.fixed.numpy().ravel()
    if not free.any():
        return prior.reshape(numbers.shape)
    known = strength * prior - matrix[:, ~free] @ prior[~free]
    result = prior.copy()
    result[free] = spsolve(matrix[free][:, free].tocsc(), known[free])
    return result.reshape(numbers.shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spacing_kji", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8)])
@pytest.mark.usefixtures("an_exact_solver")
def test_the_solution_is_that_of_the_equations(shape, spacing_kji):
    graph, asked = make_graph(shape, spacing_kji), make_potentials(shape)
    x, _ = done(solve(graph, asked))
    np.testing.assert_allclose(x.numpy(), direct_solution(graph, asked), atol=2e-5)


def test_the_usual_tolerance_is_enough_for_masks():
    graph, asked = make_graph((12, 14, 10), contrast=0.03), make_potentials((12, 14, 10), 0.01)
    x, _ = done(solve(graph, asked))
    np.testing.assert_allclose(x.numpy(), direct_solution(graph, asked), atol=0.02)


@pytest.mark.usefixtures("an_exact_solver")
def test_without_priors_it_is_the_random_walker_of_scikit_image():
    shape = (5, 6, 7)
    graph = make_graph(shape)
    labels = np.zeros(shape, dtype=np.int32)
    labels[0, 0, 0], labels[4, 5, 6], labels[2, 3, 1] = 1, 2, 2
    data = graph.contrast.numpy().astype(np.float64)
    # It divides beta by ten deviations; the seeds' probabilities of label 2 are wanted.
    expected = random_walker(
        data, labels, beta=SHARPNESS * 10 * data.std(), mode="bf", return_full_prob=True
    )[1]
    prior = torch.from_numpy((labels == 2).astype(np.float32))
    asked = NodePriors(prior, torch.full(shape, 1e-7), torch.from_numpy(labels > 0))
    x, _ = done(solve(graph, asked))
    np.testing.assert_allclose(x.numpy(), expected, atol=2e-3)


def test_known_nodes_keep_their_value_and_others_lie_between():
    graph, asked = make_graph((4, 9, 8)), make_potentials((4, 9, 8))
    x, _ = done(solve(graph, asked))
    assert torch.equal(x[asked.fixed], asked.prior[asked.fixed])
    assert x.min() > -2e-3
    assert x.max() < 1 + 2e-3
    assert asked.prior.isfinite().all()


def test_all_known_needs_no_step():
    asked = make_potentials((3, 3, 3))
    asked = NodePriors(asked.prior, asked.strength, torch.ones(3, 3, 3, dtype=torch.bool))
    x, pauses = done(solve(make_graph((3, 3, 3)), asked))
    assert torch.equal(x, asked.prior)
    assert pauses == 0


def test_it_starts_from_a_guess_but_for_what_is_known():
    graph, asked = make_graph((6, 7, 8)), make_potentials((6, 7, 8))
    x, pauses = done(solve(graph, asked))
    assert pauses > 0
    guess = torch.where(asked.fixed, 0.5, x)
    again, pauses = done(solve(graph, asked, guess))
    assert pauses == 0
    assert torch.equal(again, x)
    assert not torch.equal(guess, x)


@pytest.mark.usefixtures("an_exact_solver")
def test_it_pauses_every_few_steps():
    graph, asked = make_graph((10, 10, 10)), make_potentials((10, 10, 10), 1e-3)
    one, pauses = done(solve(graph, asked))
    assert pauses > 2
    assert torch.equal(one, done(solve(graph, asked))[0])
