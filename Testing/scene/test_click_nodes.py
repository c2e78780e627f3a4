"""Clicks in the scene: where they are, what is told of them, undo."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from Testing.scene.clicking import GEOMETRIES, TRANSFORMS, place, world_of_voxel
from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.nodes import markups
from VoxelFeatLib.scene.nodes.click_nodes import ClickState
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of

# --------------------------------------------------------------------- where a click is


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_click_on_a_voxel_is_that_voxel(a_case, geometry, transform) -> None:
    clicks, _ = a_case(geometry, transform)
    grid = geometry_of(clicks.volume_node)
    voxels = [(0, 0, 0), (6, 8, 10), (3, 1, 7)]
    for voxel in voxels:
        place(clicks, "liver", world_of_voxel(clicks.volume_node, voxel))
    positive, negative = clicks.clicks("liver")
    assert grid.voxels_of(positive).tolist() == [list(voxel) for voxel in voxels]
    np.testing.assert_allclose(positive, [grid.to_ras(v[::-1]) for v in voxels], atol=1e-9)
    assert negative == []


def test_nested_transforms_of_volume_and_markups_are_gone_through(a_case, a_transform_node) -> None:
    outer = a_transform_node("rotated")
    clicks, _ = a_case("gantry tilt", a_transform_node("scaled and sheared", outer))
    node = clicks.node_for("liver", positive=False)
    node.SetAndObserveTransformNodeID(a_transform_node("moved", outer).GetID())
    place(clicks, "liver", world_of_voxel(clicks.volume_node, (2, 5, 9)), positive=False)
    _, negative = clicks.clicks("liver")
    assert geometry_of(clicks.volume_node).voxels_of(negative).tolist() == [[2, 5, 9]]


def test_a_markup_under_a_warp_counts_where_it_is_shown(a_case, a_scene) -> None:
    clicks, _ = a_case("plain")
    warp = a_scene.AddNewNodeByClass("vtkMRMLGridTransformNode")
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, 2)
    grid.SetSpacing(100, 100, 100)
    grid.SetOrigin(-50, -50, -50)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    for component, shift in enumerate((1.0, 2.0, 3.0)):
        grid.GetPointData().GetScalars().FillComponent(component, shift)
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    warp.SetAndObserveTransformFromParent(transform)
    node = clicks.node_for("liver", positive=True)
    node.AddControlPoint([5.0, 5.0, 5.0])
    node.SetAndObserveTransformNodeID(warp.GetID())
    np.testing.assert_allclose(clicks.clicks("liver")[0], [(4, 3, 2)], atol=1e-3)


def test_new_clicks_go_with_the_volume(a_case, a_transform_node) -> None:
    transform = a_transform_node("rotated")
    clicks, heard = a_case("oblique", transform)
    place(clicks, "liver", world_of_voxel(clicks.volume_node, (3, 4, 5)))
    before = clicks.clicks("liver")
    heard.clear()
    transform.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
    np.testing.assert_allclose(clicks.clicks("liver")[0], before[0], atol=1e-9)
    assert heard == []


def test_moving_the_volume_away_from_its_clicks_is_told(a_case, a_transform_node) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (5, 5, 5))
    heard.clear()
    clicks.volume_node.SetAndObserveTransformNodeID(a_transform_node("moved").GetID())
    assert heard == ["liver"]
    np.testing.assert_allclose(clicks.clicks("liver")[0], [(5 - 13, 5 + 7.5, 5 - 21)])


def test_a_volume_under_a_warp_tells_who_asks_and_nobody_else(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (5, 5, 5))
    heard.clear()
    warp = a_scene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "a warp")
    warp.SetAndObserveTransformToParent(slicer.vtkOrientedBSplineTransform())
    clicks.volume_node.SetAndObserveTransformNodeID(warp.GetID())
    place(clicks, "liver", (6, 5, 5))
    assert heard == []
    with pytest.raises(InputError, match="non-linear transform a warp"):
        clicks.clicks("liver")
    clicks.volume_node.SetAndObserveTransformNodeID(None)
    assert heard == ["liver"]


# --------------------------------------------------------------------- what is told


def test_placing_is_told_once_and_the_point_at_the_mouse_never(a_case) -> None:
    clicks, heard = a_case()
    node = clicks.node_for("liver", positive=True)
    node.AddControlPoint([0.0, 0.0, 0.0])
    node.SetNthControlPointPosition(0, [1.0, 2.0, 3.0], node.PositionPreview)
    heard.clear()
    for x in range(5):
        node.SetNthControlPointPosition(0, [float(x), 0.0, 0.0], node.PositionPreview)
    assert heard == []
    assert clicks.clicks("liver") == ([], [])
    assert clicks.counts("liver") == (0, 0)
    node.SetNthControlPointPosition(0, [4.0, 0.0, 0.0], node.PositionDefined)
    assert heard == ["liver"]
    assert clicks.counts("liver") == (1, 0)


def test_points_without_a_position_do_not_count(a_case) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 2, 3))
    place(clicks, "liver", (4, 5, 6))
    heard.clear()
    clicks.node_for("liver", positive=True).UnsetNthControlPointPosition(0)
    assert heard == ["liver"]
    assert clicks.clicks("liver") == ([(4, 5, 6)], [])
    clicks.node_for("liver", positive=True).SetNthControlPointPositionMissing(1)
    assert heard == ["liver", "liver"]
    assert clicks.clicks("liver") == ([], [])


def test_dragging_is_told_at_each_move_and_at_its_end(a_case) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "spleen", (1, 2, 3), positive=False)
    heard.clear()
    node = clicks.node_for("spleen", positive=False)
    node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)
    assert clicks.drag == 1
    node.SetNthControlPointPositionWorld(0, [2.0, 2.0, 3.0])
    node.SetNthControlPointPositionWorld(0, [3.0, 2.0, 3.0])
    assert heard == ["spleen"] * 2
    node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent)
    assert heard == ["spleen"] * 3
    assert clicks.drag == 0
    node.InvokeCustomModifiedEvent(node.PointStartInteractionEvent)
    assert clicks.drag == 2
    node.InvokeCustomModifiedEvent(node.PointEndInteractionEvent)
    assert clicks.clicks("spleen") == ([], [(3, 2, 3)])


def test_deleting_a_point_or_a_whole_node_is_told(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 2, 3))
    place(clicks, "liver", (2, 2, 3))
    place(clicks, "spleen", (3, 3, 3))
    heard.clear()
    clicks.node_for("liver", positive=True).RemoveNthControlPoint(0)
    assert heard == ["liver"]
    assert clicks.clicks("liver") == ([(2, 2, 3)], [])
    a_scene.RemoveNode(clicks.node_for("liver", positive=True))
    assert heard == ["liver", "liver"]
    assert clicks.clicks("liver") == ([], [])
    assert clicks.segment_ids() == ["spleen"]
    place(clicks, "liver", (5, 5, 5))  # a new node is made
    assert clicks.clicks("liver") == ([(5, 5, 5)], [])


def test_other_nodes_are_none_of_its_business(a_case, a_scene, a_segmentation_node) -> None:
    clicks, heard = a_case("plain")
    others = a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "landmarks")
    others.AddControlPoint([1.0, 2.0, 3.0])
    foreign = markups.make_markups(a_segmentation_node(), "liver", positive=True)
    foreign.AddControlPoint([1.0, 2.0, 3.0])
    a_scene.RemoveNode(others)
    assert heard == []
    assert clicks.clicks("liver") == ([], [])
    assert clicks.node_for("liver", positive=True) is not foreign


def test_a_click_changes_its_segment_only(a_case) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 2, 3))
    place(clicks, "spleen", (3, 4, 5))
    place(clicks, "liver", (6, 7, 5), positive=False)
    assert heard == ["liver", "spleen", "liver"]
    assert clicks.clicks("liver") == ([(1, 2, 3)], [(6, 7, 5)])
    assert clicks.clicks("spleen") == ([(3, 4, 5)], [])


# --------------------------------------------------------------------- undo


def test_clicks_are_replaced_in_one_go(a_case) -> None:
    clicks, heard = a_case("oblique", "scaled and sheared")
    for voxel in [(1, 1, 1), (2, 2, 2), (3, 3, 3)]:
        place(clicks, "liver", world_of_voxel(clicks.volume_node, voxel))
    heard.clear()
    wanted = (((1.0, 2.0, 3.0),), ((4.0, 5.0, 6.0), (7.0, 8.0, 9.0)))
    clicks.set_state("liver", ClickState(*wanted))
    assert heard == ["liver"]
    for found, expected in zip(clicks.clicks("liver"), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)
    clicks.set_state("liver", ClickState(*wanted))
    assert heard == ["liver"]


def test_a_state_is_restored_with_its_scribbles(a_case) -> None:
    clicks, heard = a_case("oblique", "rotated")
    place(clicks, "liver", world_of_voxel(clicks.volume_node, (1, 1, 1)))
    stroke = [world_of_voxel(clicks.volume_node, (2, 3, i)) for i in (2, 5, 8)]
    clicks.add_scribble("liver", stroke, positive=False)
    full = clicks.state("liver")
    clicks.clear("liver")
    assert clicks.state("liver").same(ClickState())
    assert clicks.clicks("liver") == ([], [])
    heard.clear()
    clicks.set_state("liver", full)
    assert heard == ["liver"]
    assert clicks.state("liver").same(full)
    assert not clicks.state("liver").same(ClickState(full.positive, full.negative))
    assert clicks.counts("liver") == (1, 1)


def test_undo_while_placing_leaves_the_point_at_the_mouse(a_case) -> None:
    clicks, _ = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    place(clicks, "liver", (2, 2, 2))
    node = clicks.node_for("liver", positive=True)
    node.AddControlPoint([9.0, 8.0, 7.0])
    node.SetNthControlPointPosition(2, [9.0, 8.0, 7.0], node.PositionPreview)
    clicks.set_state("liver", ClickState(((1.0, 1.0, 1.0),)))
    statuses = [node.GetNthControlPointPositionStatus(n) for n in range(2)]
    assert node.GetNumberOfControlPoints() == 2
    assert statuses == [node.PositionDefined, node.PositionPreview]
    clicks.set_state("liver", ClickState(((1.0, 1.0, 1.0), (2.0, 2.0, 2.0))))
    assert clicks.clicks("liver")[0] == [(1, 1, 1), (2, 2, 2)]
    assert node.GetNumberOfControlPoints() == 3
