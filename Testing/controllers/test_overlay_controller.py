"""Pictures of the field over slice views, from a real worker."""

from __future__ import annotations

import numpy as np
import pytest
from vtk.util import numpy_support

from VoxelFeatLib.scene.controllers.overlay_controller import OverlayController


@pytest.fixture
def a_view(a_scene, a_phantom):
    """An axial slice view through the middle of the volume: slice node and composite node."""
    node = a_scene.AddNewNodeByClass("vtkMRMLSliceNode", "Red")
    node.SetLayoutName("Red")
    node.SetMappedInLayout(True)
    node.SetDimensions(100, 100, 1)
    node.SetFieldOfView(500, 500, 1)
    r, a, s = a_phantom.volume.geometry.centre_ras
    matrix = node.GetSliceToRAS()
    matrix.Identity()
    for row, value in enumerate((r, a, s)):
        matrix.SetElement(row, 3, value)
    node.UpdateMatrices()
    composite = a_scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Red")
    composite.SetLayoutName("Red")
    return node, composite


@pytest.fixture
def an_overlay(a_ready_field, a_link, a_loop, a_scene):
    controller = OverlayController(a_link, a_ready_field, a_loop, a_scene)
    yield controller
    controller.close()


def picture_in(scene, composite) -> np.ndarray:
    node = scene.GetNodeByID(composite.GetForegroundVolumeID())
    scalars = node.GetImageData().GetPointData().GetScalars()
    return numpy_support.vtk_to_numpy(scalars)


def test_features_are_shown_as_colours_and_taken_away(an_overlay, a_loop, a_scene, a_view):
    _, composite = a_view
    an_overlay.set_opacity(0.7)
    an_overlay.set_mode("features")
    a_loop.run_until(composite.GetForegroundVolumeID)
    colors = picture_in(a_scene, composite)
    assert colors.shape[1] == 3
    assert len(np.unique(colors, axis=0)) > 50
    assert composite.GetForegroundOpacity() == pytest.approx(0.7)
    an_overlay.set_mode("none")
    assert not composite.GetForegroundVolumeID()


def test_features_follow_the_slice(an_overlay, a_loop, a_scene, a_view):
    node, composite = a_view
    an_overlay.set_mode("features")
    a_loop.run_until(composite.GetForegroundVolumeID)
    before = picture_in(a_scene, composite).copy()
    node.GetSliceToRAS().SetElement(2, 3, node.GetSliceToRAS().GetElement(2, 3) + 24.0)
    node.UpdateMatrices()
    a_loop.run_until(lambda: not np.array_equal(picture_in(a_scene, composite), before))


def test_likeness_is_largest_at_the_cursor(an_overlay, a_loop, a_scene, a_view, a_phantom):
    _, composite = a_view
    an_overlay.set_mode("similarity")
    a_loop.run_for(0.2)
    assert not composite.GetForegroundVolumeID()  # nothing to compare with yet
    an_overlay.cursor_moved(tuple(a_phantom.volume.geometry.centre_ras.tolist()))
    a_loop.run_until(composite.GetForegroundVolumeID)
    likeness = picture_in(a_scene, composite)
    assert likeness.max() > 240
    assert np.median(likeness) < 200


def test_a_cursor_outside_is_no_error(an_overlay, a_loop, a_view):
    said: list[str] = []
    an_overlay.message.connect(said.append)
    an_overlay.set_mode("similarity")
    an_overlay.cursor_moved((9999.0, 0.0, 0.0))
    a_loop.run_for(0.2)
    assert said == []
