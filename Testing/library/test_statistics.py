import numpy as np
import pytest

from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.samples import samples_at
from VoxelFeatLib.segmenting.statistics import FeatureStatistics, shrunk_covariance


@pytest.fixture
def a_body(a_field_of):
    """12 x 20 x 20 voxels, mostly air, a bright cube in the middle; features are noise."""
    generator = np.random.default_rng(0)
    geometry = Geometry((12, 20, 20), np.diag([1.0, 1.5, 3.0, 1.0]))
    voxels = np.full(geometry.shape_kji, -1000, dtype=np.int16)
    voxels[4:8, 6:12, 6:12] = 50
    volume = Volume(voxels, geometry, "CT")
    field = a_field_of(geometry, generator.standard_normal((*geometry.shape_kji, 3)))
    return field, volume


def ledoit_wolf_by_definition(x):
    """The paper's formulas, sample by sample, with the trace norm divided by D."""
    n, size = x.shape
    x = x - x.mean(axis=0)
    sample = x.T @ x / n
    level = np.trace(sample) / size
    d2 = np.sum((sample - level * np.eye(size)) ** 2) / size
    b2 = sum(np.sum((np.outer(row, row) - sample) ** 2) for row in x) / n**2 / size
    b2 = min(b2, d2)
    return b2 / d2 * level * np.eye(size) + (d2 - b2) / d2 * sample


def test_shrinkage_is_ledoit_and_wolfs_on_standardised_channels():
    generator = np.random.default_rng(1)
    x = generator.standard_normal((40, 5)) @ generator.standard_normal((5, 5)) + 3
    scale = x.std(axis=0)
    expected = ledoit_wolf_by_definition(x / scale) * scale * scale[:, None]
    np.testing.assert_allclose(shrunk_covariance(x), expected, rtol=1e-10)


def test_fewer_samples_than_channels_give_a_positive_definite_covariance():
    x = np.random.default_rng(2).standard_normal((5, 30))
    assert np.linalg.eigvalsh(shrunk_covariance(x)).min() > 0


def test_a_constant_channel_does_not_break_the_whitening():
    x = np.random.default_rng(3).standard_normal((100, 4))
    x[:, 1] = 7
    covariance = shrunk_covariance(x)
    assert np.isfinite(covariance).all()
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_rounding_of_features_that_never_vary_is_not_blown_up():
    x = np.full((100, 4), 0.8)
    x += 1e-9 * np.random.default_rng(3).standard_normal(x.shape)
    statistics = FeatureStatistics(x.mean(axis=0), shrunk_covariance(x), x, np.zeros((100, 3)))
    other = np.nextafter(np.float32(0.8), np.float32(1))  # as another way of computing has it
    assert np.abs(statistics.whiten([[other] * 4])).max() < 100


def test_whitened_samples_are_uncorrelated(a_body):
    statistics = FeatureStatistics.of(*a_body, count=2000)
    covariance = statistics.whitening @ statistics.covariance @ statistics.whitening.T
    np.testing.assert_allclose(covariance, np.eye(4), atol=1e-8)
    np.testing.assert_allclose(statistics.whiten(statistics.mean[None]), 0, atol=1e-12)
    assert statistics.background.shape == (1024, 4)


def test_half_of_the_samples_lie_in_the_body(a_body):
    statistics = FeatureStatistics.of(*a_body, count=2000)
    inside = statistics.background_x[:, -1] > 0.4
    # The body fills 144 of 4800 voxels; half the samples and 3 % of the others lie there, where
    # the candidates suffice: 8000 candidates for 1000 samples hold about 240 of the body.
    assert 0.1 < inside.mean() < 0.2


def test_background_samples_are_what_lies_at_their_positions(a_body):
    field, volume = a_body
    statistics = FeatureStatistics.of(field, volume, count=500)
    expected = samples_at(field, volume, statistics.background_ras)
    np.testing.assert_array_equal(statistics.background_x.astype(np.float32), expected)
    assert volume.geometry.contains(statistics.background_ras).all()


def test_the_seed_decides(a_body):
    first, same = (FeatureStatistics.of(*a_body, count=300, seed=4) for _ in range(2))
    other = FeatureStatistics.of(*a_body, count=300, seed=5)
    np.testing.assert_array_equal(first.background_x, same.background_x)
    np.testing.assert_array_equal(first.covariance, same.covariance)
    assert not np.array_equal(first.background_ras, other.background_ras)


def test_a_volume_of_one_value_has_statistics(a_field_of):
    geometry = Geometry((2, 3, 4), np.eye(4))
    volume = Volume(np.zeros(geometry.shape_kji, dtype=np.int16), geometry, "CT")
    field = a_field_of(geometry, np.zeros((2, 3, 4, 2)))
    statistics = FeatureStatistics.of(field, volume, count=50)
    assert np.isfinite(statistics.background).all()


def test_samples_join_features_and_intensity(a_body):
    field, volume = a_body
    ras = volume.geometry.to_ras([[7, 7, 5], [0, 0, 0]])
    x = samples_at(field, volume, ras)
    np.testing.assert_array_equal(x[:, -1], np.float32([0.525, 0]))
    np.testing.assert_array_equal(x[0, :-1], field.network.table[5, 7, 7].numpy())
