"""Features and likeness over slice views: where they are seen, and that they go again."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.views.helpers import PLANES, deepest, kji_at
from VoxelFeatLib.scene.controllers.overlay_controller import OverlayController

pytestmark = pytest.mark.slow  # a worker with a fit


@pytest.fixture
def an_overlay(a_ready_field, a_link, a_loop, a_scene, a_view):
    controller = OverlayController(a_link, a_ready_field, a_loop, a_scene)
    yield controller
    controller.close()


def volume_pixels(view, phantom) -> np.ndarray:
    """Which pixels show the volume; those within a pixel of its border are in neither class."""
    size = view.node.GetDimensions()
    inside = np.zeros(size[1::-1], dtype=bool)
    for row, column in np.ndindex(*inside.shape):
        inside[row, column] = kji_at(phantom, view.world((column, row))) is not None
    return inside


def shown(view, loop) -> None:
    loop.run_until(view.get_foreground_volume_id)
    loop.run_for(0.2)


@pytest.mark.parametrize("mode", ["features", "similarity"])
@pytest.mark.parametrize("plane", PLANES)
def test_pictures_cover_the_volume_and_nothing_else(
    plane, mode, a_loop, a_phantom, a_view, an_overlay
):
    liver = deepest(a_phantom, "liver")
    # Wider than the volume, so that there is something beside it.
    a_view.look_along(*PLANES[plane], liver, 520.0)
    a_view.leave()
    before = a_view.picture()
    an_overlay.set_opacity(0.8)
    an_overlay.set_mode(mode)
    an_overlay.cursor_moved(tuple(liver))
    shown(a_view, a_loop)
    during = a_view.picture()
    changed = (during != before).any(axis=2)
    inside = volume_pixels(a_view, a_phantom)
    grown = np.zeros_like(inside)
    for rows in (-3, 0, 3):
        for columns in (-3, 0, 3):
            grown |= np.roll(inside, (rows, columns), (0, 1))
    assert inside.any()
    assert not grown.all()
    assert not changed[~grown].any()
    assert changed[inside].mean() > (0.9 if mode == "features" else 0.05)
    x, y = a_view.pixel(liver)
    if mode == "similarity":
        # Most like itself: bright and yellow.
        assert during[y, x, 0] > 180
        assert during[y, x, 0] > during[y, x, 2] + 40
    else:
        colors = during[inside]
        assert len(np.unique(colors // 16, axis=0)) > 30
        assert (np.ptp(colors, axis=1) > 40).mean() > 0.3  # colours, not greys
    an_overlay.set_mode("none")
    a_loop.run_for(0.1)
    np.testing.assert_array_equal(a_view.picture(), before)


def test_likeness_follows_the_mouse_in_the_view(a_loop, a_phantom, a_scene, a_view, an_overlay):
    liver, spleen = deepest(a_phantom, "liver"), deepest(a_phantom, "spleen")
    a_view.look_along(*PLANES["axial"], liver, 420.0)
    an_overlay.set_opacity(1.0)
    an_overlay.set_mode("similarity")
    a_view.enter(a_view.pixel(liver))  # Slicer tells its crosshair node where the mouse is
    shown(a_view, a_loop)
    first = a_view.picture()
    a_view.send("MouseMoveEvent", a_view.pixel(spleen))
    a_loop.run_for(0.5)
    second = a_view.picture()
    x, y = a_view.pixel(spleen)
    assert second[y, x].sum() > first[y, x].sum()


def test_pictures_follow_the_slice(a_loop, a_phantom, a_view, an_overlay):
    liver = deepest(a_phantom, "liver")
    a_view.look_along(*PLANES["axial"], liver, 520.0)
    an_overlay.set_opacity(1.0)
    an_overlay.set_mode("features")
    shown(a_view, a_loop)
    a_view.picture()
    a_view.look_along(*PLANES["oblique"], liver, 520.0)
    a_loop.run_for(0.5)
    followed = a_view.picture()
    an_overlay.set_mode("none")
    an_overlay.set_mode("features")
    shown(a_view, a_loop)
    np.testing.assert_array_equal(followed, a_view.picture())
