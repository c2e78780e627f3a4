"""The held-out measure and the baseline beside it."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.fitting.heldout import HeldOut, UpsamplingBaseline, _agreement
from VoxelFeatLib.fitting.views import EncodedView
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.views import ViewSampler, axis_view

LEVELS = (FeatureLevel("fine", 4, 3), FeatureLevel("coarse", 8, 3))
GRIDS = (16, 8)
SAMPLES = (2, 2)
NETWORK = SimpleNamespace(levels=LEVELS)


def linear(index):
    return index @ np.array([[1.0, 0, 0.2], [0, 1, -0.3], [0, 2, 1]]) / 10 - 1


def encoded(geometry, view, features_at):
    """A view whose targets are a function of the cells' centres."""
    targets = [
        torch.tensor(features_at(geometry.to_ijk(view.cell_positions(g)[:, :, 0, 0]))).half()
        for g in GRIDS
    ]
    valid = [
        torch.tensor(view.valid_cells(g, k, geometry)) for g, k in zip(GRIDS, SAMPLES, strict=True)
    ]
    return EncodedView(torch.tensor(view.affine()).float(), torch.zeros(2, 3), targets, valid)


@pytest.fixture
def a_turned_geometry():
    axes, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = axes * (0.8, 0.8, 3.0)
    matrix[:3, 3] = (-40, 25, 300)
    return Geometry((8, 40, 48), matrix)


@pytest.fixture
def a_heldout(a_turned_geometry):
    sampler = ViewSampler(a_turned_geometry, (2,))
    views = [
        encoded(a_turned_geometry, sampler.draw(np.random.default_rng(seed)), linear)
        for seed in range(3)
    ]
    return HeldOut(views, SAMPLES, np.random.default_rng(0))


def test_the_truth_scores_one_and_one(a_heldout):
    scores = a_heldout.compare(NETWORK, a_heldout.targets)
    assert scores.keys() == {"fine", "coarse"}
    for score in scores.values():
        assert score == {"cosine": pytest.approx(1), "explained_variance": pytest.approx(1)}


def test_the_mean_explains_nothing(a_heldout):
    means = [target.mean(0).expand_as(target) for target in a_heldout.targets]
    for score in a_heldout.compare(NETWORK, means).values():
        assert score["explained_variance"] == pytest.approx(0, abs=1e-4)


def test_agreement_by_hand():
    target = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    prediction = torch.tensor([[1.0, 1.0], [-1.0, 0.0]])
    score = _agreement(prediction, target)
    assert score["cosine"] == pytest.approx((1 / math.sqrt(2) + 1) / 2)
    assert score["explained_variance"] == pytest.approx(1 - 1 / 2)


def test_worse_than_the_mean_is_negative():
    target = torch.tensor([[1.0], [-1.0]])
    assert _agreement(-target, target)["explained_variance"] == pytest.approx(-3)


@pytest.mark.parametrize("cells", [0, 5])
def test_features_that_never_vary_give_numbers_all_the_same(cells):
    """A constant volume, or no valid cell at all: the record must stay readable."""
    score = _agreement(torch.zeros(cells, 2), torch.zeros(cells, 2))
    assert all(math.isfinite(value) for value in score.values())
    off = _agreement(torch.ones(cells, 2), torch.zeros(cells, 2))
    assert all(math.isfinite(value) for value in off.values())


class LinearNetwork:
    """A field that is linear in the voxel index."""

    levels = LEVELS

    def __init__(self, geometry):
        self.geometry = geometry

    def level(self, ras, _):
        return torch.tensor(linear(self.geometry.to_ijk(ras.numpy())), dtype=torch.float32)


def test_a_field_is_rendered_as_the_mean_of_every_cells_positions(a_heldout, a_turned_geometry):
    for score in a_heldout.of_field(LinearNetwork(a_turned_geometry)).values():
        # The targets are half precision.
        assert score["explained_variance"] > 1 - 1e-5
        assert score["cosine"] > 1 - 1e-5


def test_positions_are_the_regular_sub_samples_of_valid_cells(a_turned_geometry):
    view = ViewSampler(a_turned_geometry, (2,)).draw(np.random.default_rng(1))
    heldout = HeldOut([encoded(a_turned_geometry, view, linear)], SAMPLES, np.random.default_rng(0))
    for grid, positions in zip(GRIDS, heldout.positions, strict=True):
        valid = view.valid_cells(grid, 2, a_turned_geometry)
        expected = view.cell_positions(grid, 2)[valid].reshape(-1, 4, 3)
        np.testing.assert_allclose(positions.numpy(), expected, atol=1e-3)
        assert a_turned_geometry.contains(positions.numpy()).all()


def test_at_most_so_many_cells_of_a_view_are_kept(a_turned_geometry, monkeypatch):
    monkeypatch.setattr("VoxelFeatLib.fitting.heldout._CELLS", 10)
    sampler = ViewSampler(a_turned_geometry, (2,))
    views = [
        encoded(a_turned_geometry, sampler.draw(np.random.default_rng(s)), linear) for s in (0, 1)
    ]
    one, same, other = (HeldOut(views, SAMPLES, np.random.default_rng(s)) for s in (0, 0, 1))
    assert one.positions[0].shape == (20, 4, 3)
    assert torch.equal(one.positions[0], same.positions[0])
    assert not torch.equal(one.positions[0], other.positions[0])


def test_upsampling_reproduces_a_linear_field(a_turned_geometry):
    """Away from the outermost half cells, where the map is repeated."""
    geometry = a_turned_geometry
    view = axis_view(geometry, 2, 3.4)
    centre = encoded(geometry, view, linear)
    for valid in centre.valid:
        valid[[0, -1]] = False
        valid[:, [0, -1]] = False
    heldout = HeldOut([centre], SAMPLES, np.random.default_rng(0))
    baseline = UpsamplingBaseline(heldout, geometry, 2, 1.0)

    for k in range(geometry.shape_kji[0]):
        points = [axis_view(geometry, 2, k).cell_positions(g)[:, :, 0, 0] for g in GRIDS]
        maps = [torch.tensor(linear(geometry.to_ijk(p))).float().movedim(-1, 0) for p in points]
        baseline.add(maps, float(k))

    for score in baseline.result(NETWORK).values():
        assert score["explained_variance"] > 1 - 1e-5


def test_upsampling_mixes_sparse_slices_linearly(a_turned_geometry):
    geometry = a_turned_geometry

    def along_k(index):
        return np.repeat(index[..., 2:], 3, axis=-1)

    heldout = HeldOut(
        [encoded(geometry, axis_view(geometry, 2, 1.75), along_k)],
        SAMPLES,
        np.random.default_rng(0),
    )
    baseline = UpsamplingBaseline(heldout, geometry, 2, 3.5)
    for position in (0.0, 3.5, 7.0):
        baseline.add([torch.full((3, g, g), position) for g in GRIDS], position)
    for sums in baseline._sums:
        torch.testing.assert_close(sums, torch.full_like(sums, 1.75), atol=1e-4, rtol=0)


def test_upsampling_of_a_single_slice_is_that_slice():
    geometry = Geometry((1, 32, 32), np.eye(4))
    view = axis_view(geometry, 2, 0.0)
    heldout = HeldOut([encoded(geometry, view, linear)], SAMPLES, np.random.default_rng(0))
    baseline = UpsamplingBaseline(heldout, geometry, 2, np.inf)
    baseline.add([torch.full((3, g, g), 4.0) for g in GRIDS], 0.0)
    assert all(sums.eq(4).all() for sums in baseline._sums)
