from __future__ import annotations

import math

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.metrics import (
    around,
    dice,
    hd95_mm,
    score,
    surface_distances,
)
from VoxelFeatLib.imaging.masks import bounding_box

SPACING = (1.0, 2.0, 3.0)  # i, j, k


@pytest.fixture
def two_boxes():
    """4 x 4 x 4 voxels, the second one step (3 mm) farther along k."""
    first, second = np.zeros((2, 10, 9, 8), dtype=bool)
    first[2:6, 2:6, 2:6] = True
    second[3:7, 2:6, 2:6] = True
    return first, second


def test_dice_of_shifted_boxes(two_boxes):
    assert dice(*two_boxes) == 2 * 48 / 128


def test_surface_distances_of_shifted_boxes(two_boxes):
    # Of the 56 surface voxels, the 16 of the far face are one step (3 mm) off, the 4 inner ones of
    # the near face lie inside the other box, 1 mm (along i) from its side, and the rest coincide.
    expected = [0.0] * 36 + [1.0] * 4 + [3.0] * 16
    for distances in surface_distances(*two_boxes, SPACING):
        np.testing.assert_allclose(np.sort(distances), expected)


def test_score_of_shifted_boxes(two_boxes):
    scores = score(*two_boxes, SPACING)
    assert scores.dice == 0.75
    assert scores.hd95_mm == 3.0
    assert scores.reference_to_prediction_mm == pytest.approx(52 / 56)
    assert scores.prediction_to_reference_mm == pytest.approx(52 / 56)


def test_directed_distances_differ_and_keep_their_names():
    reference, prediction = np.zeros((2, 3, 3, 12), dtype=np.uint8)
    reference[1, 1, 1] = 1
    prediction[1, 1, [1, 9]] = 1
    scores = score(prediction, reference, SPACING)
    assert scores.reference_to_prediction_mm == 0
    assert scores.prediction_to_reference_mm == 4  # (0 + 8) / 2
    # The larger directed percentile: 95 % of the way from 0 to 8.
    assert hd95_mm(prediction, reference, SPACING) == pytest.approx(0.95 * 8)


@pytest.mark.parametrize(
    ("offset_kji", "expected"), [((0, 0, 3), 3.0), ((0, 2, 3), 5.0), ((4, 0, 0), 12.0)]
)
def test_single_voxels_are_their_distance_apart(offset_kji, expected):
    prediction, reference = np.zeros((2, 6, 6, 6), dtype=bool)
    prediction[0, 0, 0] = True
    reference[offset_kji] = True
    assert hd95_mm(prediction, reference, SPACING) == pytest.approx(expected)


def test_a_mask_at_the_edge_of_the_array_has_a_surface_there():
    full = np.ones((3, 3, 3), dtype=bool)
    to_prediction, _ = surface_distances(full, full, SPACING)
    np.testing.assert_array_equal(to_prediction, np.zeros(26))


def test_empty_masks():
    empty, voxel = np.zeros((2, 3, 3, 3), dtype=bool)
    voxel[1, 1, 1] = True
    both = score(empty, empty, SPACING)
    assert (both.dice, both.hd95_mm) == (1.0, 0.0)
    assert (both.reference_to_prediction_mm, both.prediction_to_reference_mm) == (0.0, 0.0)
    for pair in ((empty, voxel), (voxel, empty)):
        one = score(*pair, SPACING)
        assert one.dice == 0.0
        assert one.hd95_mm == math.inf
        assert one.reference_to_prediction_mm == one.prediction_to_reference_mm == math.inf


@pytest.mark.parametrize("shape", [(3, 3, 4), (3, 3)])
def test_masks_of_other_shapes_are_refused(shape):
    with pytest.raises(InputError, match="same volume"):
        score(np.zeros((3, 3, 3)) if len(shape) == 3 else np.zeros(shape), np.zeros(shape), SPACING)


def test_boxes():
    mask = np.zeros((20, 20, 20), dtype=bool)
    assert bounding_box(mask) is None
    assert around(mask) == (slice(0, 20),) * 3
    mask[3:5, 10, 17] = True
    assert bounding_box(mask) == (slice(3, 5), slice(10, 11), slice(17, 18))
    assert around(mask, 5) == (slice(0, 10), slice(5, 16), slice(12, 20))
