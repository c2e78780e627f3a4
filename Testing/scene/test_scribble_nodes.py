"""Scribbles in the scene: the voxels they go through, the curves that show them."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.scene.clicking import GEOMETRIES, place, world_of_voxel
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.nodes.click_nodes import ClickState
from VoxelFeatLib.scene.nodes.scribbles import Scribble, voxel_positions
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of


@pytest.mark.parametrize("transform", ["none", "scaled and sheared"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_scribble_counts_in_every_voxel_it_goes_through(a_case, geometry, transform) -> None:
    clicks, heard = a_case(geometry, transform)
    stroke = [world_of_voxel(clicks.volume_node, (2, 3, i)) for i in (1, 6)]
    stroke.append(world_of_voxel(clicks.volume_node, (2, 5, 6)))
    clicks.add_scribble("liver", stroke, positive=True)
    assert heard == ["liver"]
    positive, negative = clicks.clicks("liver")
    expected = [[2, 3, i] for i in range(1, 7)] + [[2, 4, 6], [2, 5, 6]]
    assert geometry_of(clicks.volume_node).voxels_of(positive).tolist() == expected
    assert negative == []
    assert clicks.counts("liver") == (1, 0)


def test_a_scribble_is_a_straight_locked_curve_beside_the_clicks(a_case) -> None:
    clicks, _ = a_case("plain")
    place(clicks, "liver", (9, 1, 1), positive=False)
    node = clicks.add_scribble("liver", [(1, 1, 1), (4, 1, 1)], positive=False)
    assert node.GetClassName() == "vtkMRMLMarkupsCurveNode"
    assert node.GetCurveType() == slicer.vtkCurveGenerator.CURVE_TYPE_LINEAR_SPLINE
    assert node.GetLocked()
    assert clicks.node_for("liver", positive=False) is not node
    assert clicks.clicks("liver") == ([], [(9, 1, 1), *((x, 1, 1) for x in range(1, 5))])


def test_a_long_stroke_keeps_few_corners(a_case) -> None:
    clicks, _ = a_case("plain")
    stroke = np.column_stack([np.linspace(0, 10, 1001), np.full(1001, 4.0), np.full(1001, 3.0)])
    node = clicks.add_scribble("liver", stroke, positive=True)
    assert node.GetNumberOfControlPoints() <= 22
    voxels = geometry_of(clicks.volume_node).voxels_of(clicks.clicks("liver")[0])
    assert voxels.tolist() == [[3, 4, i] for i in range(11)]


def test_a_stroke_that_leaves_the_volume_counts_inside_only(a_case) -> None:
    clicks, heard = a_case("plain")
    stroke = [(x, 4, 3) for x in (-5, 1, 2, 14, 14.5)] + [(9, 4, 3), (8, 4, 3)]
    clicks.add_scribble("liver", stroke, positive=True)
    voxels = geometry_of(clicks.volume_node).voxels_of(clicks.clicks("liver")[0])
    assert voxels.tolist() == [[3, 4, i] for i in (1, 2, 9, 8)]
    heard.clear()
    with pytest.raises(InputError, match="outside the volume: draw it on the image"):
        clicks.add_scribble("liver", [(50, 50, 50)], positive=True)
    assert heard == []
    assert clicks.counts("liver") == (1, 0)


def test_no_corner_gives_no_voxel(a_volume_node) -> None:
    geometry = geometry_of(a_volume_node("plain"))
    assert voxel_positions(np.empty((0, 3)), geometry) == []
    assert voxel_positions(np.array([[1.0, 2.0, 3.0]] * 2), geometry) == [(1.0, 2.0, 3.0)]


def test_deleting_a_scribble_is_told(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    node = clicks.add_scribble("liver", [(1, 1, 1), (4, 1, 1)], positive=True)
    heard.clear()
    a_scene.RemoveNode(node)
    assert heard == ["liver"]
    assert clicks.state("liver").scribbles == ()


def test_states_with_other_scribbles_are_not_the_same() -> None:
    stroke = Scribble(((1.0, 2.0, 3.0),), positive=True)
    state = ClickState((), (), (stroke,))
    assert state.same(ClickState((), (), (Scribble(((1.0, 2.0, 3.0 + 1e-7),), positive=True),)))
    assert not state.same(ClickState((), (), (Scribble(stroke.points, positive=False),)))
    assert not state.same(ClickState((), (), (Scribble(((1.0, 2.0, 4.0),), positive=True),)))
    assert not state.same(ClickState(((1.0, 2.0, 3.0),)))
