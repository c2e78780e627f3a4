from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.volume import Volume
from VoxelFeatLib.segmenting.supervoxels import air, supervoxels


@pytest.fixture
def a_ct():
    """12 x 20 x 20 voxels of 2 mm: a body in air, with a gas bubble inside."""
    voxels = np.full((12, 20, 20), -1000, dtype=np.int16)
    voxels[1:11, 2:18, 2:18] = 40
    voxels[5:7, 9:11, 9:11] = -1000
    return Volume(voxels, Geometry(voxels.shape, np.diag([2.0, 2.0, 2.0, 1.0])), "CT")


@pytest.fixture
def a_field_of_halves(a_ct, a_field_of):
    """One feature that changes in the middle of i, and one that is the same everywhere."""
    features = np.ones((*a_ct.geometry.shape_kji, 2))
    features[:, :, 10:, 0] = 5
    return a_field_of(a_ct.geometry, features)


def test_air_is_the_largest_dark_component(a_ct):
    expected = np.ones(a_ct.voxels.shape, dtype=bool)
    expected[1:11, 2:18, 2:18] = False
    np.testing.assert_array_equal(air(a_ct), expected)
    assert not air(Volume(a_ct.voxels, a_ct.geometry, "MR")).any()


def test_supervoxels_fill_the_body_and_respect_features(a_ct, a_field_of_halves):
    labels = supervoxels(a_ct, a_field_of_halves, count=8, sigma=0.01)

    assert labels.dtype == np.int32
    assert labels.shape == a_ct.voxels.shape
    np.testing.assert_array_equal(labels == 0, air(a_ct))
    left, right = set(np.unique(labels[:, :, :10])), set(np.unique(labels[:, :, 10:]))
    assert left & right == {0}
    assert 4 <= len(left | right) - 1 <= 12


def test_same_seed_same_supervoxels(a_ct, a_field_of_halves):
    first = supervoxels(a_ct, a_field_of_halves, count=4, seed=3)
    np.testing.assert_array_equal(first, supervoxels(a_ct, a_field_of_halves, count=4, seed=3))


def test_bad_input(a_ct, a_field_of_halves):
    with pytest.raises(InputError, match="at least two"):
        supervoxels(a_ct, a_field_of_halves, count=1)
    with pytest.raises(InputError, match="at most 5,000"):
        supervoxels(a_ct, a_field_of_halves, count=5001)
    empty = Volume(np.full(a_ct.voxels.shape, -1000, dtype=np.int16), a_ct.geometry, "CT")
    with pytest.raises(InputError, match="nothing but air"):
        supervoxels(empty, a_field_of_halves)
