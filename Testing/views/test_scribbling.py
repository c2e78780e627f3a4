"""Strokes drawn in slice views, and what the mouse does without the tool."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from Testing.views.helpers import PLANES, deepest, kji_at, segment_mask, settle
from VoxelFeatLib.scene.views.scribble_tool import ScribbleTool

WAY = ((100, 120), (104, 121), (110, 130), (131, 150), (160, 150))


@pytest.fixture
def some_strokes() -> list[np.ndarray]:
    return []


@pytest.fixture
def a_tool(some_strokes):
    tool = ScribbleTool(some_strokes.append)
    yield tool
    tool.stop()


def window_and_level(volume_node) -> tuple[float, float]:
    display = volume_node.GetDisplayNode()
    return display.GetWindow(), display.GetLevel()


def adjust_window_level(scene) -> None:
    """Have the left button change window and level, as the button in Slicer's tool bar does."""
    node = scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    node.SetCurrentInteractionMode(node.AdjustWindowLevel)


def xy_to_ras(view) -> list[float]:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(view.node.GetXYToRAS())
    return [matrix.GetElement(row, column) for row in range(4) for column in range(4)]


@pytest.mark.parametrize("plane", PLANES)
def test_a_stroke_has_the_positions_under_the_mouse(plane, a_phantom, a_tool, a_view, some_strokes):
    a_view.look_along(*PLANES[plane], deepest(a_phantom, "liver"), 320.0, (31, -22))
    a_tool.start([(a_view.interactor(), a_view.node)], positive=True)
    a_view.drag(*WAY)
    assert len(some_strokes) == 1
    np.testing.assert_allclose(some_strokes[0], [a_view.world(pixel) for pixel in WAY], atol=1e-9)


def test_the_stroke_is_seen_while_it_is_drawn(a_tool, a_view):
    before = a_view.picture()
    a_tool.start([(a_view.interactor(), a_view.node)], positive=True)
    a_view.send("LeftButtonPressEvent", WAY[0])
    for pixel in WAY[1:]:
        a_view.send("MouseMoveEvent", pixel)
    during = a_view.picture()
    changed = (during != before).any(axis=2)
    assert changed[150, 145]  # between the last two points
    assert during[150, 145, 1] > during[150, 145, 0] + 50  # green
    assert changed.sum() < 1000
    a_view.send("LeftButtonReleaseEvent", WAY[-1])
    np.testing.assert_array_equal(a_view.picture(), before)


def test_window_and_level_rest_while_drawing(a_scene, a_tool, a_view, a_volume_node, some_strokes):
    adjust_window_level(a_scene)
    before = window_and_level(a_volume_node)
    a_tool.start([(a_view.interactor(), a_view.node)], positive=False)
    a_view.drag(*WAY)
    assert window_and_level(a_volume_node) == before
    a_tool.stop()
    a_view.drag(*WAY)
    assert window_and_level(a_volume_node) != before
    assert len(some_strokes) == 1


def test_panning_rests_while_drawing(a_tool, a_view, some_strokes):
    def pan() -> None:
        a_view.enter(WAY[0])
        a_view.send("LeftButtonPressEvent", WAY[0], shift=True)
        for pixel in WAY[1:]:
            a_view.send("MouseMoveEvent", pixel, shift=True)
        a_view.send("LeftButtonReleaseEvent", WAY[-1], shift=True)

    before = xy_to_ras(a_view)
    a_tool.start([(a_view.interactor(), a_view.node)], positive=True)
    pan()
    assert xy_to_ras(a_view) == before
    a_tool.stop()
    pan()
    assert xy_to_ras(a_view) != before
    assert len(some_strokes) == 1


def test_other_buttons_work_while_drawing(a_tool, a_view, some_strokes):
    a_tool.start([(a_view.interactor(), a_view.node)], positive=True)
    before = xy_to_ras(a_view)
    a_view.enter(WAY[0])
    a_view.send("MiddleButtonPressEvent", WAY[0])
    a_view.send("MouseMoveEvent", WAY[3])
    a_view.send("MiddleButtonReleaseEvent", WAY[3])
    assert xy_to_ras(a_view) != before
    assert some_strokes == []


def test_stopping_forgets_what_is_being_drawn(a_tool, a_view, some_strokes):
    before = a_view.picture()
    a_tool.start([(a_view.interactor(), a_view.node)], positive=True)
    a_view.send("LeftButtonPressEvent", WAY[0])
    a_view.send("MouseMoveEvent", WAY[3])
    a_tool.stop()
    a_view.send("LeftButtonReleaseEvent", WAY[3])
    assert some_strokes == []
    np.testing.assert_array_equal(a_view.picture(), before)


@pytest.mark.slow
@pytest.mark.parametrize("plane", PLANES)
def test_a_stroke_teaches_the_segment(plane, a_controller, a_loop, a_phantom, a_view):
    liver = deepest(a_phantom, "liver")
    a_view.look_along(*PLANES[plane], liver, 320.0)
    segment_id = a_controller.add_segment("liver")
    a_controller.scribble(True)
    x, y = a_view.pixel(liver)
    way = [(x - 8 + 4 * step, y) for step in range(5)]
    a_view.drag(*way)
    assert a_controller.click_counts(segment_id) == (1, 0)
    settle(a_controller, a_loop)
    mask = segment_mask(a_controller)
    for pixel in way:
        assert mask[kji_at(a_phantom, a_view.world(pixel))]
    a_controller.undo()
    settle(a_controller, a_loop)
    assert not segment_mask(a_controller).any()
    assert a_controller.click_counts(segment_id) == (0, 0)
