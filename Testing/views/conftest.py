"""Slice views on a real scene, and controllers with a real worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed")

from Testing.controllers.controller_fixtures import (
    a_cache_folder,
    a_field,
    a_link,
    a_loop,
    a_phantom,
    a_ready_field,
    add_volume_of,
)
from Testing.controllers.controller_fixtures import a_volume_node as a_bare_volume_node
from Testing.views.slice_views import SliceView, slice_application
from VoxelFeatLib.scene.controllers.segment_controller import SegmentController

__all__ = [
    "a_bare_volume_node",
    "a_cache_folder",
    "a_field",
    "a_link",
    "a_loop",
    "a_phantom",
    "a_ready_field",
    "add_volume_of",
]

PIXELS = 300


@pytest.fixture
def an_application() -> Iterator[SimpleNamespace]:
    """What Slicer makes when it starts, as far as slice views need it."""
    application = slice_application()
    yield application
    application.close()


@pytest.fixture
def a_scene(an_application):
    return an_application.scene


@pytest.fixture
def a_volume_node(a_bare_volume_node):
    a_bare_volume_node.CreateDefaultDisplayNodes()
    display = a_bare_volume_node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(400, 40)
    return a_bare_volume_node


@pytest.fixture
def add_view(an_application, a_volume_node) -> Iterator[Callable[[str], SliceView]]:
    """Add a square slice view of the volume, axial at first."""
    views = []

    def add(name: str = "Red") -> SliceView:
        view = SliceView(an_application.scene, an_application.main, name)
        views.append(view)
        view.update_size(PIXELS, PIXELS)
        view.set_orientation("Axial")
        view.set_mapped_in_layout(True)
        view.set_background_volume_id(a_volume_node.GetID())
        view.fit_view_to_content()
        return view

    yield add
    for view in views:
        view.close()


@pytest.fixture
def a_view(add_view) -> SliceView:
    return add_view("Red")


@pytest.fixture
def a_controller(a_ready_field, a_link, a_loop, a_scene, a_view):
    controller = SegmentController(
        a_link, a_ready_field, a_loop, a_scene, lambda: [(a_view.interactor(), a_view.node)]
    )
    yield controller
    controller.close()
