from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from VoxelFeatLib.backbones.protocol import FeatureLevel
from VoxelFeatLib.field.feature_field import FeatureField
from VoxelFeatLib.field.network import FieldNetwork
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.blocks import BlockBounds
from VoxelFeatLib.segmenting.extent import Extent
from VoxelFeatLib.segmenting.inference import VolumeInference
from VoxelFeatLib.segmenting.probe import AffineHead, LayerNormHead
from VoxelFeatLib.segmenting.spatial import CosineBasis, SpatialTerm

CHANNELS = 6
SHAPES_AND_SPACINGS = [
    ((33, 70, 61), (1.0, 1.0, 1.0)),
    ((14, 90, 85), (0.7, 0.7, 3.0)),
    ((60, 9, 77), (1.0, 4.0, 1.2)),
    ((1, 64, 50), (1.0, 1.0, 5.0)),
]


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
    return make_inference((33, 70, 61), (1.0, 1.0, 1.0))


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


@pytest.mark.parametrize(("shape", "spacing"), SHAPES_AND_SPACINGS)
@pytest.mark.parametrize("intensity_weight", [0.0, 2.0, -3.0])
def test_adaptive_masks_equal_brute_force(shape, spacing, intensity_weight):
    for seed in range(3):
        inference = make_inference(shape, spacing, seed)
        head = make_head(seed, intensity_weight)
        brute = inference.brute_force(head)
        mask, _ = inference.mask(head)
        assert 0.02 < brute.mean() < 0.98
        np.testing.assert_array_equal(mask, brute)


def test_a_spatial_term_counts_everywhere(an_inference, a_head):
    geometry = an_inference.volume.geometry
    basis = CosineBasis(geometry)
    coefficients = np.random.default_rng(3).standard_normal(len(basis.scale))
    head = replace(a_head, spatial=SpatialTerm(basis, coefficients))
    brute = an_inference.brute_force(head)
    np.testing.assert_array_equal(an_inference.mask(head)[0], brute)
    k, j, i = np.indices(geometry.shape_kji).reshape(3, -1)
    ras = geometry.to_ras(np.stack([i, j, k], axis=-1))
    without, logits = (an_inference.logits_at(h, ras) for h in (a_head, head))
    np.testing.assert_allclose(logits, without + head.spatial.at(ras), atol=1e-5)
    unequal = (logits > 0) != brute.ravel()
    assert np.abs(logits[unequal]).max(initial=0) < 1e-4
    assert (brute != an_inference.brute_force(a_head)).any()


def test_adaptive_masks_evaluate_a_small_part():
    inference = make_inference((64, 144, 144), (0.5, 0.5, 0.5))
    head = make_head(0, intensity_weight=0.0, bias=0.0)
    corners = inference.volume.geometry.to_ras(np.argwhere(np.ones((9, 9, 4))) * 16)
    highest = float(inference.logits_at(head, corners).max())
    head = replace(head, bias=-0.8 * highest)
    mask, report = inference.mask(head)
    assert mask.any()
    assert report.total == mask.size
    assert report.evaluated < mask.size / 2


@pytest.mark.parametrize("kind", ["a_head", "a_layer_norm_head"])
def test_brute_force_is_the_definition(an_inference, kind, request):
    head = request.getfixturevalue(kind)
    expected, logits = expected_mask(an_inference, head)
    unequal = an_inference.brute_force(head) != expected
    assert np.abs(logits.reshape(expected.shape)[unequal]).max(initial=0) < 1e-4


def test_layer_norm_masks_equal_brute_force(an_inference, a_layer_norm_head):
    mask, report = an_inference.mask(a_layer_norm_head)
    np.testing.assert_array_equal(mask, an_inference.brute_force(a_layer_norm_head))
    assert report.evaluated == report.total


@pytest.mark.parametrize("kind", ["a_head", "a_layer_norm_head"])
def test_visible_extents_come_first_and_the_last_chunk_is_final(an_inference, kind, request):
    head = request.getfixturevalue(kind)
    visible = [
        Extent((5, 0, 0), (6, 70, 61)),
        Extent((0, 30, 0), (33, 31, 61)),
        Extent((0, 0, 60), (33, 70, 61)),
    ]
    chunks = list(an_inference.masks(head, visible=visible))
    brute = an_inference.brute_force(head)
    assert [chunk.extent for chunk in chunks[:3]] == visible
    for chunk in chunks[:3]:
        np.testing.assert_array_equal(chunk.mask, brute[chunk.extent.slices])
    assert [chunk.final for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    covered = np.zeros(brute.shape, dtype=bool)
    for chunk in chunks[3:]:
        covered[chunk.extent.slices] = True
    assert covered.all()


def test_tiles_spread_outwards_from_where_the_visible_slices_meet(an_inference, a_head):
    visible = [Extent((30, 0, 0), (31, 70, 61)), Extent((0, 3, 0), (33, 4, 61))]
    tiles = list(an_inference.masks(a_head, visible=visible))[3:]
    middles = [(np.add(t.extent.start_kji, t.extent.stop_kji)) / 2 for t in tiles]
    distances = [np.linalg.norm(m - (30.5, 3.5, 30.5)) for m in middles]
    assert len(distances) > 1
    assert all(a <= b for a, b in pairwise(distances))


@pytest.mark.parametrize("kind", ["a_head", "a_layer_norm_head"])
def test_nothing_is_said_outside_the_box(an_inference, kind, request):
    head = request.getfixturevalue(kind)
    box = Extent((3, 10, 7), (22, 51, 90))
    inside = np.zeros(an_inference.whole.shape, dtype=bool)
    inside[box.slices] = True
    visible = [Extent((5, 0, 0), (6, 70, 61)), Extent((30, 0, 0), (31, 70, 61))]
    chunks = list(an_inference.masks(head, visible=visible, box=box))
    assert chunks[0].extent == Extent((5, 10, 7), (6, 51, 61))
    said = np.zeros(inside.shape, dtype=bool)
    for chunk in chunks:
        assert chunk.mask.shape == chunk.extent.shape
        said[chunk.extent.slices] = True
    np.testing.assert_array_equal(said, inside)
    expected = an_inference.brute_force(head) & inside
    np.testing.assert_array_equal(an_inference.mask(head, box)[0], expected)
    np.testing.assert_array_equal(an_inference.brute_force(head, box), expected)


def test_a_box_outside_the_volume_gives_nothing(an_inference, a_head):
    assert list(an_inference.masks(a_head, box=Extent((99, 0, 0), (120, 5, 5)))) == []


@pytest.mark.parametrize("kind", ["a_head", "a_layer_norm_head"])
def test_cancelling_ends_without_a_final_chunk_or_another_evaluation(
    an_inference, kind, request, monkeypatch
):
    head = request.getfixturevalue(kind)
    evaluations = []
    for name in ("project_on", "features_on"):
        real = getattr(an_inference.field, name)
        monkeypatch.setattr(
            an_inference.field,
            name,
            lambda *args, real=real: evaluations.append(args) or real(*args),
        )
    visible = [Extent((5, 0, 0), (6, 70, 61))]
    complete = list(an_inference.masks(head, visible=visible))
    for most in range(len(complete)):
        chunks, before = [], -1
        for chunk in an_inference.masks(
            head, visible=visible, cancelled=lambda c=chunks, m=most: len(c) >= m
        ):
            chunks.append(chunk)
            before = len(evaluations)
        assert len(chunks) == most
        assert not any(chunk.final for chunk in chunks)
        assert before in (-1, len(evaluations))


def test_an_abandoned_generator_evaluates_nothing_more(an_inference, a_head, monkeypatch):
    steps = an_inference.masks(a_head, visible=[Extent((5, 0, 0), (6, 70, 61))])
    next(steps)
    monkeypatch.setattr(an_inference.field, "project_on", None)
    steps.close()
    assert list(steps) == []


def test_the_same_question_has_the_same_answer_chunk_by_chunk(an_inference, a_head):
    first, second = (list(an_inference.masks(a_head)) for _ in range(2))
    assert [c.extent for c in first] == [c.extent for c in second]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", ["a_head", "a_layer_norm_head"])
def test_logits_at_voxel_centres_agree_with_the_mask(an_inference, kind, request):
    head = request.getfixturevalue(kind)
    geometry = an_inference.volume.geometry
    kji = np.random.default_rng(2).integers(0, geometry.shape_kji, (300, 3))
    logits = an_inference.logits_at(head, geometry.to_ras(kji[:, ::-1]))
    mask = an_inference.brute_force(head)[tuple(kji.T)]
    clear = np.abs(logits) > 1e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(logits[clear] > 0, mask[clear])


def test_positions_outside_the_volume_are_not_in_the_segment(an_inference, a_head):
    everything = replace(a_head, bias=100.0)
    geometry = an_inference.volume.geometry
    ras = geometry.to_ras([[0, 0, 0], [-1, 0, 0], [60.4, 69.4, 32.4], [60, 70, 32]])
    assert an_inference.mask_at(everything, ras).tolist() == [True, False, True, False]


def test_blocks_follow_the_spacing():
    assert make_inference((14, 90, 85), (0.75, 0.75, 3.0)).block_kji == (1, 4, 4)
    assert make_inference((33, 70, 61), (1.0, 1.0, 1.0)).block_kji == (4, 4, 4)
    assert make_inference((33, 70, 61), (1.0, 2.0, 1.0)).block_kji == (4, 2, 4)


def test_bounds_hold_the_exact_intensity_range():
    geometry = Geometry((2, 5, 3), np.eye(4))
    voxels = np.arange(30, dtype=np.int16).reshape(geometry.shape_kji) * 10
    volume = Volume(voxels, geometry, "CT")
    bounds = BlockBounds(volume, (2, 4, 2))
    low, high = bounds(np.zeros((2, 3, 3), np.float32), -2000.0, np.s_[0:1, 0:2, 0:2])
    # Blocks of rows 0-3 and 4, columns 0-1 and 2; the weight turns darkest and brightest round.
    least = np.array([[[0, 20], [120, 140]]])
    greatest = np.array([[[250, 260], [280, 290]]])
    np.testing.assert_allclose(-low, greatest + 1000, rtol=1e-6)
    np.testing.assert_allclose(-high, least + 1000, rtol=1e-6)


def test_bounds_of_a_parabola_hold_its_values():
    geometry = Geometry((1, 1, 33), np.eye(4))
    volume = Volume(np.zeros(geometry.shape_kji, dtype=np.int16), geometry, "CT")
    values = 0.1 * (np.arange(33) - 14.0) ** 2
    corners = np.broadcast_to(values[::4].astype(np.float32), (2, 2, 9))
    low, high = BlockBounds(volume, (1, 1, 4))(corners, 0.0, np.s_[0:1, 0:1, 0:8])
    blocks = values[:32].reshape(8, 4)
    assert (low[0, 0] <= blocks.min(axis=1)).all()
    assert (high[0, 0] >= blocks.max(axis=1)).all()
