from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.imaging.geometry import Geometry
from VoxelFeatLib.imaging.resampling import resample_labels_nearest


def some_labels(shape):
    return np.random.default_rng(1).integers(0, 9, shape).astype(np.uint8)


def by_hand(labels, source, target):
    """Visit every voxel of the target: slow and plain."""
    result = np.zeros(target.shape_kji, labels.dtype)
    for kji in np.ndindex(*target.shape_kji):
        ijk = source.to_ijk(target.to_ras(kji[::-1]))
        k, j, i = np.floor(np.round(ijk, 6) + 0.5).astype(int)[::-1]
        if 0 <= k < labels.shape[0] and 0 <= j < labels.shape[1] and 0 <= i < labels.shape[2]:
            result[kji] = labels[k, j, i]
    return result


def test_the_same_grid_changes_nothing(an_oblique_geometry):
    labels = some_labels(an_oblique_geometry.shape_kji)
    result = resample_labels_nearest(labels, an_oblique_geometry, an_oblique_geometry)
    np.testing.assert_array_equal(result, labels)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1)])
def test_reordered_and_flipped_axes_give_the_same_voxels(an_oblique_geometry, order, flips):
    labels = some_labels(an_oblique_geometry.shape_kji)
    moved = labels.transpose(order)[tuple(slice(None, None, f) for f in flips)]
    # Index (i, j, k) in the moved array -> index in the labels.
    to_labels = np.eye(4)
    to_labels[:3, :3] = 0
    for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
        to_labels[2 - source, 2 - axis] = flip
        to_labels[2 - source, 3] = 0 if flip > 0 else labels.shape[source] - 1
    target = Geometry(moved.shape, an_oblique_geometry.ijk_to_ras @ to_labels)
    result = resample_labels_nearest(labels, an_oblique_geometry, target)
    np.testing.assert_array_equal(result, moved)
    assert result.dtype == labels.dtype


def test_an_oblique_grid_agrees_with_visiting_every_voxel(a_geometry, an_oblique_geometry):
    labels = some_labels(a_geometry.shape_kji)
    matrix = an_oblique_geometry.ijk_to_ras.copy()
    matrix[:3, 3] += a_geometry.centre_ras - an_oblique_geometry.centre_ras
    target = Geometry((5, 6, 7), matrix)
    expected = by_hand(labels, a_geometry, target)
    assert 0 < np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(resample_labels_nearest(labels, a_geometry, target), expected)


def test_a_shifted_grid_is_zero_outside_the_box(a_geometry):
    labels = np.ones(a_geometry.shape_kji, dtype=bool)
    shift = np.eye(4)
    shift[:3, 3] = (-2, 1, 3)
    target = Geometry(a_geometry.shape_kji, a_geometry.ijk_to_ras @ shift)
    expected = np.zeros(a_geometry.shape_kji, dtype=bool)
    expected[:1, :4, 2:] = True
    np.testing.assert_array_equal(resample_labels_nearest(labels, a_geometry, target), expected)


def test_halves_always_go_up_far_from_the_origin():
    matrix = np.diag([0.7, 0.7, 0.7, 1])
    matrix[:3, 3] = (-213.7, 811.3, -1499.1)
    source = Geometry((4, 4, 8), matrix)
    coarse = np.diag([4.0, 4, 4, 1])
    coarse[:3, 3] = 1.5  # the middle of the first 4 voxels: halfway between 1 and 2
    target = Geometry((1, 1, 2), matrix @ coarse)
    labels = np.zeros((4, 4, 8), dtype=np.uint8)
    labels[2, 2, 2], labels[2, 2, 6] = 5, 7
    result = resample_labels_nearest(labels, source, target)
    np.testing.assert_array_equal(result, [[[5, 7]]])


def test_labels_of_another_shape_are_refused(a_geometry):
    with pytest.raises(InputError, match="shape"):
        resample_labels_nearest(np.zeros((2, 2, 2), dtype=np.uint8), a_geometry, a_geometry)
