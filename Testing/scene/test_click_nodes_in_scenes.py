"""Nodes of clicks in a scene: made, shown, removed, taken over, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer

from Testing.scene.clicking import place, world_of_voxel
from VoxelFeatLib.scene.nodes import markups
from VoxelFeatLib.scene.nodes.click_nodes import ClickNodes
from VoxelFeatLib.scene.nodes.volume_nodes import geometry_of, moved, world_from_local


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


def test_nodes_are_renamed_with_their_segment(a_case) -> None:
    clicks, heard = a_case()
    inside, outside = (clicks.node_for("liver", positive=positive) for positive in (True, False))
    stroke = clicks.add_scribble(
        "liver", [world_of_voxel(clicks.volume_node, (3, 4, 5))], positive=True
    )
    other = clicks.node_for("spleen", positive=True)
    outside.SetName("my own name")
    heard.clear()
    segments = clicks.segmentation_node.GetSegmentation()
    segments.GetSegment("liver").SetName("left lobe")
    assert inside.GetName() == "left lobe positive clicks"
    assert stroke.GetName() == "left lobe positive scribble"
    assert outside.GetName() == "my own name"
    assert other.GetName() == "spleen positive clicks"
    late = str(segments.AddEmptySegment("", "late"))
    node = clicks.node_for(late, positive=False)
    segments.GetSegment(late).SetName("later")
    assert node.GetName() == "later negative clicks"
    assert heard == []


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
