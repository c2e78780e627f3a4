from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.field.network import FieldNetwork
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.probe import AffineHead, LayerNormHead
from VoxelFeatLib.segmenting.spatial import CosineBasis, SpatialTerm

CHANNELS = 6


class WaveNetwork(FieldNetwork):
    """Features are plane waves of 25 mm or more: smooth, and known everywhere."""

    name = "waves"

    def __init__(self, geometry, seed):
        super().__init__(geometry, (FeatureLevel("only", 4, CHANNELS),))
        generator = np.random.default_rng(seed)
        direction = generator.standard_normal((CHANNELS, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        wavelength = generator.uniform(25, 60, (CHANNELS, 1))
        self.frequency = torch.as_tensor(2 * np.pi * direction / wavelength, dtype=torch.float32)
        self.phase = torch.as_tensor(generator.uniform(0, 6, CHANNELS), dtype=torch.float32)

    def level(self, ras, index):
        assert index == 0
        return torch.sin(ras @ self.frequency.T + self.phase)

    def project(self, ras, weight):
        return self.level(ras, 0) @ weight.T

    def project_on(self, lattice, weight):
        ras = lattice.ras(self.geometry, weight.device).reshape(-1, 3)
        return self.project(ras, weight).T.reshape(-1, *lattice.shape_kji)

    def stored(self):
        return {}

    def settings(self):
        return {}


def make_inference(shape, spacing, seed=0):
    angle = 0.3 + seed
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    geometry = Geometry.from_lps(shape, spacing, (10, -20, 30), turn.ravel())
    noise = np.random.default_rng(seed).standard_normal(shape)
    voxels = np.int16(400 * gaussian_filter(noise, 1) + 20 * noise)
    volume = Volume(voxels, geometry, "CT")
    return VolumeInference(FeatureField(WaveNetwork(geometry, seed), "waves", "-"), volume)


def make_head(seed, intensity_weight=1.0, bias=-0.3):
    """A head whose logits change sign often: the intensity's mean, 0.5, does not shift them."""
    weight = np.random.default_rng(seed).standard_normal(CHANNELS)
    weight = torch.as_tensor(weight, dtype=torch.float32)
    return AffineHead(weight, intensity_weight, bias - intensity_weight / 2)


@pytest.fixture
def an_inference():
    return make_inference((13, 20, 31), (1.0, 1.0, 2.5))


@pytest.fixture
def a_head():
    return make_head(0)


@pytest.fixture
def a_layer_norm_head():
    scale = torch.as_tensor(np.random.default_rng(1).standard_normal(CHANNELS + 1)).float()
    return LayerNormHead(scale, -0.1, 1e-5)


def expected_mask(inference, head):
    """By the definition: features at every voxel centre, then the head."""
    geometry = inference.volume.geometry
    k, j, i = np.indices(geometry.shape_kji)
    ras = torch.as_tensor(geometry.to_ras(np.stack([i, j, k], -1).reshape(-1, 3))).float()
    volume = inference.volume
    intensity = torch.from_numpy(volume.intensity_window(volume.voxels).ravel())
    features = inference.field.features(ras)
    if isinstance(head, AffineHead):
        logits = features @ head.weight + intensity * head.intensity_weight + head.bias
    else:
        logits = head.logits(features, intensity)
    return (logits > 0).numpy().reshape(geometry.shape_kji), logits.numpy()


def voxel_centres(inference):
    geometry = inference.volume.geometry
    k, j, i = np.indices(geometry.shape_kji)
    return geometry.to_ras(np.stack([i, j, k], -1).reshape(-1, 3))


@pytest.fixture
def a_spatial_head(an_inference, a_head):
    basis = CosineBasis(an_inference.volume.geometry)
    coefficients = np.random.default_rng(0).standard_normal(len(basis.orders_kji))
    return replace(a_head, spatial=SpatialTerm(basis, coefficients))


def test_logits_are_the_definition(an_inference, a_head):
    _, expected = expected_mask(an_inference, a_head)
    logits = an_inference.logits_at(a_head, voxel_centres(an_inference))
    np.testing.assert_allclose(logits, expected, atol=2e-4)


def test_a_spatial_term_is_added(an_inference, a_head, a_spatial_head):
    ras = voxel_centres(an_inference)
    difference = an_inference.logits_at(a_spatial_head, ras) - an_inference.logits_at(a_head, ras)
    np.testing.assert_allclose(difference, a_spatial_head.spatial.at(ras), atol=1e-4)
    assert np.abs(difference).max() > 0.1


def test_a_lattice_is_the_same_as_its_positions(an_inference, a_spatial_head):
    whole, volume = an_inference.whole, an_inference.volume
    lattice = Lattice.of_voxels(whole.start_kji, whole.stop_kji)
    intensity = volume.intensity_window(volume.voxels)
    logits = an_inference.logits_on(a_spatial_head, lattice, intensity)
    expected = an_inference.logits_at(a_spatial_head, voxel_centres(an_inference))
    np.testing.assert_allclose(logits.ravel(), expected, atol=2e-4)


@pytest.mark.parametrize("frugality", [1, 4096])
def test_masks_are_the_definition_and_cover_the_box_once(
    an_inference, a_layer_norm_head, frugality
):
    expected, _ = expected_mask(an_inference, a_layer_norm_head)
    box = Extent((2, 3, 0), (12, 19, 31))
    told = np.zeros(an_inference.whole.shape, dtype=int)
    inference = an_inference.renewed(an_inference.field, frugality=frugality)
    pieces = list(inference.masks(a_layer_norm_head, box))
    for extent, mask in pieces:
        told[extent.slices] += 1
        np.testing.assert_array_equal(mask, expected[extent.slices])
    assert (told[box.slices] == 1).all()
    assert told.sum() == box.size
    assert (len(pieces) == 1) == (frugality == 1)


def test_a_box_outside_the_volume_gives_nothing(an_inference, a_layer_norm_head):
    assert list(an_inference.masks(a_layer_norm_head, Extent((50, 0, 0), (60, 5, 5)))) == []


def test_a_field_of_another_volume_is_refused(an_inference):
    other = make_inference((13, 20, 32), (1.0, 1.0, 2.5))
    with pytest.raises(InputError, match="belongs to another volume"):
        VolumeInference(other.field, an_inference.volume)


def test_a_graph_is_made_once_and_outlives_a_field(an_inference):
    graph = finished(an_inference.graph(500))
    again = an_inference.renewed(an_inference.field)
    assert finished(again.graph(500)) is graph
    assert finished(again.graph(100)) is not graph


def finished(work):
    """What a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value
