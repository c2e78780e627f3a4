from __future__ import annotations

import numpy as np
import pytest

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.evaluation.mistakes import next_click
from VoxelFeatLib.imaging.geometry import Geometry

SHAPE = (9, 10, 11)


@pytest.fixture
def a_geometry() -> Geometry:
    matrix = np.diag([-1.0, -1.0, 4.0, 1.0])
    matrix[:3, 3] = (5, 6, 7)
    return Geometry(SHAPE, matrix)


def _mask(*boxes):
    mask = np.zeros(SHAPE, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def _ijk(click, geometry):
    return tuple(geometry.to_ijk(click.ras).round(9).tolist())


def test_the_first_click_is_the_middle_of_the_target(a_geometry):
    click = next_click(_mask(np.s_[2:7, 1:6, 3:8]), None, a_geometry, name="liver")
    assert click.positive
    assert click.label == "liver"
    # 3 mm from the sides along i and j, and so deepest on a line along k: its middle.
    assert _ijk(click, a_geometry) == (5, 3, 4)
    assert click.ras == (0.0, 3.0, 23.0)


def test_depth_is_physical():
    # Voxels of 9 x 1 x 4 mm, and a target one voxel thick along i: each has a neighbour outside.
    geometry = Geometry((12, 12, 3), np.diag([9.0, 1.0, 4.0, 1.0]))
    target = np.zeros(geometry.shape_kji, dtype=bool)
    target[1, 1:12, 1] = True  # 4 mm to the outside along k, at most
    target[3:12, 1:4, 1] = True  # at most 2 mm along j
    assert geometry.to_ijk(next_click(target, None, geometry).ras).tolist() == [1, 6, 1]


def test_the_edge_of_the_volume_is_outside(a_geometry):
    click = next_click(_mask(np.s_[:, :3, :]), None, a_geometry)
    assert _ijk(click, a_geometry) == (5, 1, 4)


def test_an_empty_prediction_is_no_prediction(a_geometry):
    target = _mask(np.s_[2:7, 1:6, 3:8])
    assert next_click(target, np.zeros(SHAPE), a_geometry) == next_click(target, None, a_geometry)


def test_the_largest_mistake_is_corrected(a_geometry):
    target = _mask(np.s_[1:4, 1:4, 1:4])
    missed = next_click(target, _mask(np.s_[1:4, 1:4, 1:2], np.s_[8, 8, 8]), a_geometry)
    assert missed.positive
    # Missed is 3 x 3 x 2; both halves are equally deep, the first is taken.
    assert _ijk(missed, a_geometry) == (2, 2, 2)
    wrong = next_click(target, target | _mask(np.s_[5:8, 5:8, 5:8]), a_geometry)
    assert not wrong.positive
    assert _ijk(wrong, a_geometry) == (6, 6, 6)


def test_corners_connect(a_geometry):
    # Three voxels in a diagonal chain are one mistake, larger than the pair that is wrong.
    chain = _mask(np.s_[1, 1, 1], np.s_[2, 2, 2], np.s_[3, 3, 3])
    block = _mask(np.s_[5:8, 5:8, 5:8])
    click = next_click(block | chain, block | _mask(np.s_[0, 8, 1:3]), a_geometry)
    assert click.positive
    assert _ijk(click, a_geometry) == (2, 2, 2)


def test_nothing_to_correct(a_geometry):
    target = _mask(np.s_[1:4, 1:4, 1:4])
    assert next_click(target, target, a_geometry) is None


def test_a_voxel_is_clicked_once(a_geometry):
    target = _mask(np.s_[2:7, 1:6, 3:8])
    clicks = []
    for _ in range(3):
        clicks.append(next_click(target, None, a_geometry, clicked=clicks))
    # The deepest voxels are the line along k through the middle of j and i.
    found = [_ijk(click, a_geometry) for click in clicks]
    assert found[0] == (5, 3, 4)
    assert len(set(found)) == 3
    assert {ijk[:2] for ijk in found} == {(5, 3)}


def test_a_mistake_of_which_every_voxel_was_clicked_is_left_alone(a_geometry):
    target = _mask(np.s_[1:4, 1:4, 1:4])
    prediction = target ^ _mask(np.s_[1, 1, 1:3], np.s_[8, 8, 8])
    clicks = []
    for _ in range(4):
        clicks.append(next_click(target, prediction, a_geometry, clicked=[c for c in clicks if c]))
    assert [click and click.positive for click in clicks] == [True, True, False, None]
    assert _ijk(clicks[2], a_geometry) == (8, 8, 8)


def test_bad_masks_are_refused(a_geometry):
    with pytest.raises(InputError, match="must not be empty"):
        next_click(_mask(), None, a_geometry)
    with pytest.raises(InputError, match="does not belong"):
        next_click(np.ones((2, 2, 2)), None, a_geometry)
    with pytest.raises(InputError, match="does not belong"):
        next_click(_mask(np.s_[1, 1, 1]), np.ones((2, 2, 2)), a_geometry)
