"""Section "Segment", used as a person would."""

from __future__ import annotations

import pytest
import slicer


@pytest.fixture
def a_clicker(a_person, a_volume):
    """Somebody with a volume and a field."""
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    return a_person


def test_nothing_can_be_clicked_before_there_is_a_field(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    for name in ("clickPositiveButton", "scribbleNegativeButton", "boxButton", "recomputeButton"):
        assert not getattr(a_person.ui, name).enabled
    assert a_person.ui.addSegmentButton.enabled
    assert "Fit a field first." in a_person.ui.segmentStatusLabel.text


def test_add_makes_a_segmentation_and_selects_its_segment(a_clicker):
    a_clicker.click("addSegmentButton")
    node = a_clicker.segment.segmentation
    assert node.GetName() == "CT segmentation"
    assert a_clicker.ui.segmentationSelector.currentNode() is node
    assert a_clicker.parameters.segmentation is node
    assert a_clicker.parameters.segment_id == a_clicker.segment.segment_id
    assert list(a_clicker.ui.segmentsTable.selectedSegmentIDs()) == [a_clicker.segment.segment_id]


def test_a_row_that_is_clicked_becomes_the_current_segment(a_clicker):
    a_clicker.click("addSegmentButton")
    first = a_clicker.segment.segment_id
    a_clicker.click("addSegmentButton")
    assert a_clicker.segment.segment_id != first
    a_clicker.ui.segmentsTable.setSelectedSegmentIDs([first])
    assert a_clicker.segment.calls[-1] == ("select", first)
    assert a_clicker.parameters.segment_id == first


def test_renaming_keeps_the_selection(a_clicker):
    a_clicker.click("addSegmentButton")
    chosen = a_clicker.segment.segment_id
    segments = a_clicker.segment.segmentation.GetSegmentation()
    segments.GetSegment(chosen).SetName("Liver")
    assert a_clicker.segment.segment_id == chosen
    assert list(a_clicker.ui.segmentsTable.selectedSegmentIDs()) == [chosen]


def test_remove(a_clicker):
    a_clicker.click("addSegmentButton")
    chosen = a_clicker.segment.segment_id
    a_clicker.click("removeSegmentButton")
    assert ("remove_segment", chosen) in a_clicker.segment.calls
    assert not a_clicker.ui.removeSegmentButton.enabled


@pytest.mark.parametrize(
    ("button", "tool", "positive"),
    [
        ("clickPositiveButton", "place", True),
        ("clickNegativeButton", "place", False),
        ("scribblePositiveButton", "scribble", True),
        ("scribbleNegativeButton", "scribble", False),
    ],
)
def test_a_tool_is_on_until_it_is_pressed_again(a_clicker, button, tool, positive):
    a_clicker.click(button)
    assert a_clicker.segment.calls[-1] == (tool, positive)
    assert a_clicker.segment.segment_id  # made for the click
    assert getattr(a_clicker.ui, button).checked
    a_clicker.click(button)
    assert a_clicker.segment.calls[-1] == (tool, None)
    assert not getattr(a_clicker.ui, button).checked


def test_one_tool_at_a_time(a_clicker):
    a_clicker.click("clickPositiveButton")
    a_clicker.click("scribbleNegativeButton")
    ui = a_clicker.ui
    tools = ("clickPositive", "clickNegative", "scribblePositive", "scribbleNegative")
    assert [getattr(ui, f"{tool}Button").checked for tool in tools] == [False, False, False, True]


def test_a_tool_that_refuses_does_not_look_used(a_clicker, monkeypatch, the_messages):
    def refuse(_positive):
        raise ValueError("No views.")

    monkeypatch.setattr(a_clicker.segment, "place", refuse)
    a_clicker.ui.clickPositiveButton.click()
    assert not a_clicker.ui.clickPositiveButton.checked
    assert "No views." in the_messages[0]


def test_box_undo_redo_clear_recompute(a_clicker):
    a_clicker.click("boxButton")
    assert a_clicker.ui.boxButton.checked
    a_clicker.click("boxButton")
    assert not a_clicker.ui.boxButton.checked
    a_clicker.segment.made(2, 1, 1.23, 0.1)
    a_clicker.segment.show(can_redo=True)
    for name in ("undo", "redo", "clear", "recompute"):
        a_clicker.click(f"{name}Button")
        assert a_clicker.segment.calls[-1] == (name,)


def test_clicks_and_the_last_change_are_told(a_clicker):
    a_clicker.click("clickPositiveButton")
    a_clicker.segment.show(busy=True)
    assert a_clicker.ui.segmentProgressBar.visible
    assert "Updating…" in a_clicker.ui.segmentStatusLabel.text
    a_clicker.click("cancelSegmentButton")
    assert a_clicker.segment.calls[-1] == ("cancel",)
    a_clicker.segment.made(3, 1, 12.34, 0.1)
    text = a_clicker.ui.segmentStatusLabel.text
    assert text == "3 inside, 1 outside · <b>+12.3 ml, −0.10 ml</b>"
    assert not a_clicker.ui.segmentProgressBar.visible
    a_clicker.click("showChangeButton")
    assert a_clicker.segment.calls[-1] == ("show_last_change",)


def test_a_change_of_another_segment_is_not_told_of_this_one(a_clicker):
    a_clicker.click("addSegmentButton")
    a_clicker.segment.made(3, 1, 12.34, 0.0)
    assert a_clicker.ui.segmentStatusLabel.text == "3 inside, 1 outside · <b>+12.3 ml</b>"
    first = a_clicker.segment.segment_id
    a_clicker.click("addSegmentButton")
    a_clicker.segment.counts[a_clicker.segment.segment_id] = (1, 0)
    a_clicker.segment.changed.emit()
    assert a_clicker.segment.segment_id != first
    assert a_clicker.ui.segmentStatusLabel.text == "1 inside, 0 outside"


def test_what_changed_nothing_says_so(a_clicker):
    a_clicker.click("addSegmentButton")
    a_clicker.segment.made(1, 0, 0.0, 0.0)
    assert a_clicker.ui.segmentStatusLabel.text == "1 inside, 0 outside · <b>no change</b>"


def test_a_deleted_segmentation_is_not_chosen_again(a_clicker):
    a_clicker.click("addSegmentButton")
    deleted = a_clicker.parameters.segmentation
    assert deleted is not None
    slicer.mrmlScene.RemoveNode(deleted)
    a_clicker.segment.show(segmentation=deleted)  # a controller that has not heard of it yet
    assert a_clicker.parameters.segmentation is None


def test_next_place_says_why_it_cannot_be_pressed(a_person, a_volume):
    button = a_person.ui.nextPlaceButton
    assert not button.enabled
    assert "Fit a field first" in button.toolTip
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    assert "Click in a slice first" in button.toolTip
    a_person.click("addSegmentButton")
    a_person.segment.show(busy=True)
    assert "being updated" in button.toolTip
    a_person.segment.made(1, 0, 1.0, 0.0)
    assert "Recompute" in button.toolTip  # as after opening a scene
    a_person.suggestion.show(known=True)
    assert "Nothing in this segment is much in doubt" in button.toolTip
    assert not button.enabled
    a_person.suggestion.show(count=3)
    assert button.enabled
    assert button.toolTip.endswith("(P)")


def test_next_place_goes_round_and_tells_which_one_is_shown(a_clicker):
    a_clicker.click("addSegmentButton")
    a_clicker.segment.made(1, 0, 1.0, 0.0)
    a_clicker.suggestion.show(known=True, count=2)
    assert a_clicker.ui.placeLabel.text == ""  # nothing unasked
    for number in (1, 2, 1):
        a_clicker.click("nextPlaceButton")
        assert f"Place {number} of 2: click inside or outside." in a_clicker.ui.placeLabel.text
    assert "1 inside, 0 outside" in a_clicker.ui.segmentStatusLabel.text
    a_clicker.suggestion.show(known=False, count=0, number=0)
    assert a_clicker.ui.placeLabel.text == ""
    assert not a_clicker.ui.nextPlaceButton.enabled


def test_messages_stay_until_the_next_action(a_clicker):
    a_clicker.segment.message.emit("Nothing was found.")
    assert "Nothing was found." in a_clicker.ui.segmentStatusLabel.text
    a_clicker.click("clickPositiveButton")
    assert "Nothing was found." not in a_clicker.ui.segmentStatusLabel.text


def test_switches(a_clicker):
    a_clicker.click("addSegmentButton")
    a_clicker.click("startFromCheckBox")
    assert a_clicker.segment.calls[-1] == ("start_from_existing", True)
    a_clicker.click("startFromCheckBox")
    assert a_clicker.segment.calls[-1] == ("start_from_existing", False)
    assert a_clicker.segment.locality
    a_clicker.click("localityCheckBox")
    assert not a_clicker.segment.locality
    assert not a_clicker.parameters.locality


def test_masking_is_the_segment_editors_own(a_clicker):
    a_clicker.click("addSegmentButton")
    a_clicker.ui.maskingGroup.collapsed = False
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert a_clicker.segment.editor_node is editor
    a_clicker.choose("maskModeCombo", "Outside all segments")
    modes = slicer.vtkMRMLSegmentationNode
    assert editor.GetMaskMode() == modes.EditAllowedOutsideAllSegments
    a_clicker.choose("maskModeCombo", "Inside Segment_1")
    assert editor.GetMaskMode() == modes.EditAllowedInsideSingleSegment
    assert editor.GetMaskSegmentID() == a_clicker.segment.segment_id
    a_clicker.choose("overwriteCombo", "Allow overlap")
    assert editor.GetOverwriteMode() == editor.OverwriteNone
    editor.SetMaskMode(modes.EditAllowedEverywhere)
    editor.SetOverwriteMode(editor.OverwriteVisibleSegments)
    assert a_clicker.ui.maskModeCombo.currentText == "Everywhere"
    assert a_clicker.ui.overwriteCombo.currentText == "Overwrite visible"


def test_segment_editor_is_opened_with_volume_segmentation_and_segment(a_clicker, monkeypatch):
    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append)
    a_clicker.click("addSegmentButton")
    a_clicker.click("editInSegmentEditorButton")
    editor = slicer.mrmlScene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
    assert opened == ["SegmentEditor"]
    assert editor.GetSegmentationNode() is a_clicker.segment.segmentation
    assert editor.GetSourceVolumeNode() is a_clicker.field.volume
    assert editor.GetSelectedSegmentID() == a_clicker.segment.segment_id


def test_show_3d_belongs_to_the_chosen_segmentation(a_clicker):
    assert not a_clicker.ui.show3DButton.enabled
    a_clicker.click("addSegmentButton")
    assert a_clicker.ui.show3DButton.segmentationNode() is a_clicker.segment.segmentation


def test_pictures_of_segmenting(a_clicker):
    for name, inside, color in (
        ("Liver", 3, (0.85, 0.4, 0.3)),
        ("Spleen", 2, (0.6, 0.45, 0.8)),
        ("Left kidney", 1, (0.98, 0.78, 0.18)),
    ):
        a_clicker.click("addSegmentButton")
        chosen = a_clicker.segment.segment_id
        segment = a_clicker.segment.segmentation.GetSegmentation().GetSegment(chosen)
        segment.SetName(name)
        segment.SetColor(*color)
        a_clicker.segment.made(inside, 1, 12.34, 0.4)
    a_clicker.click("clickPositiveButton")
    a_clicker.suggestion.show(known=True, count=5)
    a_clicker.open_section("segment")
    a_clicker.click("nextPlaceButton")
    a_clicker.photograph("segmenting")
    a_clicker.segment.show(busy=True)
    a_clicker.photograph("updating")
    a_clicker.segment.show(busy=False)
    a_clicker.ui.maskingGroup.collapsed = False
    a_clicker.ui.shortcutsGroup.collapsed = False
    a_clicker.segment.message.emit("Nothing was found: add a positive click inside what you want.")
    a_clicker.photograph("masking_and_shortcuts")
