"""Channel statistics on backbones whose features are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from VoxelFeatLib.backbones.encodings import WindowEncoding
from VoxelFeatLib.backbones.filters import FilterBackbone
from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.backbones.slicing import SliceEncoder
from VoxelFeatLib.fitting.channels import (
    ChannelMeasure,
    ChannelScaling,
    _matched_difference,
    _statistics,
)
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.phantom import make_phantom
from VoxelFeatLib.imaging.views import Augmentation, View, ViewSampler, axis_frame, axis_view
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.imaging.windows import Window

CPU = torch.device("cpu")


class PooledBackbone:
    """Mean intensity, twice it, a constant, and the column in the image."""

    name = "pooled"
    fingerprint = "pooled"
    input_size = 64
    encoding = WindowEncoding("windows", (Window.between(0, 1000),))
    levels = (FeatureLevel("stride4", 4, 4),)
    device = CPU

    def work_bytes(self):
        return 1 << 20

    def __call__(self, images):
        mean = torch.nn.functional.avg_pool2d(images, 4)
        columns = torch.linspace(0, 1, mean.shape[-1]).expand_as(mean)
        return [torch.cat([mean, 2 * mean + 5, torch.full_like(mean, 7), columns], dim=1)]


def measured(volume, backbone, planes=3, augmentations=3, batch=1):
    sampler = ViewSampler(volume.geometry, (2,))
    measure = ChannelMeasure(sampler, SliceEncoder(volume, backbone))
    for number in range(planes):
        counts = list(measure.add_plane(augmentations, batch, np.random.default_rng(number)))
        assert sum(counts) == 1 + augmentations
        assert max(counts) <= batch
    return measure.result()


@pytest.fixture(scope="module")
def a_ramp():
    voxels = np.tile(np.linspace(100, 900, 48, dtype=np.float32), (6, 40, 1))
    return Volume(voxels, Geometry((6, 40, 48), np.diag([1.0, 1.0, 3.0, 1.0])), "other")


def test_standardised_features_have_mean_zero_and_deviation_one():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(500, 3, generator=generator) * torch.tensor([1.0, 10, 0.1]) + 4
    statistics = _statistics([features], [torch.ones(3)], [1])
    standard = statistics.scaling.standardise(features, 0)
    torch.testing.assert_close(standard.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(standard.std(0), torch.ones(3), atol=1e-4, rtol=0)


def test_scaling_by_hand():
    scaling = ChannelScaling((torch.tensor([1.0, 2.0]),), (torch.tensor([2.0, 4.0]),))
    torch.testing.assert_close(
        scaling.standardise(torch.tensor([[[3.0, -2.0]]]), 0), torch.tensor([[[1.0, -1.0]]])
    )


def test_weights_by_hand():
    """Sigma 1, 2 and 3 over levels: w is 1/2, 1 and 3/2, whose mean is 1."""
    features = [torch.tensor([[-1.0, -1.0], [1.0, 1.0]]) / 2**0.5, torch.tensor([[-4.0], [4.0]])]
    squares = [torch.tensor([10.0, 40.0]), torch.tensor([90.0 * 32])]
    statistics = _statistics(features, squares, [10, 10])
    torch.testing.assert_close(statistics.scaling.stds[1], torch.tensor([32**0.5]))
    w = 1 / torch.cat(statistics.weights)
    torch.testing.assert_close(w, torch.tensor([0.5, 1.0, 1.5]), atol=1e-4, rtol=0)


def test_a_channel_that_never_deviates_does_not_outweigh_all_others():
    features = [torch.tensor([[-1.0, -1.0], [1.0, 1.0]])]
    statistics = _statistics(features, [torch.tensor([0.0, 1.0])], [1])
    assert statistics.weights[0].max() <= 10


def test_a_channel_that_hardly_changes_takes_its_levels_typical_scale(a_ramp):
    statistics = measured(a_ramp, PooledBackbone())
    stds = statistics.scaling.stds[0]
    assert statistics.scaling.means[0][2].item() == pytest.approx(7)
    others = stds[[0, 1, 3]].square().sum()
    assert stds[2].item() == pytest.approx((others / 4).sqrt().item(), rel=1e-3)
    for tensor in (*statistics.weights, *statistics.covariances):
        assert torch.isfinite(tensor).all()


def test_weights_and_scaling_do_not_depend_on_a_channels_unit(a_ramp):
    statistics = measured(a_ramp, PooledBackbone())
    scaling, weight = statistics.scaling, statistics.weights[0]
    assert scaling.stds[0][1].item() == pytest.approx(2 * scaling.stds[0][0].item(), rel=1e-4)
    assert scaling.means[0][1].item() == pytest.approx(2 * scaling.means[0][0].item() + 5, rel=1e-4)
    assert weight[1].item() == pytest.approx(weight[0].item(), rel=1e-3)
    assert statistics.covariances[0][0, 1].item() == pytest.approx(1, abs=0.05)


def test_what_belongs_to_the_image_and_not_to_the_place_weighs_less(a_ramp):
    statistics = measured(a_ramp, PooledBackbone())
    # The column of the input moves with every crop, the intensity does not.
    assert statistics.weights[0][0] > 3 * statistics.weights[0][3]


def test_w_is_one_on_average():
    volume = make_phantom((10, 48, 48), (5.0, 5.0, 8.0)).volume
    statistics = measured(volume, FilterBackbone.for_volume(volume), 2, 2)
    w = 1 / torch.cat(statistics.weights) - 1e-6
    assert w.mean().item() == pytest.approx(1, abs=0.05)


def test_statistics_are_the_same_every_time(a_ramp):
    one, other = (measured(a_ramp, PooledBackbone(), 2, 1) for _ in range(2))
    assert torch.equal(one.weights[0], other.weights[0])
    assert torch.equal(one.covariances[0], other.covariances[0])


def test_scales_by_hand():
    features = [torch.tensor([[-3.0, -4e-6], [3.0, 4e-6]]) / 2**0.5, torch.full((2, 3), 5.0)]
    scaling = _statistics(features, [torch.ones(2), torch.ones(3)], [1, 1]).scaling
    torch.testing.assert_close(scaling.stds[0], torch.tensor([3.0, 3 / 2**0.5]))
    # Nothing in the level changes.
    assert scaling.stds[1].tolist() == [1, 1, 1]


@pytest.mark.parametrize("latents", [1, 3, 4])
def test_the_basis_is_orthonormal_in_the_objectives_metric(latents):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(300, 4, generator=generator) @ torch.randn(4, 4, generator=generator)
    squares = torch.tensor([1.0, 4.0, 0.3, 2.0])
    statistics = _statistics([features], [squares], [1])
    basis, weight = statistics.basis(0, latents), statistics.weights[0]
    assert basis.shape == (4, latents)
    torch.testing.assert_close(
        basis.T @ torch.diag(weight) @ basis, torch.eye(latents), atol=1e-5, rtol=0
    )


def test_the_basis_keeps_what_matters_most_to_the_objective():
    """Two equal directions, one of which the objective trusts more: that one is kept."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5000, 2, generator=generator)
    statistics = _statistics([features], [torch.tensor([25.0, 1.0])], [1])
    basis = statistics.basis(0, 1)[:, 0]
    assert abs(basis[1]) > 10 * abs(basis[0])


def test_the_basis_rebuilds_features_that_span_few_directions():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(200, 2, generator=generator) @ torch.randn(2, 5, generator=generator)
    statistics = _statistics([features], [torch.rand(5, generator=generator)], [1])
    standard = statistics.scaling.standardise(features, 0)
    basis, weight = statistics.basis(0, 2), statistics.weights[0]
    torch.testing.assert_close(
        standard @ torch.diag(weight) @ basis @ basis.T, standard, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("seed", range(4))
def test_a_field_of_linear_features_has_no_matched_difference(seed):
    """Features that are linear in the slice's own coordinates do not depend on the augmentation."""
    geometry = Geometry((1, 60, 80), np.eye(4))
    frame = axis_frame(geometry, 2, 0.0)
    view = ViewSampler(geometry, (2,)).augment(frame, np.random.default_rng(seed))
    cells = 32
    centres = (np.arange(cells) + 0.5) / cells

    def linear(seen):
        r, q = seen.slice_coordinates(centres, centres)
        return torch.tensor(np.stack(np.meshgrid(r, q, indexing="ij")), dtype=torch.float32)

    plain = linear(View(frame, Augmentation.none(frame.shape)))
    difference = _matched_difference(linear(view), plain, view)
    # Near the border the plain view's outermost cells are repeated, up to half a cell away.
    assert len(difference) > cells * cells / 3
    assert difference.abs().median() < 1e-3
    assert difference.abs().max() <= 80 / cells / 2 + 1e-3


def test_the_plain_view_matches_itself():
    geometry = Geometry((1, 16, 16), np.eye(4))
    maps = torch.randn(3, 8, 8)
    difference = _matched_difference(maps, maps, axis_view(geometry, 2, 0.0))
    assert difference.shape == (64, 3)
    assert difference.abs().max() < 1e-5
