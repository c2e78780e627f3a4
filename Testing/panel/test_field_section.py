"""Section "Volume and field", used as a person would."""

from __future__ import annotations

import pytest
import slicer
from panel.fakes import CACHED, HELLO

from VoxelFeatLib.scene.controllers.field_status import FieldStatus


def _ready_to_fit(person, volume):
    person.choose("volumeSelector", volume.GetName())
    person.link.show(state="ready", hello=HELLO)


def test_choosing_a_volume_hands_it_to_the_controller(a_person, a_volume):
    volume = a_volume("Thorax")
    a_person.choose("volumeSelector", "Thorax")
    assert a_person.field.calls[-1] == ("set_volume", volume, "")
    assert a_person.parameters.volume is volume
    a_person.choose("volumeSelector", "None")
    assert a_person.field.calls[-1] == ("set_volume", None, "")


def test_labelmaps_are_not_offered_but_colour_volumes_are_told_about(a_person, a_volume):
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    combo = a_person.ui.volumeSelector._combo
    assert [combo.itemText(n) for n in range(combo.count())] == ["None", "photo"]
    a_person.field.show(status=FieldStatus("unsuitable", "photo is a colour image; convert it."))
    assert "colour image" in a_person.ui.fieldStatusLabel.text
    assert not a_person.ui.fitButton.enabled
    assert a_person.ui.fitButton.toolTip == "photo is a colour image; convert it."


def test_defaults_come_from_the_worker(a_person, a_volume):
    _ready_to_fit(a_person, a_volume())
    ui = a_person.ui
    assert ui.deviceCombo.currentText == "NVIDIA RTX 4090"
    assert ui.presetCombo.currentText == "balanced"
    assert ui.backboneCombo.currentText == "Filters"
    a_person.click("fitButton")
    assert a_person.field.calls[-1] == ("fit", "filters", "balanced", "cuda:0", 0)


def test_the_preset_follows_the_device_until_it_is_chosen(a_person, a_volume):
    _ready_to_fit(a_person, a_volume())
    a_person.choose("deviceCombo", "Processor (16 threads)")
    assert a_person.ui.presetCombo.currentText == "fast"
    a_person.choose("presetCombo", "balanced")
    a_person.choose("deviceCombo", "NVIDIA RTX 4090")
    a_person.choose("deviceCombo", "Processor (16 threads)")
    assert a_person.ui.presetCombo.currentText == "balanced"
    assert (a_person.parameters.device, a_person.parameters.preset) == ("cpu", "balanced")
    a_person.click("fitButton")
    assert a_person.field.calls[-1] == ("fit", "filters", "balanced", "cpu", 0)


def test_a_running_fit_is_shown_and_cancelled(a_person, a_volume):
    _ready_to_fit(a_person, a_volume())
    ui = a_person.ui
    status = FieldStatus("fitting", "Training. You can click already.", 0.42, 75.4, 0.937, True)
    a_person.field.show(status=status)
    assert ui.fieldProgressBar.visible
    assert ui.fieldProgressBar.value == 42
    assert ui.fieldProgressBar.format == "%p% · 75 s left"
    assert ui.agreementLabel.text == "agreement 0.94"
    assert ui.fitButton.text == "Cancel"
    assert not ui.openFieldButton.enabled
    a_person.photograph("fitting")
    a_person.click("fitButton")
    assert a_person.field.calls[-1] == ("cancel",)


def test_unknown_progress_runs_to_and_fro(a_person, a_volume):
    _ready_to_fit(a_person, a_volume())
    a_person.field.show(status=FieldStatus("uploading", "Opening the field…"))
    assert a_person.ui.fieldProgressBar.maximum == 0
    a_person.field.make_usable()
    assert not a_person.ui.fieldProgressBar.visible


@pytest.mark.parametrize(
    ("kind", "button"),
    [("no_field", "Fit"), ("error", "Fit"), ("stale", "Fit again"), ("ready", "Fit again")],
)
def test_the_button_says_what_it_does(a_person, a_volume, kind, button):
    _ready_to_fit(a_person, a_volume())
    a_person.field.show(status=FieldStatus(kind, "How it stands."))
    assert a_person.ui.fitButton.text == button
    assert a_person.ui.fitButton.enabled


def test_text_from_elsewhere_is_not_markup(a_person):
    a_person.field.show(status=FieldStatus("error", "No <b>file</b> & nothing."))
    assert "&lt;b&gt;file" in a_person.ui.fieldStatusLabel.text
    assert "#d1495b" in a_person.ui.fieldStatusLabel.text
    a_person.photograph("error")


def test_earlier_fields_are_offered(a_person, a_volume):
    _ready_to_fit(a_person, a_volume())
    assert not a_person.ui.cachedFieldsButton.enabled
    a_person.field.show(cached=CACHED)
    assert a_person.ui.cachedFieldsButton.enabled
    (action,) = a_person.ui.cachedFieldsButton.menu().actions()
    assert action.text == "filters · balanced · agreement 0.96 · 2026-03-02 10:20"
    action.trigger()
    assert a_person.field.calls[-1] == ("use_cached", "/cache/a.voxelfeat")
    a_person.field.show(cached=[])
    assert not a_person.ui.cachedFieldsButton.enabled


def test_fields_are_opened_and_saved(a_person, a_volume, monkeypatch):
    import qt

    _ready_to_fit(a_person, a_volume())
    assert not a_person.ui.saveFieldButton.enabled
    a_person.field.make_usable()
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileName", lambda *_: "/data/ct.voxelfeat")
    a_person.click("openFieldButton")
    assert a_person.field.calls[-1] == ("load", "/data/ct.voxelfeat")
    asked = []
    monkeypatch.setattr(
        qt.QFileDialog, "getSaveFileName", lambda *asking: asked.append(asking) or "/data/mine"
    )
    a_person.click("saveFieldButton")
    assert asked[0][2] == "CT.voxelfeat"
    assert a_person.field.calls[-1] == ("save", "/data/mine.voxelfeat")


def test_a_dialog_that_is_closed_does_nothing(a_person, a_volume, monkeypatch):
    import qt

    _ready_to_fit(a_person, a_volume())
    a_person.field.make_usable()
    before = list(a_person.field.calls)
    for name, button in (("Open", "openFieldButton"), ("Save", "saveFieldButton")):
        monkeypatch.setattr(qt.QFileDialog, f"get{name}FileName", lambda *_: "")
        a_person.click(button)
    assert a_person.field.calls == before


def test_what_cannot_be_saved_is_told(a_person, a_volume, monkeypatch, the_messages):
    import qt

    _ready_to_fit(a_person, a_volume())
    a_person.field.make_usable()
    a_person.field.problem = "The disk is full."
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *_: "/data/ct.voxelfeat")
    a_person.click("saveFieldButton")
    assert the_messages == ["The disk is full."]
