"""The panel is entered, left, reloaded and closed; scenes are closed and opened under it."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import slicer
from panel.fakes import HELLO

_ROOT = Path(__file__).parents[2]


@pytest.fixture
def kept_modules():
    """A reload drops the library's modules; other tests go on with those they have."""
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)


def test_the_volume_in_view_is_chosen(a_person, a_volume):
    a_person.widget.exit()
    slicer.mrmlScene.Clear(0)
    first, second = a_volume("first"), a_volume("second")
    slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(second.GetID())
    a_person.widget.enter()
    assert a_person.parameters.volume is second
    assert a_person.field.volume is second
    a_person.choose("volumeSelector", "first")
    a_person.widget.exit()
    a_person.widget.enter()
    assert a_person.field.volume is first  # what was chosen stays


def test_leaving_stops_the_tools_and_gives_the_keys_back(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    a_person.press("A")
    assert a_person.segment.placing is True
    a_person.suggestion.show(count=2, number=1)
    a_person.widget.exit()
    assert a_person.segment.placing is None
    assert a_person.segment.scribbling is None
    assert a_person.suggestion.number == 0
    before = list(a_person.segment.calls)
    a_person.press("A")
    assert a_person.segment.calls == before
    a_person.widget.enter()
    a_person.press("A")
    assert a_person.segment.placing is True


def test_keys(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    a_person.segment.show(can_undo=True, can_redo=True)
    for key, call in (
        ("N", None),
        ("D", ("place", False)),
        ("S", ("scribble", True)),
        ("X", ("scribble", False)),
        ("O", ("set_box", True)),
        ("U", ("undo",)),
        ("Shift+U", ("redo",)),
    ):
        a_person.press(key)
        if call:
            assert a_person.segment.calls[-1] == call
    assert a_person.segment.segment_id
    a_person.segment.made(1, 0, 1.0, 0.0)
    a_person.press("C")
    assert a_person.segment.calls[-1] == ("recompute",)
    a_person.press("P")
    assert a_person.suggestion.calls[-1] == ("next",)
    for key in ("A", "D", "S", "X", "O", "U", "Shift+U", "C", "P", "N"):
        assert f"<b>{key}</b>" in a_person.ui.shortcutsLabel.text


def test_keys_are_nobody_elses(a_person):
    from VoxelFeatLib.scene.panel.shortcuts import segment_actions

    section = slicer.modules.VoxelFeatWidget.panel._segment_section
    ours = {key for key, _text, _function in segment_actions(section)}
    segment_editor = {*"0123456789ZYQWI/*,.<>", "Esc", "Space", "Ctrl+Z", "Ctrl+Y", "Ctrl+Shift+Z"}
    segment_editor |= {f"Shift+{digit}" for digit in range(10)}
    slice_views = {*"GTFBVR[]{}", "Left", "Right", "Up", "Down", "Shift+V"}
    assert not ours & (segment_editor | slice_views)


def test_a_scene_that_is_closed_leaves_nothing_behind(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    a_person.click("clickPositiveButton")
    a_person.click("overlayNoneRadio") if a_person.ui.overlayNoneRadio.visible else None
    slicer.mrmlScene.Clear(0)
    assert a_person.field.volume is None
    assert a_person.segment.segmentation is None
    assert a_person.parameters is not None
    assert a_person.parameters.volume is None
    a_person.choose("volumeSelector", a_volume("next").GetName())
    assert a_person.field.volume.GetName() == "next"


def test_a_scene_closed_while_another_module_is_shown(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.widget.exit()
    slicer.mrmlScene.Clear(0)
    assert a_person.parameters is None
    a_person.widget.enter()
    assert a_person.parameters.volume is None


def test_a_volume_that_is_deleted_is_let_go(a_person, a_volume):
    volume = a_volume()
    a_person.choose("volumeSelector", volume.GetName())
    slicer.mrmlScene.RemoveNode(volume)
    assert a_person.field.volume is None
    assert a_person.parameters.volume is None


def test_nothing_takes_the_place_of_a_deleted_volume(a_person, a_volume):
    first, _second = a_volume("first"), a_volume("second")
    a_person.choose("volumeSelector", "first")
    slicer.mrmlScene.RemoveNode(first)
    assert a_person.parameters.volume is None
    assert a_person.field.volume is None
    assert a_person.ui.volumeSelector.currentNode() is None
    assert [call[1] for call in a_person.field.calls if call[0] == "set_volume"][-2:] == [
        first,
        None,
    ]


def test_nothing_takes_the_place_of_a_deleted_segmentation(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    a_person.click("addSegmentButton")
    mine = a_person.segment.segmentation
    assert mine is not other
    slicer.mrmlScene.RemoveNode(mine)
    assert a_person.parameters.segmentation is None
    assert a_person.segment.segmentation is None
    assert a_person.ui.segmentationSelector.currentNode() is None
    a_person.click("addSegmentButton")  # makes a segmentation of its own
    assert a_person.segment.segmentation is not other
    assert other.GetSegmentation().GetNumberOfSegments() == 0


def test_a_saved_scene_reopens_with_everything(a_person, a_volume, tmp_path):
    ui, volume = a_person.ui, a_volume()
    a_person.choose("volumeSelector", volume.GetName())
    a_person.link.show(state="ready", hello=HELLO)
    a_person.field.make_usable()
    a_person.field.show(field_path="/cache/a.voxelfeat")
    a_person.click("addSegmentButton")
    segment_id = a_person.segment.segment_id
    a_person.click("localityCheckBox")
    a_person.choose("deviceCombo", "Processor (16 threads)")
    a_person.choose("refineSourceSelector", "CT segmentation")
    a_person.choose("refineModeCombo", "Features only")
    ui.coarseSpinBox.value = 3.0
    a_person.choose("maskModeCombo", "Outside all segments")
    text = slicer.mrmlScene
    text.SetSaveToXMLString(1)
    text.SetURL(str(tmp_path / "scene.mrml"))
    text.Commit()
    saved = text.GetSceneXMLString()
    slicer.mrmlScene.Clear(0)
    assert not a_person.parameters.field_path
    a_person.field.calls.clear()
    text.SetLoadFromXMLString(1)
    text.SetSceneXMLString(saved)
    text.Import()
    text.SetLoadFromXMLString(0)
    parameters = a_person.parameters
    assert a_person.field.calls == [("set_volume", parameters.volume, "/cache/a.voxelfeat")]
    assert parameters.volume.GetName() == "CT"
    assert a_person.segment.segmentation.GetName() == "CT segmentation"
    assert parameters.segment_id == segment_id
    assert not ui.localityCheckBox.checked
    assert not a_person.segment.locality
    assert (parameters.device, parameters.preset) == ("cpu", "")
    assert ui.deviceCombo.currentText == "Processor (16 threads)"
    assert ui.refineSourceSelector.currentNode() is a_person.segment.segmentation
    assert ui.refineModeCombo.currentText == "Features only"
    assert ui.coarseSpinBox.value == 3.0
    assert ui.maskModeCombo.currentText == "Outside all segments"


def test_another_volume_forgets_the_field_of_the_one_before(a_person, a_volume):
    a_volume("first"), a_volume("second")
    a_person.choose("volumeSelector", "first")
    a_person.field.show(field_path="/cache/first.voxelfeat")
    assert a_person.parameters.field_path == "/cache/first.voxelfeat"
    a_person.choose("volumeSelector", "second")
    assert a_person.field.calls[-1][2] == ""


def test_cleanup_ends_the_worker_and_leaves_no_observers(a_person, a_volume):
    a_person.choose("volumeSelector", a_volume().GetName())
    parameter_node = a_person.parameters.parameterNode
    slicer.modules.VoxelFeatWidget.cleanup()
    assert ("close",) in a_person.link.calls
    assert ("close",) in a_person.field.calls
    assert not parameter_node.HasObserver("ModifiedEvent")
    assert not slicer.app._listeners["aboutToQuit()"]
    slicer.modules.VoxelFeatWidget.cleanup()  # Slicer may call it once more
    slicer.mrmlScene.Clear(0)


def test_quitting_ends_the_worker(a_person):
    slicer.app.emit("aboutToQuit()")
    assert ("close",) in a_person.link.calls


def test_reload_reads_the_library_anew(a_person, a_volume, kept_modules):
    a_person.choose("volumeSelector", a_volume().GetName())
    a_person.field.make_usable()
    before = slicer.modules.VoxelFeatWidget
    library = sys.modules["VoxelFeatLib.scene.panel.panel"]
    before.onReload()
    after = slicer.modules.VoxelFeatWidget
    assert after is not before
    assert sys.modules["VoxelFeatLib.scene.panel.panel"] is not library
    assert before.panel is None
    assert after.panel.parameters.volume.GetName() == "CT"
    a_person.settle()
    a_person.choose("volumeSelector", "None")
    assert a_person.field.volume is None


def test_selftest_and_sample_data_are_found_when_they_are_asked_for(a_person, monkeypatch):
    import types

    ran, registered = [], []
    parts = (("scene", "selftest", "run"), ("scene.nodes", "sample_data", "register"))
    for package, name, function in parts:
        module = types.ModuleType(f"VoxelFeatLib.{package}.{name}")
        setattr(
            module,
            function,
            lambda *said, name=name: (ran, registered)[name == "sample_data"].append(said),
        )
        monkeypatch.setitem(sys.modules, module.__name__, module)
        parent = importlib.import_module(f"VoxelFeatLib.{package}")
        monkeypatch.setattr(parent, name, module, raising=False)
    a_person.module.VoxelFeatTest("runTest").runTest(msec=10)
    slicer.app.emit("startupCompleted()")
    assert len(ran) == 1
    assert registered[-1] == ()


def test_every_control_has_a_tooltip(a_person):
    from PySide6 import QtWidgets

    kinds = (
        QtWidgets.QAbstractButton,
        QtWidgets.QComboBox,
        QtWidgets.QLineEdit,
        QtWidgets.QAbstractSpinBox,
        slicer.qMRMLNodeComboBox,
        slicer.qMRMLSegmentsTableView,
    )
    named = {n: w for n, w in vars(a_person.ui).items() if isinstance(w, kinds)}
    silent = [n for n, w in named.items() if not w.toolTip and not n.startswith("qt_")]
    assert silent == []


def test_opening_the_module_imports_nothing_heavy():
    code = """
import os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path[:0] = [r"{root}", r"{root}/Testing"]
from pathlib import Path
import slicer_standin
slicer_standin.install()
from slicer_standin.application import load_module
before = set(sys.modules)
module, widget = load_module(Path(r"{root}/VoxelFeat/VoxelFeat.py"))
widget.enter()
import slicer
slicer.modules.VoxelFeatWidget.cleanup()
heavy = {{"torch", "msgpack", "scipy", "skimage", "SimpleITK", "sam2", "matplotlib"}}
print("HEAVY", sorted(heavy & (set(sys.modules) - before)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code.format(root=_ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
