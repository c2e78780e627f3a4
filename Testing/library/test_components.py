from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.imaging.masks import bounding_box
from VoxelFeatLib.segmenting.components import (
    component_near,
    label_components,
    overlapping_components,
    touched_components,
)


@pytest.fixture
def a_mask_of_two_parts():
    """Two voxels that share only a corner, and a bar three voxels away from them."""
    mask = np.zeros((4, 5, 8), dtype=bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[1:3, 3, 6] = True
    return mask


def test_voxels_that_share_a_corner_are_one_component(a_mask_of_two_parts):
    labels, count = label_components(a_mask_of_two_parts)

    expected = np.zeros((4, 5, 8), dtype=np.int32)
    expected[1, 1, 1] = expected[2, 2, 2] = 1
    expected[1:3, 3, 6] = 2
    assert count == 2
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, expected)


def test_bounding_box_is_the_smallest(a_mask_of_two_parts):
    assert bounding_box(a_mask_of_two_parts) == (slice(1, 3), slice(1, 4), slice(1, 7))
    assert bounding_box(np.zeros((2, 3, 4), dtype=bool)) is None


@pytest.mark.parametrize(
    ("point", "margin", "expected"),
    [
        ((1, 1, 1), 0, 1),
        ((0, 0, 0), 0, 0),
        ((0, 0, 0), 1, 1),
        ((1, 3, 4), 0, 0),
        ((1, 3, 5), 1, 2),
        ((0, 1, 3), 1, 0),
        ((0, 1, 3), 2, 1),
        ((1, 3, 4), 2, 2),  # both parts are in reach: (1, 3, 6) at 4, (2, 2, 2) at 1 + 1 + 4
        ((-1, 0, 0), 2, 1),  # beside the volume
        ((-9, 0, 0), 2, 0),
    ],
)
def test_component_near_searches_outwards(a_mask_of_two_parts, point, margin, expected):
    labels, _ = label_components(a_mask_of_two_parts)
    assert component_near(labels, point, margin) == expected


def test_a_component_under_the_point_wins_over_a_nearer_margin():
    labels = np.array([[[1, 0, 2, 2]]], dtype=np.int32)
    assert component_near(labels, (0, 0, 2)) == 2
    assert component_near(labels, (0, 0, 1)) == 1  # as near as 2, but first


def test_touched_components_keeps_whole_components(a_mask_of_two_parts):
    expected = a_mask_of_two_parts.copy()
    expected[1:3, 3, 6] = False
    np.testing.assert_array_equal(
        touched_components(a_mask_of_two_parts, [(3, 3, 3), (1, 1, 1)]), expected
    )
    assert not touched_components(a_mask_of_two_parts, []).any()
    assert not touched_components(a_mask_of_two_parts, [(1, 1, 1)][:0], margin=0).any()
    assert not touched_components(np.zeros((2, 2, 2), dtype=bool), [(0, 0, 0)]).any()


def test_touching_beyond_the_margin_keeps_nothing(a_mask_of_two_parts):
    assert not touched_components(a_mask_of_two_parts, [(1, 1, 1)], margin=0)[2:, 3:].any()
    assert not touched_components(a_mask_of_two_parts, [(0, 0, 4)], margin=1).any()


def test_overlapping_components(a_mask_of_two_parts):
    other = np.zeros_like(a_mask_of_two_parts)
    other[2, 3, 5:] = True
    expected = np.zeros_like(a_mask_of_two_parts)
    expected[1:3, 3, 6] = True
    np.testing.assert_array_equal(overlapping_components(a_mask_of_two_parts, other), expected)
