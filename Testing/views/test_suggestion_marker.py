"""The mark at a suggested place, as it is seen in slice views."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from Testing.views.helpers import PLANES, deepest
from VoxelFeatLib.scene.views.slices import jump
from VoxelFeatLib.scene.views.suggestion_marker import SuggestionMarker


@pytest.fixture
def a_marker(a_view):
    marker = SuggestionMarker(lambda: [(a_view.interactor(), a_view.node)])
    yield marker
    marker.clear()


@pytest.fixture
def a_place(a_phantom) -> tuple[float, float, float]:
    return tuple(deepest(a_phantom, "liver").tolist())


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(N, 2) pixels (x, y) that differ."""
    return np.argwhere((before != after).any(axis=2))[:, ::-1]


@pytest.mark.parametrize("plane", PLANES)
def test_it_surrounds_the_place_and_leaves_it_in_sight(plane, a_marker, a_place, a_view):
    a_view.look_along(*PLANES[plane], np.array(a_place), 320.0, (31, -22))
    before = a_view.picture()
    a_marker.show(a_place)
    after = a_view.picture()
    x, y = a_view.pixel(np.array(a_place))
    distances = np.linalg.norm(changed(before, after) - [x, y], axis=1)
    assert distances.size > 100
    assert distances.min() > 5
    assert distances.max() < 25
    np.testing.assert_allclose(changed(before, after).mean(axis=0), [x, y], atol=1.0)
    seen = after[tuple(changed(before, after).T[::-1])]
    red, green, blue = seen[(seen[:, 2] - seen[:, 0]).argmax()]
    assert blue > 240
    assert green > 200
    assert red < 80  # a colour that neither clicks nor greys have
    a_marker.clear()
    np.testing.assert_array_equal(a_view.picture(), before)


def test_it_follows_the_view_and_is_gone_off_its_slice(a_marker, a_place, a_view):
    a_view.look_along(*PLANES["axial"], np.array(a_place), 320.0)
    a_marker.show(a_place)
    a_view.look_along(*PLANES["axial"], np.array(a_place), 250.0, (-40, 25))
    with_marker = a_view.picture()
    a_marker.clear()
    pixels = changed(a_view.picture(), with_marker)
    np.testing.assert_allclose(pixels.mean(axis=0), a_view.pixel(np.array(a_place)), atol=1.0)

    a_marker.show(a_place)
    spacing = a_view.node.GetFieldOfView()[2]
    for slices, seen in ((0.3, True), (0.8, False), (-5.0, False), (0.0, True)):
        beside = np.add(a_place, (0.0, 0.0, slices * spacing))
        a_view.look_along(*PLANES["axial"], beside, 250.0)
        with_marker = a_view.picture()
        a_marker.clear()
        assert bool(changed(a_view.picture(), with_marker).size) is seen
        a_marker.show(a_place)


def test_it_is_no_node_and_leaves_the_mouse_alone(a_marker, a_place, a_scene, a_view):
    a_view.look_along(*PLANES["axial"], np.array(a_place), 320.0)
    count = a_scene.GetNumberOfNodes()
    heard = []
    tag = a_view.interactor().AddObserver(
        "LeftButtonPressEvent", lambda *_: heard.append(a_view.interactor().GetEventPosition()), -1
    )
    x, y = a_view.pixel(np.array(a_place))
    picker = vtk.vtkPropPicker()
    renderer = a_view.interactor().GetRenderWindow().GetRenderers().GetFirstRenderer()
    picker.Pick(x + 9, y, 0, renderer)
    below = picker.GetViewProp()
    a_marker.show(a_place)
    assert a_scene.GetNumberOfNodes() == count
    a_view.click((x + 9, y))  # on its ring
    assert heard == [(x + 9, y)]
    picker.Pick(x + 9, y, 0, renderer)
    assert picker.GetViewProp() is below
    a_view.interactor().RemoveObserver(tag)


@pytest.mark.parametrize("aside", [(0, 0), (-60, 100), (400, 0)])
def test_slices_go_through_the_place_and_show_it(aside, a_place, a_scene, a_view):
    elsewhere = np.add(a_place, (0.0, 0.0, 30.0))
    a_view.look_along(*PLANES["oblique"], elsewhere, 320.0, aside)
    before = np.array(a_view.node.GetXYZOrigin()), a_view.world((150, 150))
    seen = np.linalg.norm(aside) < 150
    jump(a_scene, a_place)
    to_xy = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(a_view.node.GetXYToRAS(), to_xy)
    x, y, slices, _ = to_xy.MultiplyPoint((*a_place, 1.0))
    assert slices == pytest.approx(0, abs=1e-6)
    if seen:  # a view that shows the place already keeps its centre
        normal = np.array([a_view.node.GetSliceToRAS().GetElement(n, 2) for n in range(3)])
        moved = a_view.world((150, 150)) - before[1]
        np.testing.assert_allclose(np.cross(moved, normal), 0, atol=1e-6)
        assert 20 < x < 280
        assert 20 < y < 280
    else:
        np.testing.assert_allclose([x, y], [150, 150], atol=1.0)
