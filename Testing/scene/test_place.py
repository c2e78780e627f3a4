from __future__ import annotations

import pytest

from VoxelFeatLib.scene.nodes.markups import make_markups
from VoxelFeatLib.scene.nodes.roi import make_roi
from VoxelFeatLib.scene.views.place import Placing


@pytest.fixture
def a_placing(a_scene):
    placing = Placing(a_scene)
    heard: list[str] = []
    placing.stopped.connect(lambda: heard.append("stopped"))
    yield placing, heard
    placing.close()


@pytest.fixture
def an_interaction_node(a_scene):
    return a_scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")


@pytest.fixture
def a_selection_node(a_scene):
    return a_scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")


@pytest.fixture
def two_nodes(a_scene):
    return [
        a_scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name) for name in ("one", "two")
    ]


def test_placing_is_persistent_and_goes_into_the_node(
    a_placing, an_interaction_node, a_selection_node, two_nodes
) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    assert placing.node is two_nodes[0]
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.Place
    assert an_interaction_node.GetPlaceModePersistence() == 1
    assert a_selection_node.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"
    assert a_selection_node.GetActivePlaceNodeID() == two_nodes[0].GetID()
    placing.stop()
    assert placing.node is None
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.ViewTransform
    assert heard == []


def test_another_node_takes_over_without_a_stop(
    a_placing, an_interaction_node, a_selection_node, two_nodes
) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    placing.start(two_nodes[1])
    assert placing.node is two_nodes[1]
    assert a_selection_node.GetActivePlaceNodeID() == two_nodes[1].GetID()
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.Place
    assert heard == []


def test_escape_and_other_tools_are_told(a_placing, an_interaction_node, two_nodes) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    an_interaction_node.SwitchToViewTransformMode()
    assert heard == ["stopped"]
    assert placing.node is None
    an_interaction_node.SwitchToPersistentPlaceMode()  # by somebody else, for something else
    placing.stop()
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.Place
    assert heard == ["stopped"]


def test_a_node_that_somebody_else_places_into_is_told(
    a_placing, an_interaction_node, a_selection_node, two_nodes
) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    a_selection_node.SetReferenceActivePlaceNodeID(two_nodes[1].GetID())
    assert heard == ["stopped"]
    assert placing.node is None
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.Place


def test_a_deleted_node_ends_placing(a_scene, a_placing, an_interaction_node, two_nodes) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    a_scene.RemoveNode(two_nodes[1])
    assert heard == []
    a_scene.RemoveNode(two_nodes[0])
    assert heard == ["stopped"]
    assert placing.node is None
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.ViewTransform


def test_a_closed_scene_ends_placing(a_scene, a_placing, two_nodes) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    a_scene.Clear(False)
    assert heard == ["stopped"]
    assert placing.node is None


def test_without_slicers_nodes_nothing_is_placed(a_new_scene) -> None:
    scene = a_new_scene()
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    scene.RemoveNode(scene.GetNodeByID("vtkMRMLInteractionNodeSingleton"))
    placing = Placing(scene)
    placing.start(node)
    assert placing.node is None
    placing.close()


@pytest.mark.parametrize("curve", [False, True], ids=["clicks", "scribble"])
def test_a_new_node_of_clicks_does_not_take_the_mouse_away(
    a_scene, a_placing, an_interaction_node, a_selection_node, curve
) -> None:
    # Slicer's markups logic makes every node that is added the one to place points into.
    placing, heard = a_placing
    segmentation = a_scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment_id = segmentation.GetSegmentation().AddEmptySegment("liver")
    inside = make_markups(segmentation, segment_id, positive=True)
    placing.start(inside)
    make_markups(segmentation, segment_id, positive=False, curve=curve)
    assert heard == []
    assert placing.node is inside
    assert a_selection_node.GetActivePlaceNodeID() == inside.GetID()
    assert a_selection_node.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"
    assert an_interaction_node.GetCurrentInteractionMode() == an_interaction_node.Place


def test_the_box_does_not_take_the_mouse_away(
    a_placing, a_selection_node, two_nodes, a_volume_node
) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    make_roi(a_volume_node())
    assert heard == []
    assert a_selection_node.GetActivePlaceNodeID() == two_nodes[0].GetID()
    assert a_selection_node.GetActivePlaceNodeClassName() == "vtkMRMLMarkupsFiducialNode"


def test_a_foreign_node_that_comes_takes_the_mouse(a_scene, a_placing, two_nodes) -> None:
    placing, heard = a_placing
    placing.start(two_nodes[0])
    a_scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode")
    assert heard == ["stopped"]
