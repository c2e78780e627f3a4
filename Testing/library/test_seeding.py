from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.segmenting import seeding
from VoxelFeatLib.segmenting.graph import Graph
from VoxelFeatLib.segmenting.history import PackedMask
from VoxelFeatLib.segmenting.seeding import lift_of, node_coordinates, potentials_for, seeds_of
from VoxelFeatLib.segmenting.segment import Wish

# Half the largest extent is 60 mm: the unit of length is 1 mm, a ball's radius 3 mm.
GEOMETRY = Geometry((20, 30, 120), np.eye(4))


def make_graph(contrast, start_kji=(0, 0, 0), step=1.0):
    values = torch.as_tensor(contrast, dtype=torch.float32)
    k, j, i = (float(s) + (step - 1) / 2 for s in start_kji)
    lattice = Lattice((i, j, k), (step, step, step), tuple(values.shape))
    return Graph(lattice, values, values, (step, step, step))


def reference(wish, graph):
    """Every click by itself, by the definition."""
    seeds = np.full(graph.lattice.shape_kji, -1)
    nearest = np.full(seeds.shape, np.inf)
    nodes = np.moveaxis(np.indices(seeds.shape), 0, -1)
    for positions, label in ((wish.positive, 1), (wish.negative, 0)):
        for place in node_coordinates(positions, graph, GEOMETRY):
            middle = tuple(np.rint(place).astype(int))
            distance = np.linalg.norm((nodes - place) * graph.spacing_kji, axis=-1)
            own = (distance <= 3) & (np.abs(graph.seen - graph.seen[middle]) < 0.1)
            own[middle] = True
            own &= distance < nearest
            seeds[own], nearest[own] = label, distance[own]
    return seeds


def test_a_click_tells_of_the_ball_around_it():
    graph = make_graph(np.zeros((20, 30, 120)))
    seeds = seeds_of(Wish(positive=((50.0, 10.0, 8.0),)), graph, GEOMETRY)
    k, j, i = np.indices(seeds.shape)
    ball = (k - 8) ** 2 + (j - 10) ** 2 + (i - 50) ** 2 <= 9
    np.testing.assert_array_equal(seeds, np.where(ball, 1, -1))


def test_only_what_looks_alike_belongs_to_the_ball():
    contrast = np.zeros((20, 30, 120))
    contrast[:, :, 51:] = 0.2
    seeds = seeds_of(Wish(negative=((50.0, 10.0, 8.0),)), make_graph(contrast), GEOMETRY)
    assert (seeds[:, :, 51:] == -1).all()
    assert (seeds[8, 10, 47:51] == 0).all()


def test_the_nearest_click_counts():
    wish = Wish(positive=((50.0, 10.0, 8.0),), negative=((53.0, 10.0, 8.0),))
    seeds = seeds_of(wish, make_graph(np.zeros((20, 30, 120))), GEOMETRY)
    assert seeds[8, 10, 46:58].tolist() == [-1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, -1]


@pytest.mark.parametrize("step", [1.0, 2.5, 10.0])
def test_seeds_follow_the_definition(step):
    rng = np.random.default_rng(0)
    shape = tuple(int(np.ceil(n / step)) for n in GEOMETRY.shape_kji)
    graph = make_graph(0.1 * rng.standard_normal(shape), step=step)
    places = rng.uniform(0, np.array(GEOMETRY.shape_kji[::-1]) - 1, (24, 3))
    wish = Wish(tuple(map(tuple, places[:12])), tuple(map(tuple, places[12:])))
    np.testing.assert_array_equal(seeds_of(wish, graph, GEOMETRY), reference(wish, graph))


def test_clicks_outside_a_box_are_not_seen_in_it():
    graph = make_graph(np.zeros((4, 5, 6)), start_kji=(8, 10, 50))
    wish = Wish(positive=((49.0, 10.0, 8.0), (50.0, 9.0, 8.0)), negative=((50.0, 10.0, 12.0),))
    assert (seeds_of(wish, graph, GEOMETRY) == -1).all()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 120), (20, 30, 1)])
def test_balls_end_at_the_faces_of_the_box(shape):
    graph = make_graph(np.zeros(shape))
    seeds = seeds_of(Wish(positive=((0.0, 0.0, 0.0),)), graph, GEOMETRY)
    k, j, i = np.indices(shape)
    np.testing.assert_array_equal(seeds == 1, k**2 + j**2 + i**2 <= 9)


def test_a_scribble_of_thousands_has_few_balls_and_every_click_a_seed(monkeypatch):
    planted = []
    real = seeding._plant_balls
    monkeypatch.setattr(seeding, "_plant_balls", lambda *a: planted.extend(a[3]) or real(*a))
    rng = np.random.default_rng(0)
    contrast = 0.02 * rng.standard_normal(GEOMETRY.shape_kji)
    along = np.linspace(10, 100, 3000)
    points = np.stack([along, 10 + 0.03 * along, np.full(3000, 8)], axis=1)
    wish = Wish(positive=tuple(map(tuple, points)), negative=((60.0, 25.0, 8.0),))
    graph = make_graph(contrast)
    seeds = seeds_of(wish, graph, GEOMETRY)
    assert len(planted) < 500
    k, j, i = np.rint(points[:, ::-1]).astype(int).T
    assert (seeds[k, j, i] == 1).all()
    assert (seeds != reference(wish, graph)).mean() < 1e-3


def test_priors_are_weaker_where_nodes_are_dense():
    fine, coarse = make_graph(np.zeros((5, 5, 5))), make_graph(np.zeros((5, 5, 5)), step=2.0)
    logits = np.full((5, 5, 5), 3.0, dtype=np.float32)
    wish = Wish(positive=((100.0, 25.0, 15.0),))
    asked = [potentials_for(wish, graph, logits, GEOMETRY) for graph in (fine, coarse)]
    # The unit of length is 1 mm here; the fit's own logit is divided by 3.
    np.testing.assert_allclose(asked[0].strength.numpy(), 0.01, rtol=1e-5)
    np.testing.assert_allclose(asked[1].strength.numpy(), 0.04, rtol=1e-5)
    np.testing.assert_allclose(asked[0].prior.numpy(), 1 / (1 + np.exp(-1)), rtol=1e-5)
    assert not asked[0].fixed.any()


def test_faces_inside_the_volume_hold_what_is_known_there():
    graph = make_graph(np.zeros((20, 5, 6)), start_kji=(0, 10, 114))
    start = torch.full((20, 5, 6), 0.25)
    wish = Wish(positive=((118.0, 10.0, 8.0),))
    logits = np.zeros((20, 5, 6), dtype=np.float32)
    asked = potentials_for(wish, graph, logits, GEOMETRY, start)
    expected = np.zeros((20, 5, 6), dtype=bool)
    expected[:, [0, -1]] = True  # along j the volume goes on at both ends
    expected[:, :, 0] = True
    seeds = seeds_of(wish, graph, GEOMETRY) == 1
    np.testing.assert_array_equal(asked.fixed.numpy(), expected | seeds)
    assert (asked.prior.numpy()[expected & ~seeds] == 0.25).all()
    assert (asked.prior.numpy()[seeds] == 1).all()


def test_lift_by_hand():
    usual = np.array([-5.0, -4.0, 3.0])
    one, three = Wish(positive=((0, 0, 0),)), Wish(((0, 0, 0), (1, 0, 0)), ((2, 0, 0),))
    clicked = np.array([6.0, 2.0])
    assert lift_of(one, usual, clicked[:1]) == 1
    assert lift_of(three, usual, clicked) == 0.5
    assert lift_of(one, usual + 3, clicked[:1]) == 0.5  # half the volume half-way, no more
    assert lift_of(three, usual + 6, clicked) == -2  # a probe that takes most of the volume
    base = PackedMask.of(np.ones((1, 1, 1), dtype=bool))
    assert lift_of(Wish(((0, 0, 0),), base=base), usual, clicked) == 0
    assert lift_of(Wish(negative=((0, 0, 0),)), usual + 6, np.empty(0)) == 0
