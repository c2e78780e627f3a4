"""Section "See features", used as a person would."""

from __future__ import annotations

import pytest
import slicer


@pytest.fixture
def a_viewer(a_person, a_volume):
    """Somebody with a volume, a field and the section open."""
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    a_person.open_section("features")
    return a_person


def _move_cursor(ras):
    crosshair = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLCrosshairNode")
    crosshair.SetCursorPositionRAS(ras)


def test_overlays_need_a_field(a_person):
    assert a_person.ui.overlayNoneRadio.enabled
    assert not a_person.ui.overlayFeaturesRadio.enabled
    assert not a_person.ui.overlaySimilarityRadio.enabled
    assert not a_person.ui.opacitySlider.enabled


def test_feature_colours(a_viewer):
    a_viewer.click("overlayFeaturesRadio")
    assert a_viewer.overlay.mode == "features"
    assert a_viewer.parameters.overlay == "features"
    assert a_viewer.ui.opacitySlider.enabled
    a_viewer.ui.opacitySlider.value = 0.75
    assert a_viewer.overlay.opacity == 0.75
    assert a_viewer.parameters.overlay_opacity == 0.75
    a_viewer.photograph("features")
    a_viewer.click("overlayNoneRadio")
    assert a_viewer.overlay.mode == "none"


def test_similarity_follows_the_cursor_only_while_it_is_shown(a_viewer):
    _move_cursor((1.0, 2.0, 3.0))
    assert ("cursor_moved", (1.0, 2.0, 3.0)) not in a_viewer.overlay.calls
    a_viewer.click("overlaySimilarityRadio")
    _move_cursor((4.0, 5.0, 6.0))
    assert a_viewer.overlay.calls[-1] == ("cursor_moved", (4.0, 5.0, 6.0))
    a_viewer.click("overlayNoneRadio")
    _move_cursor((7.0, 8.0, 9.0))
    assert ("cursor_moved", (7.0, 8.0, 9.0)) not in a_viewer.overlay.calls


def test_other_modules_see_the_slices_as_they_were(a_viewer):
    a_viewer.click("overlaySimilarityRadio")
    a_viewer.widget.exit()
    assert a_viewer.overlay.mode == "none"
    _move_cursor((4.0, 5.0, 6.5))
    assert ("cursor_moved", (4.0, 5.0, 6.5)) not in a_viewer.overlay.calls
    a_viewer.widget.enter()
    assert a_viewer.overlay.mode == "similarity"
