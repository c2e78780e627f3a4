from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer
import vtk

from VoxelFeatLib.errors import InputError
from VoxelFeatLib.scene.nodes import markups
from VoxelFeatLib.scene.nodes.click_nodes import ClickNodes, ClickState
from VoxelFeatLib.scene.nodes.scribbles import Scribble, voxel_positions
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, moved, world_from_local

GEOMETRIES = [
    "plain",
    "lps",
    "flipped",
    "anisotropic",
    "sagittal",
    "oblique",
    "oblique, left-handed",
    "gantry tilt",
]
TRANSFORMS = ["none", "moved", "rotated", "scaled and sheared", "mirrored"]


def world_of_voxel(volume_node, voxel_kji) -> list[float]:
    """Where Slicer shows a voxel's centre, worked out by VTK and MRML."""
    matrix = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(matrix)
    point = matrix.MultiplyPoint((*voxel_kji[::-1], 1))
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        volume_node.GetParentTransformNode(), None, to_world
    )
    return list(to_world.TransformPoint(point[:3]))


def place(clicks: ClickNodes, segment_id: str, world, *, positive: bool = True) -> None:
    """What Slicer's widget does: the point hangs at the mouse, then it is placed."""
    node = clicks.node_for(segment_id, positive=positive)
    before = node.StartModify()
    last = node.AddControlPointWorld(list(world))
    node.SetNthControlPointPositionWorld(last, list(world), node.PositionPreview)
    node.EndModify(before)
    node.SetNthControlPointPositionWorld(last, list(world), node.PositionDefined)


@pytest.fixture
def a_case(a_volume_node, a_segmentation_node):
    """Make clicks on a volume; returns them and what they tell."""
    made = []

    def make(geometry="oblique", transform=None, segments=("liver", "spleen")):
        volume = a_volume_node(geometry, transform)
        clicks = ClickNodes(a_segmentation_node(volume, segments), volume)
        heard: list[str] = []
        clicks.changed.connect(heard.append)
        made.append(clicks)
        return clicks, heard

    yield make
    for clicks in made:
        clicks.close()


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


# --------------------------------------------------------------------- scribbles


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


# --------------------------------------------------------------------- nodes in the scene


def test_nodes_are_tagged_styled_and_made_once(a_case) -> None:
    clicks, heard = a_case("plain", "moved")
    positive = clicks.node_for("liver", positive=True)
    negative = clicks.node_for("liver", positive=False)
    assert clicks.node_for("liver", positive=True) is positive
    assert heard == []
    assert positive.GetName() == "liver positive clicks"
    assert positive.GetAttribute("VoxelFeat.SegmentID") == "liver"
    assert (positive.GetAttribute("VoxelFeat.Sign"), negative.GetAttribute("VoxelFeat.Sign")) == (
        "+1",
        "-1",
    )
    assert positive.GetNodeReference("VoxelFeatSegmentation") is clicks.segmentation_node
    assert positive.GetTransformNodeID() == clicks.volume_node.GetTransformNodeID()
    shown, other = positive.GetDisplayNode(), negative.GetDisplayNode()
    assert not shown.GetPointLabelsVisibility()
    assert shown.GetSelectedColor() == markups.POSITIVE_COLOR
    assert other.GetSelectedColor() == markups.NEGATIVE_COLOR
    assert shown.GetGlyphType() != other.GetGlyphType()


def test_only_the_chosen_segments_clicks_are_shown(a_case) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    place(clicks, "spleen", (2, 1, 1), positive=False)
    clicks.add_scribble("spleen", [(1, 1, 1), (4, 1, 1)], positive=True)
    heard.clear()

    def shown() -> list[bool]:
        return [
            bool(n.GetDisplayVisibility()) for n in markups.markups_of(clicks.segmentation_node)
        ]

    clicks.show_only("spleen")
    assert shown() == [False, True, True]
    clicks.show_only("liver")
    assert shown() == [True, False, False]
    clicks.show_only(None)
    assert shown() == [False, False, False]
    assert heard == []
    assert clicks.counts("spleen") == (1, 1)


@pytest.mark.parametrize("by_the_user", [True, False])
def test_a_removed_segment_takes_its_nodes_along(a_case, a_scene, by_the_user) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    place(clicks, "spleen", (2, 1, 1))
    clicks.add_scribble("liver", [(1, 1, 1), (4, 1, 1)], positive=True)
    heard.clear()
    if by_the_user:
        clicks.segmentation_node.GetSegmentation().RemoveSegment("liver")
    else:
        clicks.remove_segment("liver")
    assert heard == ["liver"]
    assert clicks.segment_ids() == ["spleen"]
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 1


def test_a_removed_segmentation_takes_its_nodes_along(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    heard.clear()
    a_scene.RemoveNode(clicks.segmentation_node)
    assert a_scene.GetNumberOfNodesByClass("vtkMRMLMarkupsNode") == 0
    assert heard == []


def test_a_removed_volume_and_a_closed_scene_are_borne(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    heard.clear()
    a_scene.RemoveNode(clicks.volume_node)
    a_scene.Clear(False)
    assert heard == []
    clicks.close()


def test_closed_clicks_hear_nothing_and_leave_their_nodes(a_case, a_scene) -> None:
    clicks, heard = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    node = clicks.node_for("liver", positive=True)
    heard.clear()
    clicks.close()
    clicks.changed.connect(heard.append)
    node.AddControlPoint([3.0, 3.0, 3.0])
    clicks.segmentation_node.GetSegmentation().RemoveSegment("liver")
    clicks.close()
    assert heard == []
    assert node.GetScene() is a_scene


def test_clicks_of_the_scene_are_taken_over(a_case) -> None:
    first, _ = a_case("plain")
    place(first, "liver", (1, 1, 1))
    first.add_scribble("spleen", [(1, 2, 1), (4, 2, 1)], positive=True)
    first.close()
    second = ClickNodes(first.segmentation_node, first.volume_node)
    heard: list[str] = []
    second.changed.connect(heard.append)
    assert second.clicks("liver") == ([(1, 1, 1)], [])
    place(second, "liver", (2, 2, 2))
    assert heard == ["liver"]
    assert second.clicks("liver") == ([(1, 1, 1), (2, 2, 2)], [])
    assert len(second.clicks("spleen")[0]) == 4
    second.close()


def test_a_copy_of_a_node_does_not_count_twice(a_case, a_scene) -> None:
    clicks, _ = a_case("plain")
    place(clicks, "liver", (1, 1, 1))
    copy = slicer.vtkMRMLMarkupsFiducialNode()
    copy.Copy(clicks.node_for("liver", positive=True))
    a_scene.AddNode(copy)
    clicks.close()
    again = ClickNodes(clicks.segmentation_node, clicks.volume_node)
    assert again.clicks("liver") == ([(1, 1, 1)], [])
    assert again.counts("liver") == (1, 0)
    again.close()


# --------------------------------------------------------------------- files


def save(scene, folder: Path) -> str:
    """Save as Slicer does: every storable node by its storage node, then the scene."""
    scene.SetRootDirectory(str(folder))
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLStorableNode")):
        node = scene.GetNthNodeByClass(number, "vtkMRMLStorableNode")
        if node.GetSaveWithScene() and (node.GetStorageNode() or node.AddDefaultStorageNode()):
            storage = node.GetStorageNode()
            ending = storage.GetDefaultWriteFileExtension()
            if node.IsA("vtkMRMLVolumeNode"):
                storage.SetSingleFile(1)
            storage.SetFileName(str(folder / f"{node.GetID()}.{ending}"))
            assert storage.WriteData(node), node.GetID()
    path = str(folder / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit(path)
    return path


def test_clicks_and_scribbles_survive_a_saved_scene(
    a_case, a_scene, a_new_scene, tmp_path: Path
) -> None:
    clicks, _ = a_case("gantry tilt", "scaled and sheared")
    for voxel in [(1, 2, 3), (4, 5, 6)]:
        place(clicks, "liver", world_of_voxel(clicks.volume_node, voxel))
    place(clicks, "spleen", world_of_voxel(clicks.volume_node, (6, 0, 9)), positive=False)
    stroke = [world_of_voxel(clicks.volume_node, (2, 3, i)) for i in (2, 7)]
    clicks.add_scribble("spleen", stroke, positive=True)
    path = save(a_scene, tmp_path)

    scene = a_new_scene()
    # A node that is there already: the loaded ones must get other IDs.
    scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "in the way")
    scene.SetURL(path)
    assert scene.Import()
    loaded = [
        scene.GetNthNodeByClass(n, "vtkMRMLSegmentationNode")
        for n in range(scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode"))
    ]
    segmentation = next(node for node in loaded if node.GetName() == "a segmentation")
    assert segmentation.GetID() != clicks.segmentation_node.GetID()
    volume = scene.GetNthNodeByClass(0, "vtkMRMLScalarVolumeNode")
    again = ClickNodes(segmentation, volume)
    assert sorted(again.segment_ids()) == ["liver", "spleen"]
    for segment in ("liver", "spleen"):
        for found, expected in zip(again.clicks(segment), clicks.clicks(segment), strict=True):
            grid = geometry_of(volume)
            np.testing.assert_allclose(found, expected, atol=1e-3)
            assert grid.voxels_of(found).tolist() == grid.voxels_of(expected).tolist()
    assert again.counts("spleen") == (1, 1)
    again.close()


def test_clicks_that_are_loaded_into_the_scene_are_told(a_case, a_scene, tmp_path: Path) -> None:
    clicks, heard = a_case("plain")
    a_scene.StartState(a_scene.BatchProcessState)
    place(clicks, "liver", (1, 1, 1))
    made = markups.make_markups(clicks.segmentation_node, "spleen", positive=True)
    made.AddControlPoint([3.0, 3.0, 3.0])
    assert heard == []
    a_scene.EndState(a_scene.BatchProcessState)
    assert sorted(heard) == ["liver", "spleen"]
    assert clicks.clicks("spleen") == ([(3, 3, 3)], [])


def test_world_positions_are_those_of_the_volume(a_case) -> None:
    clicks, _ = a_case("oblique", "scaled and sheared")
    own = geometry_of(clicks.volume_node).to_ras((4, 3, 2))
    world = moved(world_from_local(clicks.volume_node), own)
    np.testing.assert_allclose(world, world_of_voxel(clicks.volume_node, (2, 3, 4)), atol=1e-9)
