"""The stand-in refuses what PythonQt and Slicer's widgets do not have."""

from __future__ import annotations

import pytest


def test_properties_are_attributes(the_application):
    import qt

    button = qt.QPushButton()
    button.text, button.enabled, button.name = "Go", False, "goButton"
    assert (button.text, button.enabled, button.name) == ("Go", False, "goButton")
    assert button.objectName == "goButton"
    with pytest.raises(TypeError):
        button.text()


def test_both_ways_to_connect(the_application):
    import qt

    heard = []

    def hear(checked):
        heard.append(checked)

    def hear_nothing():
        heard.append("no argument")

    button = qt.QPushButton()
    button.checkable = True
    button.clicked.connect(hear)
    button.connect("clicked(bool)", hear_nothing)
    button.click()
    assert heard == [True, "no argument"]
    button.disconnect("clicked(bool)", hear)
    button.click()
    assert heard == [True, "no argument", "no argument"]


def test_what_does_not_exist_is_refused(the_application):
    import ctk
    import qt
    import slicer

    for widget in (qt.QLabel(), ctk.ctkCollapsibleButton(), slicer.qMRMLNodeComboBox()):
        with pytest.raises(AttributeError):
            widget.textt = "no such property"
        with pytest.raises(AttributeError):
            widget.connect("noSuchSignal()", print)
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().currentText()
    with pytest.raises(AttributeError):
        slicer.qMRMLNodeComboBox().connect("currentNodeChanged(int)", print)


@pytest.mark.parametrize(
    "widget",
    [
        '<widget class="qMRMLNoSuchBox" name="a"/>',
        """<widget class="qMRMLNodeComboBox" name="a">
        <property name="noneAllowed"><bool>true</bool></property></widget>""",
    ],
)
def test_ui_files_are_checked(the_application, tmp_path, widget):
    import slicer

    file = tmp_path / "a.ui"
    file.write_text(f'<ui version="4.0"><class>A</class>{widget}</ui>')
    with pytest.raises(AttributeError):
        slicer.util.loadUI(str(file))
