"""The paper's network: size, initial state, formulas, and projection folded into its last layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.field.nfnet import (
    FourierFeatures,
    NFNetwork,
    ResidualBlock,
    StandardisedLinear,
    _ScaleGradient,
    scaled_gelu,
)
from VoxelFeatLib.fitting.presets import NFNetSettings

SAM2 = (
    FeatureLevel("stride4", 4, 32),
    FeatureLevel("stride8", 8, 64),
    FeatureLevel("stride16", 16, 256),
)


@pytest.fixture
def a_small_network(an_oblique_geometry):
    torch.manual_seed(0)
    levels = (
        FeatureLevel("a", 4, 3),
        FeatureLevel("b", 8, 130),
        FeatureLevel("c", 16, 4),
    )
    network = NFNetwork(an_oblique_geometry, levels, width=16, blocks=2, frequencies=4)
    with torch.no_grad():
        for model in network.models:
            for block in model.blocks:
                block.skip.fill_(0.7)
    return network


def points_of(geometry, count=20):
    index = np.random.default_rng(0).uniform(-1, 6, size=(count, 3))
    return torch.tensor(geometry.to_ras(index), dtype=torch.float32)


def test_sam2_levels_make_the_published_24_million_parameters(a_geometry):
    settings = NFNetSettings()
    network = NFNetwork(a_geometry, SAM2, settings.width, settings.blocks, settings.frequencies)
    assert [m.leave.out_features for m in network.models] == [96, 256]
    assert all(model.enter.in_features == 195 for model in network.models)
    assert all(len(model.blocks) == 10 for model in network.models)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 24.2


def test_blocks_start_as_the_identity():
    block = ResidualBlock(8, 0.9)
    x = torch.randn(5, 8)
    assert torch.equal(block(x), x)


def test_a_block_is_the_published_residual():
    torch.manual_seed(0)
    block = ResidualBlock(8, 0.9)
    with torch.no_grad():
        block.skip.fill_(0.5)
    x = torch.randn(5, 8)
    branch = functional.linear(
        functional.gelu(x) * 1.7015 * 0.9, block.first.standardised(), block.first.bias
    )
    branch = functional.linear(
        functional.gelu(branch) * 1.7015, block.second.standardised(), block.second.bias
    )
    torch.testing.assert_close(block(x), x + 0.2 * 0.5 * branch)


def test_weight_standardisation_by_hand():
    layer = StandardisedLinear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2, 3, 6], [5, 5, 5, 5]]))
        layer.gain.copy_(torch.tensor([[2.0], [1.0]]))
    # Mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5; N var = 14.
    expected = 2 * torch.tensor([-2.0, -1, 0, 3]) / math.sqrt(14)
    torch.testing.assert_close(layer.standardised()[0], expected)
    # A constant row has no variance: divided by 1e-2, not by zero.
    torch.testing.assert_close(layer.standardised()[1], torch.zeros(4))


def test_the_smallest_variance_is_clamped():
    layer = StandardisedLinear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1e-4, -1e-4]]))
    # N var = 2e-8 is below 1e-4: divided by 1e-2.
    torch.testing.assert_close(layer.standardised(), torch.tensor([[1e-2, -1e-2]]))


def test_scaled_gelu_keeps_unit_variance():
    torch.manual_seed(0)
    assert scaled_gelu(torch.randn(200_000)).std().item() == pytest.approx(1, abs=0.01)


def test_gradient_scaling_is_the_identity_forward_and_divides_backward():
    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    out = _ScaleGradient.apply(x)
    assert torch.equal(out, x)
    out.sum().backward()
    rms = math.sqrt((9 + 16) / 2)
    torch.testing.assert_close(x.grad, torch.full((1, 2), 1 / rms))


def test_gradient_scaling_never_enlarges():
    x = torch.tensor([[0.1, 0.2]], requires_grad=True)
    _ScaleGradient.apply(x).sum().backward()
    torch.testing.assert_close(x.grad, torch.ones(1, 2))


def test_fourier_features_hold_the_position_and_sine_cosine_pairs():
    encoding = FourierFeatures(3, highest=8 * math.pi)
    frequencies = math.pi / 2 * torch.tensor([1.0, 4.0, 16.0])
    torch.testing.assert_close(encoding.frequencies, frequencies)
    u = torch.tensor([[0.2, -0.4, 0.9]])

    code = encoding(u)[0]

    assert code.shape == (encoding.width,) == (21,)
    torch.testing.assert_close(code[:3], u[0])
    angles = u[0][:, None] * frequencies
    pairs = math.sqrt(2) * torch.stack([angles.sin(), angles.cos()], dim=-1)
    torch.testing.assert_close(code[3:], pairs.flatten(), atol=1e-5, rtol=0)
    assert encoding.phases.requires_grad


def test_frequencies_reach_from_the_volume_to_the_voxel(a_geometry):
    network = NFNetwork(a_geometry, SAM2[:1], 8, 1, 5)
    frequencies = network.models[0].encoding.frequencies
    # Half the largest extent is 4 mm, the finest spacing 0.5 mm.
    assert frequencies[0].item() == pytest.approx(math.pi / 2)
    assert frequencies[-1].item() == pytest.approx(math.pi * 4 / 0.5, rel=1e-5)


def test_narrow_levels_share_a_model_and_wide_ones_have_their_own(a_small_network):
    assert a_small_network.groups == [[0, 2], [1]]
    ras = points_of(a_small_network.geometry)
    geometry = a_small_network.geometry
    u = ((ras - torch.tensor(geometry.centre_ras)) / geometry.radius).float()
    narrow, wide = a_small_network.models
    both = narrow.leave(narrow.hidden(u))
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(a_small_network.level(ras, 0), both[:, :3], **close)
    torch.testing.assert_close(a_small_network.level(ras, 2), both[:, 3:], **close)
    torch.testing.assert_close(a_small_network.level(ras, 1), wide.leave(wide.hidden(u)), **close)


@pytest.mark.parametrize("widths", [(8, 200), (200, 8), (200, 300), (8, 9)])
def test_any_mix_of_levels_keeps_their_order(a_geometry, widths):
    levels = tuple(FeatureLevel(str(n), 4, c) for n, c in enumerate(widths))
    network = NFNetwork(a_geometry, levels, 8, 1, 2)
    ras = points_of(a_geometry)
    assert [network.level(ras, n).shape[1] for n in range(2)] == list(widths)
    identity = torch.eye(sum(widths))
    together = torch.cat([network.level(ras, n) for n in range(2)], dim=1)
    torch.testing.assert_close(network.project(ras, identity), together, atol=1e-5, rtol=1e-4)


def test_projection_is_folded_exactly(a_small_network):
    field = FeatureField(a_small_network, "filters", "-")
    field.mean.copy_(torch.randn(137))
    field.std.copy_(torch.rand(137) + 0.5)
    ras = points_of(field.geometry)
    weight, bias = torch.randn(5, 137), torch.randn(5)
    expected = field.features(ras) @ weight.T + bias
    torch.testing.assert_close(field.project(ras, weight, bias), expected, atol=1e-4, rtol=1e-4)


def test_a_lattice_has_the_values_at_its_positions(a_small_network):
    field = FeatureField(a_small_network, "filters", "-")
    lattice = Lattice((0.5, -1.0, 0.0), (0.5, 1.5, 1.0), (4, 3, 7))
    ras = lattice.ras(field.geometry, field.device).reshape(-1, 3)
    weight, bias = torch.randn(2, 137), torch.randn(2)
    expected = field.project(ras, weight, bias).T.reshape(2, 4, 3, 7)
    torch.testing.assert_close(
        field.project_on(lattice, weight, bias), expected, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(
        field.features_on(lattice).reshape(-1, 137), field.features(ras), atol=1e-4, rtol=1e-4
    )


def test_a_position_does_not_feel_its_neighbours_in_the_batch(a_small_network):
    field = FeatureField(a_small_network, "filters", "-")
    ras = points_of(field.geometry, 33)
    together = field.features(ras)
    alone = torch.cat([field.features(p[None]) for p in ras])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    far = torch.cat([ras[:5], ras[:5] + 1e4])
    torch.testing.assert_close(field.features(far)[:5], together[:5], atol=1e-5, rtol=1e-5)


def test_settings_make_the_same_network_again(a_small_network):
    again = NFNetwork(
        a_small_network.geometry, a_small_network.levels, **a_small_network.settings()
    )
    again.load_state_dict(a_small_network.state_dict())
    ras = points_of(again.geometry)
    assert torch.equal(again.level(ras, 1), a_small_network.level(ras, 1))


def test_every_parameter_gets_a_gradient(a_small_network):
    ras = points_of(a_small_network.geometry)
    loss = sum(a_small_network.level(ras, n).square().mean() for n in range(3))
    loss.backward()
    for name, parameter in a_small_network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
