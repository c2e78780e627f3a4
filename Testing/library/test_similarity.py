from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.field.lattice import Lattice
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.similarity import similarity
from VoxelFeatLib.segmenting.statistics import FeatureStatistics


@pytest.fixture
def a_black_volume(a_geometry):
    """Intensity 0 everywhere, so that only the features count."""
    return Volume(np.full(a_geometry.shape_kji, -1000, dtype=np.int16), a_geometry, "CT")


@pytest.fixture
def a_field_of_two_kinds(a_geometry, a_field_of):
    """(3, 4) everywhere, (0, 1) in plane k = 1, (-3, -4) in plane k = 2."""
    features = np.empty((*a_geometry.shape_kji, 2))
    features[:] = (3, 4)
    features[1] = (0, 1)
    features[2] = (-3, -4)
    return a_field_of(a_geometry, features)


def test_cosine_of_raw_features(a_black_volume, a_field_of_two_kinds):
    lattice = Lattice.of_voxels((0, 0, 0), (3, 2, 1))
    result = similarity(a_black_volume, a_field_of_two_kinds, (10.1, 20, 30), lattice)
    expected = np.broadcast_to(np.array([1, 0.8, -1])[:, None, None], (3, 2, 1))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_whitened_space_subtracts_the_mean_and_divides_by_the_deviation(
    a_black_volume, a_field_of_two_kinds
):
    statistics = FeatureStatistics(
        np.array([0.0, 2.0, 0.0]), np.diag([9.0, 4.0, 1.0]), np.empty((0, 3)), np.empty((0, 3))
    )
    lattice = Lattice.of_voxels((0, 0, 0), (3, 1, 1))
    result = similarity(
        a_black_volume, a_field_of_two_kinds, (10, 20, 30), lattice, statistics
    ).ravel()
    # (3, 4) -> (1, 1); (0, 1) -> (0, -1/2); (-3, -4) -> (-1, -3)
    np.testing.assert_allclose(result, [1, -(0.5**0.5), -4 / 20**0.5], atol=1e-6)


def test_the_intensity_counts_too(a_geometry, a_field_of):
    voxels = np.full(a_geometry.shape_kji, -1000, dtype=np.int16)
    voxels[0, 0, 1] = 1000
    field = a_field_of(a_geometry, np.ones((*a_geometry.shape_kji, 1)))
    lattice = Lattice.of_voxels((0, 0, 0), (1, 1, 2))
    result = similarity(Volume(voxels, a_geometry, "CT"), field, (10, 20, 30), lattice)
    np.testing.assert_allclose(result.ravel(), [1, 0.5**0.5], atol=1e-6)


def test_large_lattices_are_compared_in_parts(a_black_volume, a_field_of_two_kinds, monkeypatch):
    lattice = Lattice.of_voxels((0, 0, 0), (4, 5, 6))
    arguments = (a_black_volume, a_field_of_two_kinds, (10, 20, 30), lattice)
    whole = similarity(*arguments)
    monkeypatch.setattr("VoxelFeatLib.segmenting.similarity._POINTS", 13)
    np.testing.assert_array_equal(similarity(*arguments), whole)


def test_a_point_outside_is_refused(a_black_volume, a_field_of_two_kinds):
    lattice = Lattice.of_voxels((0, 0, 0), (1, 1, 1))
    with pytest.raises(InputError, match="outside the volume") as error:
        similarity(a_black_volume, a_field_of_two_kinds, (0, 0, 0), lattice)
    assert "R 9.8 to 12.8, A 19.5 to 24.5, S 29.0 to 37.0" in error.value.hint
